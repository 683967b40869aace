"""Search for the best row of every block of a vector. Free to change.

The log-ratio of a row is linear in its numbers z and their squares. The scores of all rows and
blocks are one matrix product, plus another for the squares if the target's variance is not that of
the proposal. It is computed for one tile of rows at a time, slab by slab of columns, so that
neither the table nor the scores of all rows are stored.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, UInt32

from recjax.blocks import vector_layout
from recjax.blocks.vector_layout import Layout
from recjax.randomness import (
    SharedKey,
    Stream,
    coordinate_bits,
    exponential,
    key_words,
    stream_key,
    threefry2x32,
)
from recjax.words import Word

_ROWS = 2048  # most rows per tile
_COLUMNS = 512  # most columns per slab
_SCORES = 1 << 24  # most scores per tile
_OWN = 256  # smallest noise that every block has of its own
# Rounding moves a score by about 2^-24 of its largest term: 0.02 nats at this limit.
_LARGEST_TERM = 2.0**18


class Shape(NamedTuple):
    """Static sizes of a search, of which there are few.

    Attributes:
        lanes: number of blocks, rounded up.
        rows: rows per tile.
        columns: columns per slab.
        slabs: most slabs.
    """

    lanes: int
    rows: int
    columns: int
    slabs: int


class Found(NamedTuple):
    """Best rows of the blocks, and the sums over all rows that measure the bias of the choice."""

    score: Float[Array, "lanes"]
    row: UInt32[Array, "lanes"]
    top: Float[Array, "lanes"]  # the largest log-ratio
    sum: Float[Array, "lanes"]  # of the ratios, relative to the largest one
    sum_of_squares: Float[Array, "lanes"]

    @property
    def effective_samples(self) -> Float[Array, "lanes"]:
        """Kish's number: how many equally weighted rows would vary as much."""
        return self.sum * self.sum / self.sum_of_squares


def shape_of(layout: Layout, d: int) -> Shape:
    """The sizes of the search in a vector of ``d`` coordinates.

    >>> shape_of(Layout(5, 14, 200, None), 1000)
    Shape(lanes=8, rows=2048, columns=256, slabs=1)
    """
    lanes = _few_sizes(layout.blocks)
    # the widest block of a layout with as many lanes
    widest = layout.columns
    if layout.starts is None:
        widest = max(widest, -(-d // (lanes // 2 + 1)))
    columns = min(_COLUMNS, _power_of_two(widest))
    rows = min(_ROWS, 1 << layout.log2_candidates, _power_of_two(_SCORES // lanes + 1) // 2)
    return Shape(lanes, rows, columns, -(-widest // columns))


def _few_sizes(n: int) -> int:
    """The next power of two; from 256 on, also three quarters of it.

    >>> [_few_sizes(n) for n in (1, 3, 5, 260)]
    [1, 4, 8, 384]
    """
    power = _power_of_two(n)
    return 3 * power // 4 if power > 256 and n <= 3 * power // 4 else power


def _power_of_two(n: int) -> int:
    """The next power of two."""
    return 1 << (n - 1).bit_length()


@functools.partial(jax.jit, static_argnums=(6, 7))
def best_rows(
    key: SharedKey,
    call: UInt32[Array, ""],
    layout: Layout,
    mean: Float[Array, "d"],
    std: Float[Array, "d"],
    table: Float[Array, "N columns"] | None,
    shape: Shape,
    block_bits: int,
) -> tuple[UInt32[Array, "lanes"], Float[Array, "lanes"]]:
    """Chooses a row for every block.

    Args:
        key: the shared key.
        call: number of the call.
        layout: the layout.
        mean: means of the target relative to N(0, 1).
        std: standard deviations of the target.
        table: the first columns of all rows, or None: what is missing is drawn anew.
        shape: sizes of the search.
        block_bits: log2 of the largest number of rows.

    Returns:
        The index of every block, and its effective number of samples.
    """

    # one example after the other: the shape of a product, and with it an index, is that of one call
    @jax.custom_batching.sequential_vmap
    def one(*args):
        return _best_rows(*args, shape, block_bits)

    return one(key_words(key), call, jax.tree.map(jnp.asarray, layout), mean, std, table)


def _best_rows(key, call, layout, mean, std, table, shape, block_bits):
    words = vector_layout.call_key(key, call)
    block = jnp.arange(shape.lanes, dtype=jnp.uint32)
    wide = shape.slabs * shape.columns
    m, s = _arranged(words, layout, block, mean, std, wide)
    precision = 1 / (s * s)
    slabs = (shape.slabs, shape.columns, shape.lanes)
    linear, square = (m * precision).reshape(slabs), (0.5 - 0.5 * precision).reshape(slabs)
    curved = jnp.any(std != 1)
    noise = race_noise(key, words, layout, shape.lanes, 1 << block_bits, mean.dtype)
    _, mask = vector_layout.heads(words, layout, block)
    tiles = (jnp.int32(1) << layout.log2_candidates) // shape.rows
    used = (layout.columns + shape.columns - 1) // shape.columns
    rows_of = functools.partial(_rows, key, table, shape, mean.dtype)

    def tile(t, found):
        def slab(i, scores):
            z = rows_of(t, i)
            scores = scores + _product(z, linear[i])
            # targets of the proposal's variance need no squares
            return lax.cond(curved, lambda: scores + _product(z * z, square[i]), lambda: scores)

        scores = jnp.zeros((shape.rows, shape.lanes), mean.dtype)
        scores = lax.fori_loop(0, used, slab, scores)
        return _improved(found, scores, t * shape.rows, mask, noise)

    found = lax.fori_loop(0, tiles, tile, _nothing(shape.lanes, mean.dtype))
    # Scores of very sharp targets lose their precision as products: such blocks are searched again.
    sharp = jnp.sum((m / s) ** 2, axis=0) > _LARGEST_TERM
    queue = jnp.argsort(~sharp)  # sharp blocks first; the loop below ends after them

    def again(i, found):
        this = queue[i, None]
        m, s = _arranged(words, layout, this.astype(jnp.uint32), mean, std, wide)

        def tile(t, best):
            def slab(i, scores):
                z = rows_of(t, i)
                m_i, s_i = (
                    lax.dynamic_slice_in_dim(x[:, 0], i * shape.columns, shape.columns)
                    for x in (m, s)
                )
                distance = (z - m_i[None]) / s_i[None]
                return scores + 0.5 * jnp.sum(z * z - distance * distance, axis=1)[:, None]

            scores = jnp.zeros((shape.rows, 1), mean.dtype)
            scores = lax.fori_loop(0, used, slab, scores)
            return _improved(best, scores, t * shape.rows, mask[this], noise.of(this))

        best = lax.fori_loop(0, tiles, tile, _nothing(1, mean.dtype))
        return jax.tree.map(lambda x, new: x.at[this].set(new), found, best)

    found = lax.fori_loop(0, jnp.sum(sharp, dtype=jnp.int32), again, found)
    return found.row ^ mask, found.effective_samples


def _arranged(
    words: Word,
    layout: Layout,
    block: UInt32[Array, "lanes"],
    mean: Float[Array, "d"],
    std: Float[Array, "d"],
    wide: int,
) -> tuple[Float[Array, "wide lanes"], Float[Array, "wide lanes"]]:
    """Means and standard deviations of blocks in the order and with the signs of the columns.

    Columns that a block does not read have those of the proposal: their coefficients are 0.
    """
    column = jnp.arange(wide, dtype=jnp.uint32)[:, None]
    first, _ = vector_layout.heads(words, layout, block)
    columns = jnp.uint32(layout.columns)
    place = (column + (columns - first)[None]) % columns
    coordinate, exists = vector_layout.coordinates(words, layout, block, place, mean.size)
    exists &= column < columns
    negative = _negative(words, block, place, wide)
    # places without a coordinate read the last one, and drop it
    m, s = (x.at[coordinate].get(mode="clip") for x in (mean, std))
    return jnp.where(exists, jnp.where(negative, -m, m), 0), jnp.where(exists, s, 1)


def _negative(words, block, place, wide):
    """Whether blocks change the sign of the coordinate at a place."""
    group = jnp.arange(-(-wide // 64), dtype=jnp.uint32)[:, None]
    # one call of the cipher for 64 places
    both = jnp.stack(vector_layout.sign_words(words, block[None], group), axis=1)
    signs = both.reshape(-1, block.size)
    word = signs.at[place >> 5, jnp.arange(block.size)[None]].get(mode="clip")
    return (word >> (place & 31)) & 1 == 1


class RaceNoise(NamedTuple):
    """-log T of indices: T are N sorted exponentials of mean N, drawn anew for every block.

    Only the smallest of them differ much from draw to draw. Given the one of number `_OWN`, those
    before it are drawn for every block, and those after it are common to all.
    """

    first: Float[Array, "own lanes"]
    rest: Float[Array, "N"]

    def at(self, index: UInt32[Array, "rows lanes"]) -> Float[Array, "rows lanes"]:
        """The noise of indices, a column of them for every block."""
        lane = jnp.arange(index.shape[1])[None]
        own, count = index < len(self.first), len(self.first) - 1
        first = self.first[jnp.minimum(index, count), lane]
        return jnp.where(own, first, self.rest.at[index].get(mode="clip"))

    def of(self, block: Int[Array, "lanes"]) -> "RaceNoise":
        """The noise of some of the blocks."""
        return RaceNoise(self.first[:, block], self.rest)


def race_noise(key: SharedKey, call: Word, layout: Layout, lanes: int, most: int, dtype):
    """Draws the noise of a call, for at most ``most`` indices; the receiver does without it."""
    count = jnp.int32(1) << layout.log2_candidates
    number = jnp.arange(most, dtype=jnp.uint32)
    # The gap before the k-th smallest of N exponentials is N / (N - k) on average, in 1 / N;
    # beyond the candidates of this layout nothing is read: no division by 0.
    gap = count.astype(dtype) / jnp.maximum(count - number.astype(jnp.int32), 1).astype(dtype)
    bits = coordinate_bits(stream_key(key, Stream.ARRIVAL), number, 1)[:, 0]
    rest = jnp.cumsum(exponential(bits, dtype) * gap)
    own = min(_OWN, most)
    pair, block = jnp.arange(own // 2, dtype=jnp.uint32), jnp.arange(lanes, dtype=jnp.uint32)
    # counters that the layout does not use
    words = threefry2x32(call, block[None] + 1, pair[:, None] + jnp.uint32(1 << 31))
    draws = exponential(jnp.stack(words, axis=1).reshape(own, lanes), dtype)
    first = jnp.cumsum(draws * gap[:own, None], axis=0)
    # if there are more, the next one is the same for all blocks
    scale = jnp.where(count > own, rest[own - 1] / first[-1], 1)
    return RaceNoise(-jnp.log(first * scale[None]), -jnp.log(rest))


def _rows(key, table, shape, dtype, t, i):
    """The tile of rows t and slab of columns i of the table."""
    start = i * shape.columns

    def drawn():
        row = t * shape.rows + jnp.arange(shape.rows, dtype=jnp.int32)
        return vector_layout.table_rows(key, row.astype(jnp.uint32), start, shape.columns, dtype)

    if table is None or table.shape[1] < shape.columns:
        return drawn()
    corner = (t * shape.rows, start)
    return lax.cond(
        start + shape.columns <= table.shape[1],
        lambda: lax.dynamic_slice(table, corner, (shape.rows, shape.columns)),
        drawn,
    )


def _product(a, b):
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def _nothing(lanes, dtype):
    lowest, zero = jnp.full(lanes, -jnp.inf, dtype), jnp.zeros(lanes, dtype)
    return Found(lowest, jnp.zeros(lanes, jnp.uint32), lowest, zero, zero)


def _improved(found, log_ratio, start, mask, noise):
    """The search after a tile of rows."""
    row = (start + jnp.arange(len(log_ratio), dtype=jnp.int32)).astype(jnp.uint32)[:, None]
    score = log_ratio + noise.at(row ^ mask[None])
    highest = score.max(axis=0)
    # of equal maxima the first row; faster than argmax, which compares and carries both
    first = jnp.where(score == highest[None], row, jnp.uint32(0xFFFFFFFF)).min(axis=0)
    better = highest > found.score
    top = jnp.maximum(found.top, log_ratio.max(axis=0))
    # no difference of infinities before the first tile
    before = jnp.where(found.sum > 0, jnp.exp(found.top - top), 0)
    ratio = jnp.exp(log_ratio - top[None])
    return Found(
        jnp.maximum(highest, found.score),
        jnp.where(better, first, found.row),
        top,
        found.sum * before + ratio.sum(axis=0),
        found.sum_of_squares * before * before + (ratio * ratio).sum(axis=0),
    )
