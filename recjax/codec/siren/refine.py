"""Coding block after block, and refitting the rest: progressive refinement.

COMBINER (NeurIPS 2023, section 3.3): once a block is fixed to its sample, the remaining blocks
adapt to it. Deviations: Adam's moments are carried from block to block instead of starting anew;
the blocks of a slot are one chain through a trellis, and the encoder looks at the posteriors of a
few blocks after the one it chooses.
"""

import functools
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from recjax.codec.siren.fit import FitState, Job, advance, block_kl_bits
from recjax.codec.siren.layout import GroupLayout

T = TypeVar("T")


class Candidates(NamedTuple):
    """Candidates that all blocks of a batch share.

    Attributes:
        table: features of the candidates, from the block coder's ``table``.
        key: key of the shared random stream.
    """

    table: Float[Array, "candidates columns"]
    key: UInt32[Array, "2"]


class CodingState(NamedTuple):
    """State of coding, per group of latents.

    Attributes:
        fit: the posteriors; coded latents have their samples as means.
        indices: indices of the blocks coded so far, by chain. The first row is that of no block and
            always 0: the row before a block is the index before it in its chain.
        kl_bits: KL of each block when it was coded.
    """

    fit: FitState
    indices: tuple[Int[Array, "_blocks_and_none _rows"], ...]
    kl_bits: tuple[Float[Array, "_blocks _rows"], ...]


def initial_coding(fit: FitState) -> CodingState:
    """The state before the first block."""
    shapes = [log_beta.shape for log_beta in fit.log_beta]
    return CodingState(
        fit,
        tuple(jnp.zeros((blocks + 1, rows), jnp.int32) for rows, blocks in shapes),
        tuple(jnp.zeros((blocks, rows), jnp.float32) for rows, blocks in shapes),
    )


@functools.partial(jax.jit, static_argnames=("coder", "group", "steps"), donate_argnames=("state",))
def code_blocks(
    job: Job,
    candidates: Candidates,
    state: CodingState,
    span: tuple[Int[Array, ""], Int[Array, ""]],
    learning_rates: tuple[Float[Array, ""], Float[Array, ""]],
    *,
    coder: Any,
    group: int,
    steps: int,
) -> CodingState:
    """Codes the blocks ``span[0] <= b < span[1]`` of all rows of one group.

    Args:
        job: the signals.
        candidates: shared candidates.
        state: the blocks coded so far.
        span: first block, and the block after the last.
        learning_rates: rates at the group's first and after its last block.
        coder: a `recjax.blocks.trellis.TrellisCoder`, or an object with its ``encode``, ``budget``
            and ``lookahead``.
        group: number of the group.
        steps: gradient steps after each block.
    """
    layout = job.layout.groups[group]
    first, last = learning_rates

    def body(block, state):
        posterior, free = state.fit.posteriors[group], state.fit.free[group]
        blocks = _blocks_in_view(layout, posterior, block + jnp.arange(coder.lookahead + 1))
        index, sample = coder.encode(
            *candidates, blocks.ids, blocks.mean, blocks.std, blocks.width,
            state.indices[group][block],
        )  # fmt: skip
        rows, latents = blocks.rows[:, 0], blocks.latents[0]
        kl = block_kl_bits(posterior, layout)[:, block]
        # padding of a block is out of range and dropped
        mean = posterior.mean.at[rows, latents].set(sample, mode="drop")
        free = free.at[rows, latents].set(0, mode="drop")
        fit = state.fit._replace(
            posteriors=_replaced(state.fit.posteriors, group, posterior._replace(mean=mean)),
            free=_replaced(state.fit.free, group, free),
        )
        if steps:
            number, n_blocks = jnp.float32(block), len(layout.widths)
            rates = (
                first + (last - first) * number / n_blocks,
                first + (last - first) * (number + 1) / n_blocks,
            )
            fit, _ = advance(job, fit, rates, steps=steps, budget=float(coder.budget))
        indices, kl_bits = state.indices[group], state.kl_bits[group]
        return CodingState(
            fit,
            _replaced(state.indices, group, indices.at[block + 1].set(index)),
            _replaced(state.kl_bits, group, kl_bits.at[block].set(kl)),
        )

    return jax.lax.fori_loop(*span, body, state)


class _View(NamedTuple):
    """Successive blocks of every row."""

    ids: UInt32[Array, "rows view 2"]
    rows: Int[Array, "rows view width"]
    latents: Int[Array, "view width"]
    mean: Float[Array, "rows view width"]
    std: Float[Array, "rows view width"]
    width: Int[Array, "rows view"]


def _blocks_in_view(layout: GroupLayout, posterior, view) -> _View:
    """The posteriors of blocks; those beyond the last have no latents."""
    latents = layout.blocks.at[view].get(mode="fill", fill_value=layout.source.shape[1])
    # the padding of a block is a latent out of range: reading there gives 0, which the coder
    # ignores
    rows = layout.source.at[:, latents].get(mode="fill", fill_value=0)
    mean = posterior.mean.at[rows, latents].get(mode="fill", fill_value=0)
    std = jnp.exp(posterior.log_std.at[rows, latents].get(mode="fill", fill_value=0))
    width = layout.widths.at[view].get(mode="fill", fill_value=0)
    ids = layout.ids.at[:, view].get(mode="fill", fill_value=0)
    return _View(ids, rows, latents, mean, std, jnp.broadcast_to(width, rows.shape[:2]))


def _replaced(parts: tuple[T, ...], at: int, part: T) -> tuple[T, ...]:
    return (*parts[:at], part, *parts[at + 1 :])
