"""Search for the best row of every block by ordered random coding. Free to change.

Scores are log-ratios plus the noise of a race of sorted arrivals, in the order of indices.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, UInt32

from recjax.blocks import vector_layout
from recjax.blocks.vector_layout import Layout
from recjax.blocks.vector_scores import Search
from recjax.randomness import (
    SharedKey,
    Stream,
    coordinate_bits,
    exponential,
    stream_key,
    threefry2x32,
)
from recjax.words import Word

_OWN = 256  # smallest noise that every block has of its own


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
        number = self.sum * self.sum / self.sum_of_squares
        # of a target that is sharper than numbers can say only one row counts
        return jnp.where(jnp.isfinite(number), number, 1)


def best_rows(
    search: Search, block_bits: int
) -> tuple[UInt32[Array, "lanes"], Float[Array, "lanes"]]:
    """Chooses a row for every block.

    Args:
        search: the search.
        block_bits: log2 of the largest number of rows.

    Returns:
        The index of every block, and its effective number of samples.
    """
    shape, layout = search.shape, search.layout
    block = jnp.arange(shape.lanes, dtype=jnp.uint32)
    ratios = search.log_ratios(block)
    noise = race_noise(
        search.key, search.call, layout, shape.lanes, 1 << block_bits, search.mean.dtype
    )
    _, mask = vector_layout.heads(search.call, layout, block)

    def tile(t, found):
        return _improved(found, ratios.of_tile(t), t * shape.rows, mask, noise)

    found = lax.fori_loop(0, search.tiles, tile, _nothing(shape.lanes, search.mean.dtype))
    # sharp blocks first; the loop below, which searches them again, ends after them
    queue = jnp.argsort(~ratios.sharp)

    def again(i, found):
        this = queue[i, None]
        ratios = search.exact_log_ratios(this.astype(jnp.uint32))

        def tile(t, best):
            scores = ratios.of_tile(t)
            return _improved(best, scores, t * shape.rows, mask[this], noise.of(this))

        best = lax.fori_loop(0, search.tiles, tile, _nothing(1, search.mean.dtype))
        return jax.tree.map(lambda x, new: x.at[this].set(new), found, best)

    found = lax.fori_loop(0, jnp.sum(ratios.sharp, dtype=jnp.int32), again, found)
    return found.row ^ mask, found.effective_samples


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
