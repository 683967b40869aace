"""Plans and compiled programs of `recjax.VectorCoder`."""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Float, Int, UInt32

from recjax import parallel
from recjax.blocks.vector_layout import (
    LARGEST_KL_BITS,
    LARGEST_SIZE,
    Layout,
    call_key,
    parts_of_bits,
    table_rows,
    vector_bits,
)
from recjax.blocks.vector_methods import METHODS, Method, Plan, search_of
from recjax.blocks.vector_scores import Shape
from recjax.distributions.base import any_violation, concrete
from recjax.distributions.normal import Normal
from recjax.distributions.pair import pair_of, violations
from recjax.errors import check_range
from recjax.randomness import SharedKey, key_words
from recjax.samplers.base import Status, batch_of

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
        effective_samples: Kish's effective number of candidates, per block (of the method
            *trellis* the product of those of its two steps): the bias of a block is
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


def checked_call(call: int | Int[Array, ""]) -> UInt32[Array, ""]:
    """The number of a call; a concrete one is checked."""
    value = concrete(call)
    if value is None:
        return jnp.asarray(call).astype(jnp.uint32)
    check_range("call", value.item() if value.ndim == 0 else value, 0, (1 << 32) - 1)
    return jnp.asarray(value.astype(np.uint32))


def widened(target: Any, proposal: Any, narrow: list[tuple[int, ...]]) -> Normal:
    """The proposal, with the shape of the target if it has one of these narrow shapes."""
    if not (isinstance(target, Normal) and isinstance(proposal, Normal)):
        raise ValueError(
            f"target: VectorCoder codes a Normal over a Normal, "
            f"got a {type(target).__name__} over a {type(proposal).__name__}"
        )
    if proposal.event_shape not in narrow:
        return proposal  # of the target's shape, or refused together with it
    return jax.tree.map(lambda x: jnp.broadcast_to(x, target.event_shape), proposal)


def plan_for(coder: Any, kl_bits: npt.ArrayLike, shape: tuple[int, ...]) -> Plan | None:
    """The blocks of vectors of a shape; None if their coordinates are too few.

    Args:
        coder: a `recjax.VectorCoder`.
        kl_bits: divergence of a vector, or of every coordinate.
        shape: shape of a vector.

    Raises:
        ValueError: a divergence is traced, out of range, or of another shape.
    """
    d = math.prod(shape)
    try:
        value = np.asarray(kl_bits)
    except jax.errors.TracerArrayConversionError:
        raise ValueError("kl_bits must not be traced: it decides the number of indices") from None
    if value.shape not in ((), shape):
        raise ValueError(
            f"kl_bits must be one number or have the vector's shape {shape}, got {value.shape}"
        )
    if value.dtype.kind not in "iuf":
        raise ValueError(f"kl_bits must be numbers, got {kl_bits!r}")
    bad = value[~((value >= 0) & (value <= LARGEST_KL_BITS))]
    if bad.size or value.sum() > LARGEST_KL_BITS:
        found = f"{bad.flat[0]}" if bad.size else f"{value.sum()} in sum"
        raise ValueError(f"kl_bits must be from 0 to {LARGEST_KL_BITS}, in sum too, got {found}")
    if not 1 <= d <= LARGEST_SIZE:
        raise ValueError(f"target: vectors have 1 to {LARGEST_SIZE} coordinates, got {d}")
    return METHODS[coder.method](d, parts_of_bits(value), coder.block_bits, coder.extra_bits)


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
    if table is not None:
        # a table of another key gives samples of nothing, which no receiver could notice
        last = jnp.full(1, len(table) - 1, jnp.uint32)
        off = jnp.abs(table_rows(key, last, 0, 2, table.dtype)[0] - table[-1, :2])
        invalid |= jnp.any(off > 1e-3)
    # invalid parameters code the proposal: no NaN enters the search
    mean = jnp.where(invalid, 0, (target.loc - proposal.loc) / proposal.scale).reshape(d)
    std = jnp.where(invalid, 1, target.scale / proposal.scale).reshape(d)
    # indices are constant between jumps: no gradient passes through the search
    mean, std, table = jax.lax.stop_gradient((mean, std, table))
    index, effective = search_of(method, key, call, layout, mean, std, table, shape)
    sample = _decode(method, key, call, layout, index, proposal)
    kl = _kl_bits(target, proposal)
    few = kl > 1.1 * method.capacity(layout) + 8
    status = jnp.where(few, Status.TOO_FEW_CANDIDATES, Status.DONE)
    status = jnp.where(invalid, Status.INVALID, status).astype(jnp.int32)
    sample = jnp.where(invalid, jnp.nan, sample)
    return VectorCode(index, sample, status, kl, effective)


def encode_batch(
    plan: Plan | None,
    keys: SharedKey,
    calls: UInt32[Array, "n"],
    targets: Normal,
    proposals: Normal,
    table: Float[Array, "N columns"] | None,
) -> VectorCode:
    """`encode` for a batch of examples, with one key or as many."""
    shape = targets.event_shape[1:]
    if plan is None:
        return jax.vmap(lambda q, p: encode(None, keys, calls[0], q, p, None))(targets, proposals)
    sizes = plan.method.shape(plan.layout, math.prod(shape))
    config = _Batch(plan.method, sizes, bool(batch_of(keys)))
    layout = _padded(plan.layout, sizes.blocks)
    examples = (calls, targets, proposals, *([keys] if config.several_keys else []))
    shared = (layout, table, *([] if config.several_keys else [keys]))
    codes = parallel.over_devices(_encode_share, config, examples, shared, least=1)
    return dataclasses.replace(
        codes,
        index=codes.index[:, : plan.indices],
        effective_samples=codes.effective_samples[:, : plan.indices],
    )


class _Batch(NamedTuple):
    """The static part of a batch."""

    method: Method
    sizes: Shape
    several_keys: bool


@functools.partial(jax.jit, static_argnums=0)
def _encode_share(config, calls, targets, proposals, *others):
    """The codes of the examples on a device."""
    if config.several_keys:
        keys, layout, table = others
    else:
        layout, table, key = others
        keys = jnp.broadcast_to(key_words(key), (len(calls), 2))

    def one(example):
        key, call, target, proposal = example
        return _encode(config.method, config.sizes, key, call, layout, target, proposal, table)

    # one after the other: a vector fills the device, and its products keep their shapes
    def step(i, codes):
        code = one(jax.tree.map(lambda x: x[i], (keys, calls, targets, proposals)))
        return jax.tree.map(lambda x, new: x.at[i].set(new), codes, code)

    examples = jax.tree.map(lambda x: x[0], (keys, calls, targets, proposals))
    shapes = jax.eval_shape(one, examples)
    empty = jax.tree.map(lambda x: jnp.zeros((len(calls), *x.shape), x.dtype), shapes)
    # shares are filled up with copies of their last example, which need no search
    count = 1 + jnp.sum(calls[1:] != calls[:-1], dtype=jnp.int32)
    return jax.lax.fori_loop(0, count, step, empty)


@jax.jit
def _kl_bits(target, proposal):
    kl = pair_of(target, proposal).kl()
    assert kl is not None  # pairs of normal distributions have one
    return kl / math.log(2)


def decode(
    plan: Plan,
    key: SharedKey,
    call: UInt32[Array, ""],
    index: UInt32[Array, "blocks"],
    proposal: Normal,
) -> Float[Array, "*event"]:
    """`recjax.VectorCoder.decode` for a plan."""
    shape = plan.method.shape(plan.layout, proposal.event_size)
    # padded as for the encoder, so that few programs are compiled
    added = -(-shape.blocks * plan.indices // plan.layout.blocks) - plan.indices
    index = jnp.pad(index, (0, max(added, 0)))
    layout = _padded(plan.layout, shape.blocks)
    return _decode(plan.method, key, call, layout, index, proposal)


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
