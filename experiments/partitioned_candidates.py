"""Candidates of a partitioned search: which bins they fall into, their ranks there, and their values.

See `experiments.partitioned_blocks`. Bins are numbered as in `recjax.samplers._search.bins`: the
places of the coordinates in a mixed radix, the last one's bits the lowest. B blocks are searched at once, with N
candidates each.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, UInt32

from recjax.randomness import Stream, exponential, normal, stream_key, threefry2x32

MOST_BITS = 4
"""Of one coordinate: the encoder compares with all 2^4 edges."""
_MASS = 12  # bits of the masses of a coordinate's bins, from which the encoder draws
_RANK = 20  # bits of a rank in a counter of the cipher, which is a pair of coordinates and a rank
_ROWS = 0xFFF  # the pair that stands for the rows of the table
_FIRST = 127 << 11  # upper bits of the float 1


@functools.partial(jax.jit, static_argnums=5)
def draw_bins(
    key: Array,
    ids: UInt32[Array, "B 2"],
    mu: Float[Array, "B M"],
    sigma: Float[Array, "B M"],
    bits: UInt32[Array, "B M"],
    n: int,
) -> tuple[UInt32[Array, "B N"], Float[Array, "B N"]]:
    """Bins of the candidates, from the encoder's own randomness, and log(J pi) of each.

    Every coordinate's masses pi are those of the target, rounded to 2^-12; the weights take them as rounded.
    """
    edges = jnp.arange((1 << MOST_BITS) + 1) / (1 << bits)[:, :, None]
    edges = jax.scipy.special.ndtri(jnp.minimum(edges, 1))
    below = jax.scipy.special.ndtr((edges - mu[:, :, None]) / sigma[:, :, None])
    below = jnp.round(below * (1 << _MASS)).astype(jnp.int32)
    log_shares = jnp.log(jnp.diff(below) / (1 << _MASS)) + bits[:, :, None] * math.log(2)
    # at every value of the random number the share, whose last bits are the place: one look-up instead of two
    uniform = jnp.arange(1 << _MASS)
    place = sum(
        (uniform >= below[:, :, edge, None]).astype(jnp.int32) for edge in range(1, 1 << MOST_BITS)
    )
    share = lax.bitcast_convert_type(jnp.take_along_axis(log_shares, place, axis=2), jnp.uint32)
    mask = jnp.uint32((1 << MOST_BITS) - 1)
    entries = lax.bitcast_convert_type(share & ~mask | place.astype(jnp.uint32), jnp.float32)
    candidate = jnp.arange(n, dtype=jnp.uint32)

    def draw(block):
        words, entries, bits = block
        number, total = jnp.zeros(n, jnp.uint32), jnp.zeros(n)
        for i in range(len(bits)):
            if i % 2 == 0:
                random = threefry2x32(words, jnp.uint32(i), candidate)
            where = (random[i % 2] >> (32 - _MASS)).astype(jnp.int32)
            entry = entries[i].at[where].get(mode="promise_in_bounds")
            number, total = (
                number << bits[i] | lax.bitcast_convert_type(entry, jnp.uint32) & mask,
                total + entry,
            )
        return number, total

    return lax.map(draw, (block_words(stream_key(key, Stream.ACCEPT), ids), entries, bits))


@functools.partial(jax.jit, static_argnums=2)
def log_times(key: Array, ids: UInt32[Array, "B 2"], n: int) -> Float[Array, "B N"]:
    """Logarithms of the ordered exponentials that are subtracted from the log weights.

    Every block has its own: where the partition leaves little to search, the first few decide how all blocks choose.
    """
    first, second = block_words(stream_key(key, Stream.ARRIVAL), ids)
    words = threefry2x32(
        (first[:, None], second[:, None]), jnp.uint32(0), jnp.arange(n, dtype=jnp.uint32)
    )[0]
    return jnp.log(
        jnp.cumsum(exponential(words) * (n / jnp.arange(n, 0, -1, dtype=jnp.float32)), axis=1)
    )


@functools.partial(jax.jit, static_argnums=1)
def ranks(number: UInt32[Array, "B N"], bins: int) -> UInt32[Array, "B N"]:
    """How many candidates of the same bin come before each."""
    lanes, n = number.shape
    entry = number.astype(jnp.int32) + bins * jnp.arange(lanes, dtype=jnp.int32)[:, None]
    dtype = jnp.uint16 if n <= 1 << 16 else jnp.uint32

    def count(counts, own):
        # without the barrier all counts would be copied
        own, before = lax.optimization_barrier((own, counts[own]))
        return counts.at[own].set(before + 1, mode="promise_in_bounds", unique_indices=True), before

    return lax.scan(count, jnp.zeros(lanes * bins, dtype), entry.T)[1].T.astype(jnp.uint32)


def places_of(number, bits):
    """A coordinate's place in a bin of this number, as a function of the coordinate."""
    after = jnp.cumsum(bits[::-1])[::-1] - bits
    return lambda i: number >> after[i] & ((1 << bits[i]) - 1)


@jax.jit
def block_words(
    key: Array, ids: UInt32[Array, "B 2"]
) -> tuple[UInt32[Array, "B"], UInt32[Array, "B"]]:
    """Keys of the cipher for the blocks' own candidates."""
    return threefry2x32(stream_key(key, Stream.BRANCH), ids[:, 0], ids[:, 1])


def pair_of(words, number, rank, pair):
    """Random numbers of two coordinates that are cut."""
    return threefry2x32(words, number, jnp.uint32(pair << _RANK) | rank)


def cut_value(random, place, bits):
    """A coordinate that is cut: a quantile whose first bits are those of its place."""
    # no shift by 32, which is undefined
    return _normal(jnp.where(bits > 0, place << ((32 - bits) & 31) | random >> bits, random))


@functools.partial(jax.jit, static_argnums=3)
def rows_of(words, number, rank, n):
    """The rows of the table that both halves of the other coordinates are read from, on the axis before the last."""
    first, second = (own[..., None] for own in words)
    rows = jnp.stack(pair_of((first, second), number, rank, _ROWS), axis=-2)
    return (rows & (n - 1)).astype(jnp.int32)


def _normal(quantile):
    """The normal variable at so many 2^-32, from a table of 2^11 values for every octave of its tail."""
    octaves = lax.bitcast_convert_type(
        jnp.arange(_FIRST, _FIRST + (31 << 11)) << 12 | 1 << 11, jnp.float32
    )
    values = lax.optimization_barrier(normal(octaves.astype(jnp.uint32)))
    lower = quantile >> 31 == 0
    tail = jnp.where(lower, quantile, ~quantile).astype(jnp.int32).astype(jnp.float32)
    row = (lax.bitcast_convert_type(jnp.maximum(tail, 1), jnp.int32) >> 12) - _FIRST
    value = values.at[jnp.minimum(row, len(values) - 1)].get(mode="promise_in_bounds")
    return jnp.where(lower, value, -value)
