"""The compiled programs of `recjax.VectorCoder`."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt32

from recjax.blocks.vector_layout import Layout, call_key, table_rows, vector_bits
from recjax.blocks.vector_methods import Method, Plan, search_of
from recjax.blocks.vector_scores import Shape
from recjax.distributions.base import any_violation
from recjax.distributions.normal import Normal
from recjax.distributions.pair import pair_of, violations
from recjax.randomness import SharedKey
from recjax.samplers.base import Status

_TABLE_ROWS = 1 << 12  # rows of the table drawn at once


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class VectorCode:
    """The result of `VectorCoder.encode`.

    Attributes:
        index: the message: the index of every block.
        sample: the sample that the decoder makes of it; NaN if the status is INVALID or
            TOO_FEW_DIMENSIONS.
        status: a `Status` as int32.
        kl_bits: KL divergence of the target from the proposal.
        effective_samples: Kish's effective number of candidates, per block: the bias of a block is
            large where it is near 1, and vanishes as it grows.
    """

    index: UInt32[Array, "blocks"]
    sample: Float[Array, "*event"]
    status: Int[Array, ""]
    kl_bits: Float[Array, ""]
    effective_samples: Float[Array, "blocks"]


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def table(key: SharedKey, rows: int, columns: int, dtype: Any) -> Float[Array, "rows columns"]:
    """Draws the first columns of the table."""
    step = min(rows, _TABLE_ROWS)
    starts = jnp.arange(0, rows, step, dtype=jnp.uint32)
    row = jnp.arange(step, dtype=jnp.uint32)
    # in chunks: the random words of all rows would take as much memory again
    chunks = jax.lax.map(lambda start: table_rows(key, start + row, 0, columns, dtype), starts)
    return chunks.reshape(rows, columns)


def encode(
    plan: Plan | None,
    key: SharedKey,
    call: UInt32[Array, ""],
    target: Normal,
    proposal: Normal,
    table: Float[Array, "N columns"] | None,
) -> VectorCode:
    """`recjax.VectorCoder.encode` for a plan; None if coordinates are too few."""
    if plan is None:
        status = jnp.int32(Status.TOO_FEW_DIMENSIONS)
        nothing = jnp.zeros(0, proposal.dtype)
        sample = jnp.full(target.event_shape, jnp.nan, proposal.dtype)
        kl = _kl_bits(target, proposal)
        return VectorCode(nothing.astype(jnp.uint32), sample, status, kl, nothing)
    shape = plan.method.shape(plan.layout, target.event_size)
    layout = _padded(plan.layout, shape.blocks)
    code = _encode(plan.method, shape, key, call, layout, target, proposal, table)
    # blocks that were added are cut off
    return dataclasses.replace(
        code,
        index=code.index[: plan.indices],
        effective_samples=code.effective_samples[: plan.indices],
    )


@functools.partial(jax.jit, static_argnums=(0, 1))
def _encode(
    method: Method,
    shape: Shape,
    key: SharedKey,
    call: UInt32[Array, ""],
    layout: Layout,
    target: Normal,
    proposal: Normal,
    table: Float[Array, "N columns"] | None,
) -> VectorCode:
    """Codes a vector in a layout; one program for all near ones."""
    d = target.event_size
    invalid = any_violation(violations(pair_of(target, proposal), False))
    # invalid parameters code the proposal: no NaN enters the search
    mean = jnp.where(invalid, 0, (target.loc - proposal.loc) / proposal.scale).reshape(d)
    std = jnp.where(invalid, 1, target.scale / proposal.scale).reshape(d)
    # indices are constant between jumps: no gradient passes through the search
    mean, std, table = jax.lax.stop_gradient((mean, std, table))
    index, effective = search_of(method, key, call, layout, mean, std, table, shape)
    sample = _decode(method, key, call, layout, index, proposal)
    status = jnp.where(invalid, Status.INVALID, Status.DONE).astype(jnp.int32)
    sample = jnp.where(invalid, jnp.nan, sample)
    return VectorCode(index, sample, status, _kl_bits(target, proposal), effective)


@jax.jit
def _kl_bits(target, proposal):
    return pair_of(target, proposal).kl() / math.log(2)


def decode(
    plan: Plan,
    key: SharedKey,
    call: UInt32[Array, ""],
    index: UInt32[Array, "blocks"],
    proposal: Normal,
) -> Float[Array, "*event"]:
    """`recjax.VectorCoder.decode` for a plan."""
    return _decode(plan.method, key, call, plan.layout, index, proposal)


@functools.partial(jax.jit, static_argnums=0)
def _decode(method, key, call, layout, index, proposal):
    words = call_key(key, call)
    row = method.rows(words, layout, index)
    return proposal.sample_from_bits(vector_bits(key, words, layout, row, proposal.event_size))


def _padded(layout: Layout, blocks: int) -> Layout:
    """A layout whose list of starts has one of few lengths; added blocks have no coordinate."""
    if layout.starts is None:
        return layout
    added = blocks - layout.blocks
    return layout._replace(starts=np.pad(layout.starts, (0, added), mode="edge"))
