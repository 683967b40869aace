"""Truncated Zipf code of candidate indices. Frozen: FORMAT.md, section Indices.

Index `i` in `0 .. N - 1` has rank `i + 1` and a probability of about `rank^(-a/64)`. The support
ends at `N`: unlike a zeta code, this code wastes nothing on larger indices. The ranks are cut into
bins: each of 1, 2, 3 alone, every octave `[2^j, 2^(j+1))` from 4 to `N` in four equal parts, and
`N` alone. A bin is coded with an integer frequency out of 2^24, the place in the bin uniformly.
Encoder and decoder build equal tables on any machine, because only Python integers enter them.

With the largest support and an exponent above 1, it stands for the zeta code, whose support has no
end.
"""

import bisect
import functools
import itertools
import math

import numpy as np
from jaxtyping import Float, Int

from recjax.bits.frequencies import PRECISION, integer_shares

MAX_LOG2_SIZE = 31
"""Largest log2 of a support."""

MAX_EXPONENT = 255
"""Exponents are `a / 64` with `0 <= a <= MAX_EXPONENT`, one byte in a file."""

_ROOT_BITS = 128  # bits after the point of a bin's weight; the smallest weight is about 2^-127

_LEAST_ZETA, _LAST_ZETA = 65, 128  # exponents of the zeta code: those above 1 and at most 2

# 64 (1 + 1 / (rate + 1)) is at least a - 1/2 up to the rate 64 / (a - 64.5) - 1, here for
# a = 128, 127, ..., 66. Rates are compared with this table, in float32, and not divided, because
# compiled code may round a quotient in another way.
RATE_BOUNDS = tuple(
    float(np.float32(64 / (a - 64.5) - 1)) for a in range(_LAST_ZETA, _LEAST_ZETA, -1)
)
"""Entry `i` is the largest rate, in bits, whose zeta code has the exponent `(128 - i) / 64`."""


@functools.cache
def bin_edges(log2_size: int) -> tuple[int, ...]:
    """First index of each bin of the support `0 .. 2**log2_size - 1`, then the end of the support.

    Raises:
        ValueError: `log2_size` is not in 1 .. 31.

    >>> bin_edges(4)
    (0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 15, 16)
    """
    if not 1 <= log2_size <= MAX_LOG2_SIZE:
        raise ValueError(f"log2_size must be in 1..{MAX_LOG2_SIZE}, got {log2_size}")
    # ranks 1, 2, 3 are bins of their own; a support of two indices has the ranks 1 and N = 2 only
    edges = [0] if log2_size == 1 else [0, 1, 2]
    for octave in range(2, log2_size):
        edges += [2**octave - 1 + quarter * 2 ** (octave - 2) for quarter in range(4)]
    return (*edges, 2**log2_size - 1, 2**log2_size)


@functools.cache
def _weight(double_mid: int, count: int, a: int) -> int:
    """`floor(2^128 double_mid^(-a/64)) count`, by six exact integer square roots."""
    root = 2 ** (64 * _ROOT_BITS) // double_mid**a
    for _ in range(6):
        root = math.isqrt(root)
    return root * count


@functools.lru_cache(maxsize=4096)
def bin_frequencies(log2_size: int, a: int) -> tuple[int, ...]:
    """Integer frequency of each bin: positive, with sum 2^24.

    Args:
        log2_size: log2 of the support, 1 .. 31.
        a: exponent in units of 1/64, 0 .. 255.

    Raises:
        ValueError: an argument is outside its range.

    >>> sum(bin_frequencies(16, 64)) == 2**24
    True
    """
    if not 0 <= a <= MAX_EXPONENT:
        raise ValueError(f"the exponent a must be in 0..{MAX_EXPONENT}, got {a}")
    edges = bin_edges(log2_size)
    # ranks low+1 .. high have the mean (low + 1 + high) / 2; the common factor 2^(a/64) cancels
    weights = [_weight(low + 1 + high, high - low, a) for low, high in itertools.pairwise(edges)]
    return tuple(integer_shares(weights).tolist())


def codelength_bits(
    indices: Int[np.ndarray, "*#n"], log2_sizes: Int[np.ndarray, "*#n"] | int, a: int
) -> Float[np.ndarray, "*#n"]:
    """Bits that each index costs in the range-coded stream, without the rounding at its end.

    Args:
        indices: 0-based candidate numbers.
        log2_sizes: log2 of the support of each index, broadcast against `indices`.
        a: exponent in units of 1/64.

    Returns:
        Code lengths in bits, float64.

    Raises:
        ValueError: an index is outside its support, or a size or the exponent outside its range.

    >>> float(codelength_bits(np.array(0), 4, 0).round(3))
    4.0
    """
    indices, log2_sizes = np.broadcast_arrays(np.asarray(indices), np.asarray(log2_sizes))
    check_indices(indices, log2_sizes)
    bits = np.zeros(indices.shape)
    for size in np.unique(log2_sizes):
        where = log2_sizes == size
        bins = np.searchsorted(bin_edges(int(size)), indices[where], side="right") - 1
        bits[where] = bin_bits(int(size), a)[bins]
    return bits


def bin_bits(log2_size: int, a: int) -> Float[np.ndarray, " bins"]:
    """Bits that an index in each bin costs, its place in the bin included.

    Args:
        log2_size: log2 of the support, 1 .. 31.
        a: exponent in units of 1/64, 0 .. 255.

    Raises:
        ValueError: an argument is outside its range.

    >>> bin_bits(1, 64).round(3).tolist()  # ranks 1 and 2 with probabilities 2/3 and 1/3
    [0.585, 1.585]
    """
    bits_of_bin = PRECISION - np.log2(bin_frequencies(log2_size, a))
    return bits_of_bin + np.log2(np.diff(bin_edges(log2_size)))


def zeta_exponent(rate_bits: float) -> int:
    """Exponent `a` of the zeta code of a coder's indices, in units of 1/64.

    It is `64 (1 + 1 / (rate_bits + 1))` rounded, halves up, and at least 65: the exponent of
    theorem 4.2.7 (greedy Poisson rejection sampling) of G. Flamich, *Data Compression with
    Relative Entropy Coding*.

    Args:
        rate_bits: expected divergence of the targets from the proposal, in bits.

    Returns:
        `a` in 65 .. 128.

    Raises:
        ValueError: the rate is negative or not finite.

    >>> zeta_exponent(0.0), zeta_exponent(1.0), zeta_exponent(1000.0)
    (128, 96, 65)
    """
    if not 0 <= rate_bits < math.inf:
        raise ValueError(f"rate_bits must be one non-negative number, got {rate_bits!r}")
    # beyond the last bound every rate has the least exponent; float32 could not hold all of them
    rate = float(np.float32(min(rate_bits, RATE_BOUNDS[-1] + 1)))
    return _LAST_ZETA - bisect.bisect_left(RATE_BOUNDS, rate)


@functools.lru_cache(maxsize=4096)
def budget_exponent(kl_parts: int, budget_bits: int) -> int:
    """Exponent `a` of the code of ordered random candidates, in units of 1/64.

    It is `64 (1 + 1 / (x + 1)) / (1 + 2^(-3 (b - x - 1) / 4))` rounded, halves up, at a divergence
    of `x` bits and a budget of `b` bits, but in integers, so that every machine finds the same.

    Args:
        kl_parts: divergence of the target from the proposal in units of 1/256 bit, rounded.
        budget_bits: log2 of the number of candidates, 0 .. 31.

    Returns:
        `a` in 0 .. 128.

    >>> budget_exponent(256 * 12, 16), budget_exponent(256 * 20, 16), budget_exponent(0, 31)
    (57, 5, 128)
    """
    # the exponent is 0 there and for all larger divergences
    power = max(3 * (256 * (budget_bits - 1) - kl_parts), -(1 << 14))
    # floor(2^(32 - power / 1024)), by ten exact integer square roots
    root = 1 << ((1 << 15) - power)
    for _ in range(10):
        root = math.isqrt(root)
    divisor = (kl_parts + 256) * ((1 << 32) + root)
    return ((kl_parts + 512 << 39) + divisor) // (2 * divisor)


def best_exponent(indices: Int[np.ndarray, " n"], log2_sizes: Int[np.ndarray, " n"]) -> int:
    """Exponent `a` in 0 .. 255 with the shortest total code of `indices` (0 if there are none).

    The search runs in float64 and on the encoder's side only: the file carries `a`. Its result is
    not frozen.

    Args:
        indices: 0-based candidate numbers.
        log2_sizes: log2 of the support of each index.

    Raises:
        ValueError: an index is outside its support.

    >>> best_exponent(np.arange(16), np.full(16, 4))
    0
    """
    indices, log2_sizes = np.broadcast_arrays(np.asarray(indices), np.asarray(log2_sizes))
    check_indices(indices, log2_sizes)
    exponents = np.arange(MAX_EXPONENT + 1) / 64
    total = np.zeros(exponents.shape)
    for size in np.unique(log2_sizes):
        edges = np.array(bin_edges(int(size)))
        counts = np.histogram(indices[log2_sizes == size], edges)[0]
        log_mid = np.log2(edges[:-1] + edges[1:] + 1.0)
        # the code length of a bin is log2 of the sum of weights minus log2 of the bin's weight
        weights = np.diff(edges) * 2.0 ** (-exponents[:, None] * log_mid)
        total += counts.sum() * np.log2(weights.sum(1)) + exponents * (counts @ log_mid)
    return int(np.argmin(total))


def check_indices(indices: Int[np.ndarray, "..."], log2_sizes: Int[np.ndarray, "..."]) -> None:
    """Checks indices against their supports.

    Raises:
        ValueError: a size is not in 1 .. 31, or an index not in `0 .. 2**log2_size - 1`.
    """
    if not (
        np.issubdtype(indices.dtype, np.integer) and np.issubdtype(log2_sizes.dtype, np.integer)
    ):
        raise ValueError(
            f"indices and log2_sizes must be integers, got {indices.dtype} and {log2_sizes.dtype}"
        )
    if indices.shape != log2_sizes.shape:
        raise ValueError(
            f"indices and log2_sizes differ in shape: {indices.shape} and {log2_sizes.shape}"
        )
    if np.any((log2_sizes < 1) | (log2_sizes > MAX_LOG2_SIZE)):
        raise ValueError(f"log2_sizes must be in 1..{MAX_LOG2_SIZE}")
    if np.any((indices < 0) | (indices >> log2_sizes != 0)):
        raise ValueError("indices must be in 0..2**log2_size - 1")
