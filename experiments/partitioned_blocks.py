"""Gaussian blocks beyond the reach of a bare search: ordered random coding over a partition of the prior.

J. He, G. Flamich and J. M. Hernandez-Lobato, *Accelerating relative entropy coding with space partitioning*, NeurIPS
2024. The prior P = N(0, I) is cut into J bins B_j of equal mass: products of dyadic quantile intervals of some of the
coordinates, chosen by what both sides expect of them. The N candidates come from P' = sum_j pi_j P|_{B_j} with pi_j =
Q(B_j), a product over coordinates, and the log weights are log q/p - log(J pi_j). Ordered random coding (Theis and
Yosri, ICML 2022; see `recjax.samplers.block_coder`) chooses one. The message is its bin, log2 J bits, and its rank
among the candidates of that bin. Candidates are functions of (block, bin, rank, coordinate), so the receiver needs no pi.

Two choices make the search quick, and `PartitionedBlocks.decode` knows both. Coordinates that are cut have fresh values
in every candidate. The others are read from a table of N rows in two halves, each half from a row of its own that the
cipher gives (block, bin, rank): N^2 pairs of rows, scored by one matrix product as the quadratics that they are.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, UInt32

from recjax.bits.zipf import best_exponent, codelength_bits
from recjax.randomness import Stream, exponential, normal, stream_key, threefry2x32
from recjax.samplers.block_coder import candidate_rows

MOST_BITS = 4
"""Of one coordinate: the encoder compares with all 2^4 edges."""
_MASS = 12  # bits of the masses of a coordinate's bins, from which the encoder draws
_LANES = 16  # blocks at a time
_RANK = 20  # bits of a rank in a counter of the cipher, which is a pair of coordinates and a rank
_ROWS = 0xFFF  # the pair that stands for the rows of the table
_FIRST = 127 << 11  # upper bits of the float 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartitionedBlocks:
    """Codes Gaussian blocks, each as a bin and a rank.

    Attributes:
        partition_bits: log2 of J, at most 20.
        search_bits: log2 of N, 6 to 20.
        best: take the candidate with the largest log q/p - log(rank + 1), instead of a sample of the posterior: the
            best signal at the price of a rank in a Zipf code.
    """

    partition_bits: int
    search_bits: int = 16
    best: bool = False

    def allot(self, expected: Float[np.ndarray, "B d"]) -> Int[np.ndarray, "B M"]:
        """Bits of the partition for the M first coordinates of every block: each goes where most is still left.

        As `recjax.allot_bits`, but of a block with less divergence than the partition has bits fewer are used.

        Args:
            expected: KL in bits that both sides expect, in falling order; 0 where a block has no coordinate.
        """
        left, bits = expected.astype(float), np.zeros(expected.shape, int)
        blocks = np.arange(len(left))
        for _ in range(self.partition_bits):
            most = left.argmax(axis=1)
            taken = left[blocks, most] > 0
            bits[blocks[taken], most[taken]] += 1
            left[blocks[taken], most[taken]] -= 1
            left[bits == MOST_BITS] = -math.inf
        return bits[:, : max(1, int((bits > 0).sum(axis=1).max(initial=0)))]

    def codelength(self, bits: Int[np.ndarray, "B ..."], rank: Int[np.ndarray, "B"]) -> float:
        """Bits of all messages: the bins, and the ranks by the truncated Zipf code with the best exponent."""
        sizes = np.full(len(rank), self.search_bits)
        return float(np.sum(bits) + codelength_bits(rank, sizes, best_exponent(rank, sizes)).sum())

    @functools.partial(jax.jit, static_argnums=(0, 2))
    def table(self, key: Array, rest: int) -> tuple[Float[Array, "2 columns N"], Float[Array, "N"]]:
        """Features z^2 and z of both halves of ``rest`` coordinates, an even number, and the noise of the candidates."""
        n = 1 << self.search_bits
        z = candidate_rows(key, jnp.arange(n, dtype=jnp.int32), rest, jnp.float32).T.reshape(2, rest // 2, n)
        counter = jnp.arange(n, dtype=jnp.uint32)
        draws = exponential(threefry2x32(stream_key(key, Stream.ARRIVAL), jnp.uint32(0), counter)[0])
        times = jnp.cumsum(draws * (n / jnp.arange(n, 0, -1, dtype=jnp.float32)))
        return jnp.concatenate([z * z, z], axis=1), jnp.zeros(n) if self.best else -jnp.log(times)

    def encode(self, table, key: Array, ids, mu, sigma, width, bits) -> tuple[np.ndarray, np.ndarray]:
        """Bin and rank of every block, ``uint32[B]`` and ``int32[B]``.

        Args:
            table: what `table` returned, for at least ``d - M`` coordinates.
            key: the key of the table.
            ids: ``uint32[B, 2]``, what tells blocks apart.
            mu, sigma: posteriors ``[B, d]`` relative to the prior N(0, 1), in the order of the expected divergence.
            width: coordinates of the blocks, ``[B]``; what lies beyond is ignored.
            bits: what `allot` returned, ``[B, M]``.
        """
        count, parts = len(mu), (ids, mu, sigma, width, bits)
        parts = [np.pad(x, [(0, -count % _LANES)] + [(0, 0)] * (x.ndim - 1), mode="edge") for x in parts]
        lots = [[x[i : i + _LANES] for x in parts] for i in range(0, len(parts[0]), _LANES)]
        out = [np.stack([np.asarray(x) for x in self._encode(table, key, *lot)]) for lot in lots]
        number, rank = np.concatenate([*out, np.zeros((2, 0), np.uint32)], axis=1)[:, :count]
        return number, rank.astype(np.int32)

    def _encode(self, table, key, ids, mu, sigma, width, bits):
        # programs of their own: fused into one, the cipher would run anew for every use of its numbers
        (features, noise), cut = table, bits.shape[1]
        inside = np.arange(mu.shape[1]) < width[:, None]
        mu, sigma, bits = np.where(inside, mu, 0).astype(np.float32), np.where(inside, sigma, 1).astype(np.float32), bits.astype(np.uint32)
        number, log_shares = _draw_bins(key, ids, mu[:, :cut], sigma[:, :cut], bits, noise.size)
        words = _block_words(key, ids)
        rank = _ranks(number, 1 << self.partition_bits)
        scores = _ratio_of_rest(features, mu[:, cut:], sigma[:, cut:])
        rows = _rows(words, number, rank, noise.size)
        ratio = _ratio_of_cut(number, rank, words, mu[:, :cut], sigma[:, :cut], bits)
        for which in range(2):
            ratio += _gathered(scores[which], rows[:, which])
        if self.best:
            noise, log_shares = -jnp.log1p(jnp.arange(noise.size, dtype=jnp.float32))[rank], 0 * log_shares
        return _choose(number, rank, ratio + noise - log_shares)

    def decode(self, key: Array, ids, number, rank, width, bits, rest: int) -> Float[np.ndarray, "B d"]:
        """The candidates of these bins and ranks, M + ``rest`` coordinates, 0 beyond the widths.

        Args:
            key, ids, width, bits, rest: as the encoder has them.
            number: bins, ``uint32[B]``.
            rank: ranks there.
        """
        out = np.asarray(self._decode(key, ids, jnp.asarray(number), jnp.asarray(rank, jnp.uint32), bits, rest))
        return np.where(np.arange(out.shape[1]) < np.asarray(width)[:, None], out, 0)

    @functools.partial(jax.jit, static_argnums=(0, 6))
    def _decode(self, key, ids, number, rank, bits, rest):
        def one(block):
            words, number, rank, bits = block
            places, cut = _places(number, bits), len(bits)
            random = [x for i in range(-(-cut // 2)) for x in _pair(words, number, rank, i)]
            values = [_value(random[i], places(i), bits[i]) for i in range(cut)]
            rows = _rows(words, number[None], rank[None], 1 << self.search_bits)[:, 0]
            halves = jnp.split(candidate_rows(key, rows, rest, jnp.float32), 2, axis=1)
            return jnp.concatenate([jnp.stack(values), halves[0][0], halves[1][1]])

        return lax.map(one, (_block_words(key, ids), number, rank, bits.astype(jnp.uint32)))


@functools.partial(jax.jit, static_argnums=5)
def _draw_bins(key, ids, mu, sigma, bits, n):
    """Bins of the candidates from the encoder's own randomness, and log(J pi) of them, ``[B, N]`` each."""
    edges = jnp.arange((1 << MOST_BITS) + 1) / (1 << bits)[:, :, None]
    edges = jax.scipy.special.ndtri(jnp.minimum(edges, 1))
    below = jax.scipy.special.ndtr((edges - mu[:, :, None]) / sigma[:, :, None])
    below = jnp.round(below * (1 << _MASS)).astype(jnp.int32)
    log_shares = jnp.log(jnp.diff(below) / (1 << _MASS)) + bits[:, :, None] * math.log(2)
    # at every value of the random number the share, whose last bits are the place: one look-up instead of two
    uniform = jnp.arange(1 << _MASS)
    place = sum((uniform >= below[:, :, edge, None]).astype(jnp.int32) for edge in range(1, 1 << MOST_BITS))
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
            number, total = number << bits[i] | lax.bitcast_convert_type(entry, jnp.uint32) & mask, total + entry
        return number, total

    return lax.map(draw, (_block_words(stream_key(key, Stream.ACCEPT), ids), entries, bits))


@functools.partial(jax.jit, static_argnums=1)
def _ranks(number, bins):
    """How many candidates of the same bin come before each, ``[B, N]``."""
    lanes, n = number.shape
    entry = number.astype(jnp.int32) + bins * jnp.arange(lanes, dtype=jnp.int32)[:, None]
    dtype = jnp.uint16 if n <= 1 << 16 else jnp.uint32

    def count(counts, own):
        # without the barrier all counts would be copied
        own, before = lax.optimization_barrier((own, counts[own]))
        return counts.at[own].set(before + 1, mode="promise_in_bounds", unique_indices=True), before

    return lax.scan(count, jnp.zeros(lanes * bins, dtype), entry.T)[1].T.astype(jnp.uint32)


@jax.jit
def _ratio_of_rest(features, mu, sigma):
    """The part of log q/p that is read from the table, ``[B, N]``."""
    rest, half = features.shape[1], features.shape[1] // 2
    m, precision = (_padded(x, rest, value) for x, value in ((mu, 0), (1 / sigma**2, 1)))
    weights = jnp.concatenate([0.5 - 0.5 * precision, m * precision], axis=1).reshape(-1, 2, 2, half)
    weights = weights.transpose(2, 0, 1, 3).reshape(2, -1, rest)
    scores = jnp.matmul(weights, features, precision=lax.Precision.HIGHEST)
    return scores


@jax.jit
def _gathered(scores, rows):
    return jnp.take_along_axis(scores, rows, axis=1, mode="promise_in_bounds")


@jax.jit
def _ratio_of_cut(number, rank, words, mu, sigma, bits):
    """The part of log q/p that is of coordinates that are cut, ``[B, N]``."""

    def one(block):
        number, rank, words, mu, sigma, bits = block
        places, score = _places(number, bits), jnp.zeros(number.shape)
        for i in range(len(bits)):
            if i % 2 == 0:
                random = _pair(words, number, rank, i // 2)
            z = _value(random[i % 2], places(i), bits[i])
            distance = (z - mu[i]) / sigma[i]
            score += 0.5 * (z * z - distance * distance)  # 0 beyond the width
        return score

    return lax.map(one, (number, rank, words, mu, sigma, bits))


@jax.jit
def _choose(number, rank, score):
    """Bin and rank of the candidate with the largest score."""
    chosen = jnp.argmax(score, axis=1)[:, None]
    return jnp.take_along_axis(number, chosen, 1)[:, 0], jnp.take_along_axis(rank, chosen, 1)[:, 0]


def _places(number, bits):
    """A coordinate's place in a bin of this number, as a function of the coordinate."""
    after = jnp.cumsum(bits[::-1])[::-1] - bits
    return lambda i: number >> after[i] & ((1 << bits[i]) - 1)


@jax.jit
def _block_words(key, ids) -> tuple[UInt32[Array, "B"], UInt32[Array, "B"]]:
    return threefry2x32(stream_key(key, Stream.BRANCH), ids[:, 0], ids[:, 1])


def _pair(words, number, rank, pair):
    """Random numbers of two coordinates that are cut."""
    return threefry2x32(words, number, jnp.uint32(pair << _RANK) | rank)


def _value(random, place, bits):
    """A coordinate that is cut: a quantile whose first bits are those of its place."""
    # no shift by 32, which is undefined
    return _normal(jnp.where(bits > 0, place << ((32 - bits) & 31) | random >> bits, random))


@functools.partial(jax.jit, static_argnums=3)
def _rows(words, number, rank, n):
    """The rows of the table that both halves of the other coordinates are read from, on the axis before the last."""
    words = (own[..., None] for own in words)
    return jnp.stack([(own & (n - 1)).astype(jnp.int32) for own in _pair(tuple(words), number, rank, _ROWS)], axis=-2)


def _normal(quantile):
    """The normal variable at so many 2^-32, from a table of 2^11 values for every octave of its tail."""
    octaves = lax.bitcast_convert_type(jnp.arange(_FIRST, _FIRST + (31 << 11)) << 12 | 1 << 11, jnp.float32)
    values = lax.optimization_barrier(normal(octaves.astype(jnp.uint32)))
    lower = quantile >> 31 == 0
    tail = jnp.where(lower, quantile, ~quantile).astype(jnp.int32).astype(jnp.float32)
    row = (lax.bitcast_convert_type(jnp.maximum(tail, 1), jnp.int32) >> 12) - _FIRST
    value = values.at[jnp.minimum(row, len(values) - 1)].get(mode="promise_in_bounds")
    return jnp.where(lower, value, -value)


def _padded(x, columns, value):
    return jnp.pad(x, ((0, 0), (0, columns - x.shape[1])), constant_values=value)
