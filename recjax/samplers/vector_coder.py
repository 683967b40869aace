"""Coding vectors of any size in blocks."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Float, Int, UInt32

from recjax.bits.number_models import ZipfModel
from recjax.bits.zipf import budget_exponent
from recjax.blocks.vector_layout import (
    LARGEST_KL_BITS,
    LARGEST_SIZE,
    Layout,
    layout_of,
    parts_of_bits,
    table_rows,
    vector_bits,
)
from recjax.blocks.vector_search import best_rows, shape_of
from recjax.distributions.base import any_violation, concrete
from recjax.distributions.normal import Normal
from recjax.distributions.pair import check_pair, pair_of, violations
from recjax.errors import check_range
from recjax.randomness import SharedKey
from recjax.samplers._streams.vectors import VectorsCode
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class VectorCoder:
    """Coder of normal vectors with independent components, of any size and divergence.

    The vector is cut into blocks of at most ``block_bits - extra_bits`` bits of KL divergence, and
    every block is coded by ordered random coding (Theis and Yosri, *Algorithms for the
    communication of samples*, ICML 2022) as one of at most 2^block_bits candidates. Samples are
    biased towards the proposal, less so with more ``extra_bits``.

    All candidates are rows of one table, which the key determines. Receivers know ``kl_bits``, the
    divergence that the blocks are made for: of the vector, whose coordinates are then dealt out in
    turn, or of every coordinate.

    Args:
        block_bits: log2 of the largest number of candidates of a block, 4 to 20. Time is
            proportional to that number.
        extra_bits: log2 of the number of candidates beyond the divergence of a block, 0 to
            ``block_bits - 1``.

    Raises:
        ValueError: a setting is out of range.

    >>> import jax, recjax
    >>> mean = 0.1 * jax.random.normal(jax.random.key(1), (10_000,))
    >>> target, proposal = recjax.Normal(mean, 1.0), recjax.Normal(0.0, 1.0)
    >>> coder, key = recjax.VectorCoder(block_bits=12), jax.random.key(0)
    >>> code = coder.encode(key, target, proposal, kl_bits=72)
    >>> code.index.shape, round(float(code.kl_bits))
    ((9,), 71)
    >>> x = coder.decode(key, code.index, recjax.Normal(jax.numpy.zeros(10_000), 1.0), kl_bits=72)
    >>> bool((x == code.sample).all())
    True
    """

    block_bits: int = 16
    extra_bits: int = 4

    def __post_init__(self) -> None:
        check_range("block_bits", self.block_bits, 4, 20)
        check_range("extra_bits", self.extra_bits, 0, self.block_bits - 1)

    def encode(
        self,
        key: SharedKey,
        target: Normal,
        proposal: Normal,
        *,
        kl_bits: npt.ArrayLike,
        call: int | Int[Array, ""] = 0,
        table: Float[Array, "N columns"] | None = None,
    ) -> VectorCode:
        """Draws a sample of ``target`` that `decode` finds again from the key and the indices.

        Args:
            key: key of the table, known to the receiver.
            target: distribution of one vector.
            proposal: the proposal, of the shape of the target or a scalar.
            kl_bits: divergence that the receiver expects, a number or one per coordinate; not
                traced. If the target diverges more, the sample is more biased: see
                ``effective_samples``.
            call: number of the call, known to the receiver; different for all vectors coded with
                one key.
            table: the result of `table`, which saves drawing its columns anew.

        Raises:
            ValueError: parameters that are not traced are invalid, or shapes do not fit.
        """
        if not (isinstance(target, Normal) and isinstance(proposal, Normal)):
            raise ValueError(
                f"target: VectorCoder codes a Normal over a Normal, "
                f"got a {type(target).__name__} over a {type(proposal).__name__}"
            )
        proposal = _widened(proposal, target.event_shape)
        check_pair(target, proposal, bounded=False)
        layout = layout_for(self, kl_bits, target.event_shape)
        if layout is None:
            status = jnp.int32(Status.TOO_FEW_DIMENSIONS)
            nothing = jnp.zeros(0, proposal.dtype)
            sample = jnp.full(target.event_shape, jnp.nan, proposal.dtype)
            kl = _kl_bits(target, proposal)
            return VectorCode(nothing.astype(jnp.uint32), sample, status, kl, nothing)
        if table is not None and (table.ndim != 2 or len(table) != 1 << self.block_bits):
            raise ValueError(
                f"table must be the result of table(), {1 << self.block_bits} rows, "
                f"got shape {table.shape}"
            )
        shape = shape_of(layout, target.event_size)
        code = _encode(
            key,
            _checked_call(call),
            _padded(layout, shape.lanes),
            target,
            proposal,
            table,
            shape,
            self.block_bits,
        )
        # blocks that fill up the lanes are cut off
        return dataclasses.replace(
            code,
            index=code.index[: layout.blocks],
            effective_samples=code.effective_samples[: layout.blocks],
        )

    def decode(
        self,
        key: SharedKey,
        index: UInt32[Array | np.ndarray, "blocks"],
        proposal: Normal,
        *,
        kl_bits: npt.ArrayLike,
        call: int | Int[Array, ""] = 0,
    ) -> Float[Array, "*event"]:
        """Returns the sample of the indices: ``code.sample``, bit for bit.

        Args:
            key: the key of the encoder.
            index: the index of every block.
            proposal: the proposal, of the shape of the sample.
            kl_bits: the divergence as the encoder had it.
            call: the number of the call.

        Raises:
            ValueError: an index that is not traced is out of range, there are too few or too many,
                or the coordinates are too few for the divergence.
        """
        layout = self._checked_layout(index, proposal, kl_bits)
        return _decode(
            key, _checked_call(call), layout, jnp.asarray(index).astype(jnp.uint32), proposal
        )

    def codelength(
        self,
        key: SharedKey,
        index: UInt32[Array | np.ndarray, "blocks"],
        proposal: Normal,
        *,
        kl_bits: npt.ArrayLike,
    ) -> Float[Array, ""]:
        """Returns the length of the indices of a vector in bits, from what the receiver knows.

        It is their share in the string that `recjax.write_indices` makes of many calls.

        Raises:
            ValueError: as for `decode`.
        """
        layout = self._checked_layout(index, proposal, kl_bits)
        model = self._index_model(layout, kl_bits)
        return VectorsCode((layout.blocks,), (model,), proposal.dtype).bits(key, [index])

    def table(self, key: SharedKey, columns: int, dtype: Any = jnp.float32) -> Array:
        """Draws columns of the table, for any number of calls of `encode`.

        Args:
            key: the key.
            columns: number of columns, rounded up to a multiple of 64; a block of w coordinates
                reads max(w, 64). The table takes 4 columns 2^block_bits bytes.
            dtype: float32 or float64.

        Raises:
            ValueError: the number of columns is not from 1 to 10^7.
        """
        check_range("columns", columns, 1, LARGEST_SIZE)
        return _table(key, 1 << self.block_bits, -(-columns // 64) * 64, jnp.dtype(dtype))

    def string_code(self, keys: Any, proposal: Any, rate_bits: Any, kl_bits: Any) -> VectorsCode:
        """The code of strings, for the arguments of `recjax.write_indices`.

        Raises:
            ValueError: ``kl_bits`` is not a sequence, a divergence is bad, or an argument is
                missing or not one of this coder.
        """
        if rate_bits is not None:
            raise ValueError("rate_bits: the code of VectorCoder is tuned by kl_bits")
        if kl_bits is None or not np.iterable(kl_bits):
            raise ValueError(f"kl_bits must be a sequence, one entry per call, got {kl_bits!r}")
        if proposal is None:
            raise ValueError("proposal is needed: it has the shape of the vectors")
        layouts = [self._layout(proposal, each) for each in kl_bits]
        models = [self._index_model(*pair) for pair in zip(layouts, kl_bits, strict=True)]
        return VectorsCode(
            tuple(layout.blocks for layout in layouts), tuple(models), proposal.dtype
        )

    def _layout(self, proposal, kl_bits) -> Layout:
        layout = layout_for(self, kl_bits, proposal.event_shape)
        if layout is None:
            raise ValueError(
                f"proposal: {proposal.event_size} coordinates cannot be cut into blocks of at most "
                f"{self.block_bits - self.extra_bits} bits of kl_bits"
            )
        return layout

    def _checked_layout(self, index, proposal, kl_bits) -> Layout:
        layout = self._layout(proposal, kl_bits)
        if np.shape(index) != (layout.blocks,):
            raise ValueError(
                f"index must hold {layout.blocks} numbers, got shape {np.shape(index)}"
            )
        value = concrete(jnp.asarray(index) if isinstance(index, list | tuple) else index)
        if value is not None and (
            not np.issubdtype(value.dtype, np.integer)
            or np.any((value < 0) | (value >> layout.log2_candidates > 0))
        ):
            raise ValueError(f"index must hold whole numbers below 2^{layout.log2_candidates}")
        return layout

    def _index_model(self, layout: Layout, kl_bits: npt.ArrayLike) -> ZipfModel:
        """The model of the indices of a layout, tuned for the mean divergence of its blocks."""
        parts = int(parts_of_bits(kl_bits).ravel()[-1])
        bits = layout.log2_candidates
        return ZipfModel(bits, budget_exponent(parts // layout.blocks, bits))


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _table(key, rows, columns, dtype):
    step = min(rows, _TABLE_ROWS)
    starts = jnp.arange(0, rows, step, dtype=jnp.uint32)
    row = jnp.arange(step, dtype=jnp.uint32)
    # in chunks: the random words of all rows would take as much memory again
    chunks = jax.lax.map(lambda start: table_rows(key, start + row, 0, columns, dtype), starts)
    return chunks.reshape(rows, columns)


@functools.partial(jax.jit, static_argnums=(6, 7))
def _encode(key, call, layout, target, proposal, table, shape, block_bits):
    """`VectorCoder.encode` for a layout; one program for all near ones."""
    d = target.event_size
    invalid = any_violation(violations(pair_of(target, proposal), False))
    # invalid parameters code the proposal: no NaN enters the search
    mean = jnp.where(invalid, 0, (target.loc - proposal.loc) / proposal.scale).reshape(d)
    std = jnp.where(invalid, 1, target.scale / proposal.scale).reshape(d)
    # indices are constant between jumps: no gradient passes through the search
    mean, std, table = jax.lax.stop_gradient((mean, std, table))
    index, effective = best_rows(key, call, layout, mean, std, table, shape, block_bits)
    sample = _decode(key, call, layout, index, proposal)
    status = jnp.where(invalid, Status.INVALID, Status.DONE).astype(jnp.int32)
    sample = jnp.where(invalid, jnp.nan, sample)
    return VectorCode(index, sample, status, _kl_bits(target, proposal), effective)


@jax.jit
def _kl_bits(target, proposal):
    return pair_of(target, proposal).kl() / math.log(2)


@jax.jit
def _decode(key, call, layout, index, proposal):
    return proposal.sample_from_bits(vector_bits(key, call, layout, index, proposal.event_size))


def _checked_call(call: int | Int[Array, ""]) -> UInt32[Array, ""]:
    value = concrete(call)
    if value is None:
        return jnp.asarray(call).astype(jnp.uint32)
    check_range("call", value.item() if value.ndim == 0 else value, 0, (1 << 32) - 1)
    return jnp.asarray(value.astype(np.uint32))


def _widened(proposal: Normal, shape: tuple[int, ...]) -> Normal:
    """A scalar proposal as one of every coordinate."""
    if proposal.event_shape:
        return proposal
    return jax.tree.map(lambda x: jnp.broadcast_to(x, shape), proposal)


def _padded(layout: Layout, lanes: int) -> Layout:
    """A layout whose list of starts has one of few lengths; added blocks have no coordinate."""
    if layout.starts is None:
        return layout
    added = lanes - layout.blocks
    return layout._replace(starts=np.pad(layout.starts, (0, added), mode="edge"))


def layout_for(coder: VectorCoder, kl_bits: npt.ArrayLike, shape: tuple[int, ...]) -> Layout | None:
    """The blocks of vectors of a shape; None if their coordinates are too few.

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
    if not np.all((value >= 0) & (value <= LARGEST_KL_BITS)) or value.sum() > LARGEST_KL_BITS:
        raise ValueError(f"kl_bits must be from 0 to {LARGEST_KL_BITS}, in sum")
    if not 1 <= d <= LARGEST_SIZE:
        raise ValueError(f"target: vectors have 1 to {LARGEST_SIZE} coordinates, got {d}")
    return layout_of(d, parts_of_bits(value), coder.block_bits, coder.extra_bits)
