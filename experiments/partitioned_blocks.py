"""Gaussian blocks beyond the reach of a bare search: ordered random coding over a partition of the prior.

J. He, G. Flamich and J. M. Hernandez-Lobato, *Accelerating relative entropy coding with space partitioning*, NeurIPS
2024. The prior P = N(0, I) is cut into J bins B_j of equal mass: products of dyadic quantile intervals of some of the
coordinates, chosen by what both sides expect of them. The N candidates come from P' = sum_j pi_j P|_{B_j} with pi_j =
Q(B_j), a product over coordinates, and the log weights are log q/p - log(J pi_j). Ordered random coding (Theis and
Yosri, ICML 2022; see `recjax.blocks.ordered_random`) chooses one. The message is its bin, log2 J bits, and its rank
among the candidates of that bin. Candidates are functions of (block, bin, rank, coordinate): the receiver needs no pi.

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

from experiments.partitioned_candidates import (
    MOST_BITS,
    block_words,
    cut_value,
    draw_bins,
    log_times,
    pair_of,
    places_of,
    ranks,
    rows_of,
)
from recjax.bits.zipf import best_exponent, codelength_bits
from recjax.blocks.candidates import candidate_rows
from recjax.samplers.base import check_range

_LANES, _DECODED = 16, 256  # blocks at a time


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartitionedBlocks:
    """Codes Gaussian blocks, each as a bin and a rank.

    Attributes:
        partition_bits: log2 of J, 0 to 20.
        search_bits: log2 of N, 6 to 20.
        most_cut: coordinates of a block that are cut at most, those of which the most divergence is expected.
        best: take the candidate with the largest log q/p - log(rank + 1), instead of a sample of the posterior: the
            best signal at the price of a rank in a Zipf code.

    Raises:
        ValueError: a number is out of its range.
    """

    partition_bits: int
    search_bits: int = 16
    most_cut: int = 10
    best: bool = False

    def __post_init__(self) -> None:
        check_range("partition_bits", self.partition_bits, 0, 20)
        check_range("search_bits", self.search_bits, 6, 20)

    def allot(self, expected: Float[np.ndarray, "B d"]) -> Int[np.ndarray, "B M"]:
        """Bits of the partition for the M first coordinates of every block: each goes where most is still left.

        As `recjax.allot_bits`, but of a block with less divergence than the partition has bits fewer are used.

        Args:
            expected: KL in bits that both sides expect, in falling order; 0 where a block has no coordinate.
        """
        left = expected[:, : self.most_cut].astype(float)
        bits = np.zeros(left.shape, int)
        blocks = np.arange(len(left))
        for _ in range(self.partition_bits):
            most = left.argmax(axis=1)
            taken = left[blocks, most] > 0
            bits[blocks[taken], most[taken]] += 1
            left[blocks[taken], most[taken]] -= 1
            left[bits == MOST_BITS] = -math.inf
        return bits

    def codelength(self, bits: Int[np.ndarray, "B ..."], rank: Int[np.ndarray, "B"]) -> float:
        """Bits of all messages: the bins, and the ranks by the truncated Zipf code with the best exponent."""
        sizes = np.full(len(rank), self.search_bits)
        return float(np.sum(bits) + codelength_bits(rank, sizes, best_exponent(rank, sizes)).sum())

    @functools.partial(jax.jit, static_argnums=(0, 2))
    def table(self, key: Array, rest: int) -> Float[Array, "2 columns N"]:
        """Features z^2 and z of both halves of ``rest`` coordinates, an even number, for all blocks."""
        n = 1 << self.search_bits
        z = candidate_rows(key, jnp.arange(n, dtype=jnp.int32), rest, jnp.float32).T.reshape(
            2, rest // 2, n
        )
        return jnp.concatenate([z * z, z], axis=1)

    def encode(
        self,
        table: Float[Array, "2 columns N"],
        key: Array,
        ids: UInt32[np.ndarray, "B 2"],
        mu: Float[np.ndarray, "B d"],
        sigma: Float[np.ndarray, "B d"],
        width: Int[np.ndarray, "B"],
        bits: Int[np.ndarray, "B M"],
    ) -> tuple[UInt32[np.ndarray, "B"], Int[np.ndarray, "B"]]:
        """Bin and rank of every block.

        Args:
            table: what `table` returned, for at least ``d - M`` coordinates.
            key: the key of the table.
            ids: what tells blocks apart.
            mu, sigma: posteriors relative to the prior N(0, 1), coordinates in the order of the expected divergence.
            width: coordinates of the blocks; what lies beyond is ignored.
            bits: what `allot` returned.
        """
        inside = np.arange(mu.shape[1]) < width[:, None]
        mu, sigma = (np.where(inside, x, y).astype(np.float32) for x, y in ((mu, 0), (sigma, 1)))
        lots = _in_lots(_LANES, ids, mu, sigma, bits.astype(np.uint32))
        out = [np.stack([np.asarray(x) for x in self._encode(table, key, *lot)]) for lot in lots]
        number, rank = np.concatenate(out, axis=1)[:, : len(mu)]
        return number, rank.astype(np.int32)

    def _encode(self, table, key, ids, mu, sigma, bits):
        # many programs: fused into one, the cipher would run anew for every use of its numbers
        cut, n = bits.shape[1], 1 << self.search_bits
        number, log_shares = draw_bins(key, ids, mu[:, :cut], sigma[:, :cut], bits, n)
        rank, words = ranks(number, 1 << self.partition_bits), block_words(key, ids)
        ratio = _ratio_of_cut(number, rank, words, mu[:, :cut], sigma[:, :cut], bits)
        scores = _scores_of_rest(table, mu[:, cut:], sigma[:, cut:])
        rows = rows_of(words, number, rank, n)
        for half in range(2):
            ratio += _gathered(scores[half], rows[:, half])
        if self.best:
            return _choose(number, rank, ratio - jnp.log1p(rank.astype(jnp.float32)))
        return _choose(number, rank, ratio - log_shares - log_times(key, ids, n))

    def decode(
        self, key: Array, ids, number, rank, width, bits, rest: int
    ) -> Float[np.ndarray, "B d"]:
        """The candidates of these bins and ranks, M + ``rest`` coordinates, 0 beyond the widths.

        Args:
            key, ids, width, bits, rest: as the encoder has them.
            number: bins, ``uint32[B]``.
            rank: ranks there.
        """
        lots = _in_lots(_DECODED, ids, number, rank.astype(np.uint32), bits.astype(np.uint32))
        out = np.concatenate([np.asarray(self._decode(key, *lot, rest)) for lot in lots])[
            : len(rank)
        ]
        return np.where(np.arange(out.shape[1]) < width[:, None], out, 0)

    @functools.partial(jax.jit, static_argnums=(0, 6))
    def _decode(self, key, ids, number, rank, bits, rest):
        def one(block):
            words, number, rank, bits = block
            places, cut = places_of(number, bits), len(bits)
            random = [x for i in range(-(-cut // 2)) for x in pair_of(words, number, rank, i)]
            values = [cut_value(random[i], places(i), bits[i]) for i in range(cut)]
            rows = rows_of(words, number[None], rank[None], 1 << self.search_bits)[:, 0]
            halves = jnp.split(candidate_rows(key, rows, rest, jnp.float32), 2, axis=1)
            return jnp.concatenate([jnp.stack(values), halves[0][0], halves[1][1]])

        return lax.map(one, (block_words(key, ids), number, rank, bits))


@jax.jit
def _ratio_of_cut(number, rank, words, mu, sigma, bits):
    """The part of log q/p of all candidates that is of coordinates that are cut, but for a constant, ``[B, N]``."""

    def one(block):
        number, rank, words, mu, sigma, bits = block
        places, ratio = places_of(number, bits), jnp.zeros(number.shape)
        for i in range(len(bits)):
            if i % 2 == 0:
                random = pair_of(words, number, rank, i // 2)
            z = cut_value(random[i % 2], places(i), bits[i])
            distance = (z - mu[i]) / sigma[i]
            ratio += 0.5 * (z * z - distance * distance)  # 0 beyond the width
        return ratio

    return lax.map(one, (number, rank, words, mu, sigma, bits))


@jax.jit
def _scores_of_rest(features, mu, sigma):
    """The part of log q/p that every row of either half of the table would add, but for a constant, ``[2, B, N]``."""
    rest, half = features.shape[1], features.shape[1] // 2
    pad = (0, 0), (0, rest - mu.shape[1])
    precision = jnp.pad(1 / (sigma * sigma), pad, constant_values=1)
    weights = jnp.stack([0.5 - 0.5 * precision, jnp.pad(mu, pad) * precision], axis=1).reshape(
        -1, 2, 2, half
    )
    weights = weights.transpose(2, 0, 1, 3).reshape(2, -1, rest)
    return jnp.matmul(weights, features, precision=lax.Precision.HIGHEST)


@jax.jit
def _gathered(scores, rows):
    return jnp.take_along_axis(scores, rows, axis=1, mode="promise_in_bounds")


@jax.jit
def _choose(number, rank, score):
    """Bin and rank of the candidate with the largest score."""
    chosen = jnp.argmax(score, axis=1)[:, None]
    return jnp.take_along_axis(number, chosen, 1)[:, 0], jnp.take_along_axis(rank, chosen, 1)[:, 0]


def _in_lots(size, *parts):
    """Rows of arrays in lots of equal size; the last is filled up with copies."""
    rows = np.minimum(np.arange(-(-len(parts[0]) // size) * size), len(parts[0]) - 1)
    return [[x[rows[i : i + size]] for x in parts] for i in range(0, len(rows), size)]
