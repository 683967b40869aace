"""Blocks of a vector, and the samples of their indices. Frozen: FORMAT.md, section Vectors.

The coordinates of a vector are dealt out to blocks of about equal KL divergence. All blocks of all
calls with one key choose among the rows of one table of standard normal numbers. Each block reads
the columns from a place of its own, with signs of its own, and numbers the rows in an order of its
own: otherwise blocks with equal targets would choose the same row. Everything but the normal
numbers is integer arithmetic.
"""

import zlib
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, Bool, Float, Int, Integer, UInt32

from recjax.randomness import SharedKey, Stream, normal, stream_key, threefry2x32
from recjax.words import Word

PARTS = 256
"""Divergences are multiples of 1 / 256 bit."""

_FINE = 1 << 32  # those of coordinates are multiples of 2^-32 bit before they are summed up

LARGEST_KL_BITS = 10**6
"""Most bits of KL divergence per vector."""

LARGEST_SIZE = 10**7
"""Most coordinates of a vector."""

LEAST_COLUMNS = 64  # of the table: narrow blocks then seldom read the same columns
_LOG2_TABLE = 32  # log2 of the largest product of candidates and columns


class Layout(NamedTuple):
    """How the coordinates of a vector are dealt out to blocks. Its numbers may be traced.

    Attributes:
        blocks: number of blocks.
        log2_candidates: log2 of the number of rows that a block chooses from.
        columns: number of columns of the table.
        starts: first coordinate of every block and the number of all coordinates; None if
            coordinates are dealt out in turn.
        steps: number of consecutive blocks that get each turn's coordinates together.
    """

    blocks: int
    log2_candidates: int
    columns: int
    starts: UInt32[np.ndarray, "blocks_and_end"] | None
    steps: int = 1

    def settings(self, d: int) -> tuple[int, int, int, int]:
        """Numbers under the checksum of strings, which tell layouts of d coordinates apart."""
        ends = 0 if self.starts is None else zlib.crc32(self.starts.astype(">u4").tobytes())
        return d, self.log2_candidates, self.columns, ends


def parts_of_bits(kl_bits: npt.ArrayLike) -> Int[np.ndarray, "*sums"]:
    """Divergences in parts of 1 / 256 bit, halves up.

    Args:
        kl_bits: divergence of a vector, or of each of its coordinates.

    Returns:
        The parts of the vector, or of its first 0, 1, 2, ... coordinates together.

    >>> parts_of_bits(1.5).tolist(), parts_of_bits([0.001, 0.001, 1.0]).tolist()
    (384, [0, 0, 1, 257])
    """
    bits = np.asarray(kl_bits, np.float64)
    if bits.ndim == 0:
        return np.asarray(np.floor(PARTS * bits + 0.5), np.int64)
    # whole numbers, whose sums are the same in any order
    sums = np.cumsum(np.floor(_FINE * bits.ravel() + 0.5).astype(np.int64))
    step = _FINE // PARTS
    return np.concatenate([[0], (sums + step // 2) // step])


def layout_of(
    d: int, parts: Int[np.ndarray, "*sums"], block_bits: int, extra_bits: int
) -> Layout | None:
    """Deals out the coordinates of a vector.

    Args:
        d: number of coordinates.
        parts: divergence as `parts_of_bits` returns it.
        block_bits: log2 of the largest number of candidates of a block.
        extra_bits: log2 of the number of candidates beyond the divergence of a block.

    Returns:
        The layout, or None if a block would have no coordinate, or a coordinate more divergence
        than a block can have.

    >>> layout_of(1000, np.array(256 * 50), 16, 4)[:3]
    (5, 14, 200)
    """
    most = PARTS * (block_bits - extra_bits)
    if parts.ndim == 0:
        return _in_turn(d, int(parts), most, extra_bits)
    return _in_a_row(parts, most, extra_bits, 1 << (_LOG2_TABLE - block_bits))


def _log2_candidates(parts: int, extra_bits: int) -> int:
    # nothing to say needs no choice
    return -(-parts // PARTS) + extra_bits if parts else 0


def _in_turn(d: int, parts: int, most: int, extra_bits: int) -> Layout | None:
    blocks = max(1, -(-parts // most))
    while True:
        log2_candidates = _log2_candidates(-(-parts // blocks), extra_bits)
        columns = max(-(-d // blocks), LEAST_COLUMNS)
        if columns << log2_candidates <= 1 << _LOG2_TABLE:
            break
        blocks += 1  # narrower blocks of fewer bits each
    return Layout(blocks, log2_candidates, columns, None) if blocks <= d else None


def _in_a_row(total, most: int, extra_bits: int, widest: int) -> Layout | None:
    starts = [0]
    while starts[-1] < len(total) - 1:
        start = starts[-1]
        # as many coordinates as fit
        end = int(np.searchsorted(total, total[start] + most, side="right")) - 1
        if end == start:
            return None
        starts.append(min(end, start + widest))
    largest = int(np.diff(total[starts]).max())
    columns = max(int(np.diff(starts).max()), LEAST_COLUMNS)
    blocks = len(starts) - 1
    return Layout(
        blocks, _log2_candidates(largest, extra_bits), columns, np.array(starts, np.uint32)
    )


def call_key(key: SharedKey, call: Integer[Array | np.ndarray, ""] | int) -> Word:
    """The key of what tells the blocks of a call apart."""
    first, second = stream_key(key, Stream.VECTOR, call)
    return first, second


def heads(
    call: Word, layout: Layout, block: UInt32[Array, "*n"]
) -> tuple[UInt32[Array, "*n"], UInt32[Array, "*n"]]:
    """The first column that blocks read, and the mask that makes numbers of rows of indices."""
    first, mask = threefry2x32(call, block + 1, jnp.uint32(0))
    rows = (jnp.uint32(1) << jnp.uint32(layout.log2_candidates)) - 1
    return first % jnp.uint32(layout.columns), mask & rows


def sign_words(
    call: Word, block: UInt32[Array, "*#n"], group: UInt32[Array, "*#n"]
) -> tuple[UInt32[Array, "*#n"], UInt32[Array, "*#n"]]:
    """Bits of 64 places of a block, numbered by group: from the low bit of the first word on, 1
    where the block changes the sign."""
    return threefry2x32(call, block + 1, group + 1)


def turn(call: Word, layout: Layout, place: UInt32[Array, "*n"]) -> UInt32[Array, "*n"]:
    """By how many blocks the coordinates of a place are moved on, so that no period of the vector
    meets that of the blocks."""
    even, odd = threefry2x32(call, jnp.uint32(0), place >> 1)
    return jnp.where(place & 1 == 0, even, odd) % _turns(layout)


def _turns(layout: Layout) -> UInt32[Array, ""]:
    """Number of coordinates per turn."""
    return jnp.uint32(layout.blocks) // jnp.uint32(layout.steps)


def places(
    call: Word, layout: Layout, coordinate: UInt32[Array, "d"]
) -> tuple[UInt32[Array, "d"], UInt32[Array, "d"]]:
    """The block of every coordinate, and its place in it."""
    if layout.starts is not None:
        starts = jnp.asarray(layout.starts)
        block = jnp.searchsorted(starts, coordinate, side="right").astype(jnp.uint32) - 1
        return block, coordinate - starts[block]
    turns, steps = _turns(layout), jnp.uint32(layout.steps)
    number = coordinate // turns
    group = (coordinate % turns + turn(call, layout, number)) % turns
    # the last step of a group comes first: it is never without a coordinate that the others have
    return steps * group + steps - 1 - number % steps, number // steps


def coordinates(
    call: Word,
    layout: Layout,
    block: UInt32[Array, "lanes"],
    place: UInt32[Array, "columns lanes"],
    d: int,
) -> tuple[UInt32[Array, "columns lanes"], Bool[Array, "columns lanes"]]:
    """The coordinate at a place of a block, and whether there is one: the inverse of `places`."""
    if layout.starts is not None:
        starts = jnp.asarray(layout.starts)
        coordinate = starts[block][None] + place
        return coordinate, coordinate < starts[block + 1][None]
    turns, steps = _turns(layout), jnp.uint32(layout.steps)
    number = place * steps + (steps - 1 - block % steps)[None]
    moves = turn(call, layout, jnp.arange(2 * len(place), dtype=jnp.uint32))
    # places beyond the table's columns have no coordinate; reading clips them
    moved = ((block // steps)[None] + (turns - moves.at[number].get(mode="clip"))) % turns
    coordinate = number * turns + moved
    return coordinate, (block[None] < layout.blocks) & (coordinate < d)


def table_rows(
    key: SharedKey,
    row: UInt32[Array, "n"],
    start: Integer[Array, ""] | int,
    count: int,
    dtype=jnp.float32,
) -> Float[Array, "n count"]:
    """Rows of the table, from an even column on.

    Args:
        key: the shared key.
        row: numbers of the rows.
        start: the first column, an even number.
        count: number of columns, an even number.
        dtype: float32 or float64.
    """
    pair = (jnp.uint32(start) >> 1) + jnp.arange(count // 2, dtype=jnp.uint32)
    even, odd = threefry2x32(stream_key(key, Stream.CANDIDATE), row[:, None], pair)
    return normal(jnp.stack([even, odd], axis=-1).reshape(len(row), count), dtype)


def ordered_rows(
    call: Word, layout: Layout, index: UInt32[Array, "blocks"]
) -> UInt32[Array, "blocks"]:
    """The rows that indices of ordered random coding stand for."""
    _, mask = heads(call, layout, jnp.arange(len(index), dtype=jnp.uint32))
    return index ^ mask


def vector_bits(
    key: SharedKey, call: Word, layout: Layout, row: UInt32[Array, "blocks"], d: int
) -> UInt32[Array, "d"]:
    """The random words that the rows of the blocks stand for, one per coordinate.

    Args:
        key: the shared key.
        call: key of the call.
        layout: the layout.
        row: row of every block.
        d: number of coordinates.
    """
    block, place = places(call, layout, jnp.arange(d, dtype=jnp.uint32))
    first, _ = heads(call, layout, block)
    column = (first + place) % jnp.uint32(layout.columns)
    even, odd = threefry2x32(stream_key(key, Stream.CANDIDATE), row[block], column >> 1)
    low, high = sign_words(call, block, place >> 6)
    signs = jnp.where(place & 32 == 0, low, high) >> (place & 31)
    # the first bit of a word is the sign of its normal number
    return jnp.where(column & 1 == 0, even, odd) ^ (signs << 31)
