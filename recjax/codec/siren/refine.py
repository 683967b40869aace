"""Coding block after block, and refitting what is left: progressive refinement.

COMBINER (NeurIPS 2023, section 3.3): once a block is fixed to its sample, the remaining blocks adapt to it.
Deviations: Adam's moments are kept from block to block instead of starting anew; the blocks of a slot are one chain
through a trellis, and the encoder looks at the posteriors of some blocks after the one it chooses.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from recjax.codec.siren.fit import Arrangement, FitState, advance, block_kl_bits
from recjax.codec.siren.objective import SirenNetwork
from recjax.codec.siren.targets import Targets


class Blocks(NamedTuple):
    """The blocks of one group.

    Attributes:
      slots: number of each row within its signal, which tells equal blocks of one signal apart.
      widths: latents of every block.
      first: number of the group's first block among those of all groups.
    """

    slots: UInt32[Array, "rows"]
    widths: Int[Array, "blocks"]
    first: UInt32[Array, ""]

    def ids(self, block: Int[Array, "..."]) -> UInt32[Array, "rows ... 2"]:
        """What tells the blocks of every row from all others of its signal."""
        number = self.first + jnp.uint32(block)
        slots = self.slots.reshape(-1, *(1,) * number.ndim)
        return jnp.stack(jnp.broadcast_arrays(slots, number), axis=-1)


@functools.partial(
    jax.jit,
    static_argnames=("coder", "group", "steps"),
    donate_argnames=("state", "indices", "kl_bits"),
)
def code_blocks(
    network: SirenNetwork,
    state: FitState,
    arrangement: Arrangement,
    targets: Targets,
    key: Array,
    learning_rates: tuple[Array, Array],
    table: Float[Array, "candidates columns"],
    table_key: UInt32[Array, "2"],
    blocks: Blocks,
    span: tuple[Array, Array],
    indices: Int[Array, "blocks rows"],
    kl_bits: Float[Array, "blocks rows"],
    *,
    coder: Any,
    group: int,
    steps: int,
) -> tuple[FitState, Int[Array, "blocks rows"], Float[Array, "blocks rows"]]:
    """Codes the blocks ``span[0] <= b < span[1]`` of all rows of one group, with ``steps`` steps after each.

    Args:
      learning_rates: at the group's first and after its last block.
      table, table_key: candidates shared by all blocks.
      blocks: of the group.
      indices, kl_bits: results so far; the KL of each block when it was coded.
      coder: a :class:`TrellisCoder`, or what has its ``encode``, ``budget`` and ``lookahead``.
    """
    n_blocks, layout = len(blocks.widths), arrangement.layouts[group]

    def body(block, carry):
        state, indices, kl_bits = carry
        posterior, free = state.posteriors[group], state.free[group]
        # beyond the last block: no latents
        view = block + jnp.arange(coder.lookahead + 1)
        latents = layout.blocks.at[view].get(mode="fill", fill_value=layout.source.shape[1])
        rows = layout.source.at[:, latents].get(mode="fill", fill_value=0)
        mean = posterior.mean.at[rows, latents].get(mode="fill", fill_value=0)
        std = jnp.exp(posterior.log_std.at[rows, latents].get(mode="fill", fill_value=0))
        width = jnp.broadcast_to(
            blocks.widths.at[view].get(mode="fill", fill_value=0), rows.shape[:2]
        )
        previous = jnp.where(block > 0, indices[block - 1], 0)
        index, sample = coder.encode(table, table_key, blocks.ids(view), mean, std, width, previous)
        latents, rows = latents[0], rows[:, 0]
        kl_bits = kl_bits.at[block].set(block_kl_bits(posterior, layout)[:, block])
        indices = indices.at[block].set(index)
        posterior = posterior.replace(
            mean=posterior.mean.at[rows, latents].set(sample, mode="drop")
        )
        free = free.at[rows, latents].set(0, mode="drop")
        state = state.replace(
            posteriors=_replaced(state.posteriors, group, posterior),
            free=_replaced(state.free, group, free),
        )
        if steps:
            (start, end), number = learning_rates, jnp.float32(block)
            rates = (
                start + (end - start) * number / n_blocks,
                start + (end - start) * (number + 1) / n_blocks,
            )
            budget = float(coder.budget)
            state, _ = advance(
                network, state, arrangement, targets, key, rates, steps=steps, budget=budget
            )
        return state, indices, kl_bits

    return jax.lax.fori_loop(*span, body, (state, indices, kl_bits))


def _replaced(parts, at, part):
    return (*parts[:at], part, *parts[at + 1 :])
