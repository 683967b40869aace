"""Coding block after block, and refitting what is left: progressive refinement.

COMBINER (NeurIPS 2023, section 3.3): once a block is fixed to its sample, the remaining blocks adapt to it.
Deviation: Adam's moments are kept from block to block instead of starting anew.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from recjax.codec.fit import FitState, Layout, advance, block_kl_bits
from recjax.codec.objective import Network
from recjax.codec.signals import Targets
from recjax.samplers.block_coder import BlockCoder


@functools.partial(jax.jit, static_argnames=("coder", "steps"), donate_argnames=("state", "indices", "kl_bits"))
def code_blocks(
    network: Network,
    state: FitState,
    layout: Layout,
    targets: Targets,
    key: Array,
    learning_rates: tuple[Array, Array],
    table: Float[Array, "candidates columns"],
    table_key: UInt32[Array, "2"],
    slots: UInt32[Array, "rows"],
    widths: Int[Array, "blocks"],
    span: tuple[Array, Array],
    indices: Int[Array, "blocks rows"],
    kl_bits: Float[Array, "blocks rows"],
    *,
    coder: BlockCoder,
    steps: int,
) -> tuple[FitState, Int[Array, "blocks rows"], Float[Array, "blocks rows"]]:
    """Codes the blocks ``span[0] <= b < span[1]`` of all rows, with ``steps`` gradient steps after each.

    Args:
      table, table_key: candidates shared by all blocks.
      slots: number of each row within its signal, which tells equal blocks of one signal apart.
      indices, kl_bits: results so far; the KL of each block when it was coded.
    """
    n_blocks = len(widths)

    def body(block, carry):
        state, indices, kl_bits = carry
        latents = layout.blocks[block]
        rows = layout.source.at[:, latents].get(mode="fill", fill_value=0)
        mean = state.posterior.mean.at[rows, latents].get(mode="fill", fill_value=0)
        std = jnp.exp(state.posterior.log_std.at[rows, latents].get(mode="fill", fill_value=0))
        ids = jnp.stack([slots, jnp.full_like(slots, block)], axis=1)
        width = jnp.broadcast_to(widths[block], slots.shape)
        index, sample = coder.encode(table, table_key, ids, mean, std, width)
        kl_bits = kl_bits.at[block].set(block_kl_bits(state.posterior, layout)[:, block])
        indices = indices.at[block].set(index)
        posterior = state.posterior.replace(mean=state.posterior.mean.at[rows, latents].set(sample, mode="drop"))
        free = state.free.at[rows, latents].set(0, mode="drop")
        state = state.replace(posterior=posterior, free=free)
        if steps:
            start, end = learning_rates
            rates = (start + (end - start) * block / n_blocks, start + (end - start) * (block + 1) / n_blocks)
            budget = float(coder.budget)
            state, _ = advance(network, state, layout, targets, key, rates, steps=steps, budget=budget)
        return state, indices, kl_bits

    return jax.lax.fori_loop(*span, body, (state, indices, kl_bits))


@functools.partial(jax.jit, static_argnames="coder")
def decode_blocks(
    coder: BlockCoder,
    table_key: UInt32[Array, "2"],
    layout: Layout,
    slots: UInt32[Array, "rows"],
    widths: Int[Array, "blocks"],
    indices: Int[Array, "blocks rows"],
) -> Float[Array, "rows latents"]:
    """All coded latents from their indices, 0 where nothing was coded."""

    def body(block, z):
        latents = layout.blocks[block]
        rows = layout.source.at[:, latents].get(mode="fill", fill_value=0)
        ids = jnp.stack([slots, jnp.full_like(slots, block)], axis=1)
        width = jnp.broadcast_to(widths[block], slots.shape)
        sample = coder.decode(table_key, ids, indices[block], width, len(latents))
        return z.at[rows, latents].set(sample, mode="drop")

    return jax.lax.fori_loop(0, len(widths), body, jnp.zeros(layout.source.shape, jnp.float32))
