"""Truncated Zipf code for candidate indices, from integer arithmetic alone.

Index ``i`` in ``0 .. N-1`` has rank ``i + 1`` and about the probability ``rank^(-a/64)``; the support ends at ``N``, so
unlike a zeta code it wastes nothing beyond. The ranks are cut into bins: every octave ``[2^j, 2^(j+1))`` with at
least four ranks into four equal parts, every rank below 4, and ``N`` itself, alone. A bin is coded with an integer
frequency out of ``2^24``, the place in it uniformly. Encoder and decoder on any machine build equal tables,
because only Python integers enter them.
"""

import functools
import itertools
import math

import numpy as np
from jaxtyping import Int

PRECISION = 24
"""The frequencies of a table sum to ``2**PRECISION``; also the largest log2 of a support."""

MAX_EXPONENT = 255
"""Exponents are ``a / 64`` with ``0 <= a <= MAX_EXPONENT``, one byte in a file."""

_ROOT_BITS = 128  # bits after the point of a bin's weight; the smallest weight is about 2^-100


@functools.cache
def bin_edges(log2_size: int) -> tuple[int, ...]:
    """First index of each bin of the support ``0 .. 2**log2_size - 1``, then the end of the support.

    Raises:
        ValueError: if ``log2_size`` is not in 1 .. 24.

    >>> bin_edges(4)
    (0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 15, 16)
    """
    if not 1 <= log2_size <= PRECISION:
        raise ValueError(f"log2_size must be in 1..{PRECISION}, got {log2_size}")
    edges = [0] if log2_size == 1 else [0, 1, 2]
    for octave in range(2, log2_size):
        edges += [2**octave - 1 + part * 2 ** (octave - 2) for part in range(4)]
    return (*edges, 2**log2_size - 1, 2**log2_size)


@functools.cache
def _weight(double_mid: int, count: int, a: int) -> int:
    """``floor(2^128 double_mid^(-a/64)) * count``, by six exact integer square roots."""
    root = 2 ** (64 * _ROOT_BITS) // double_mid**a
    for _ in range(6):
        root = math.isqrt(root)
    return root * count


@functools.lru_cache(maxsize=4096)
def bin_frequencies(log2_size: int, a: int) -> tuple[int, ...]:
    """Integer frequency of each bin: positive, with sum ``2**24``.

    Args:
        log2_size: log2 of the support, 1 .. 24.
        a: exponent in units of 1/64, 0 .. 255.

    Raises:
        ValueError: if an argument is outside its range.

    >>> sum(bin_frequencies(16, 64)) == 2**24
    True
    """
    if not 0 <= a <= MAX_EXPONENT:
        raise ValueError(f"the exponent a must be in 0..{MAX_EXPONENT}, got {a}")
    edges = bin_edges(log2_size)
    # ranks low+1 .. high have the mean (low + 1 + high) / 2; the common factor 2^(a/64) cancels
    weights = [_weight(low + 1 + high, high - low, a) for low, high in itertools.pairwise(edges)]
    total, free = sum(weights), 2**PRECISION - len(weights)
    frequencies = [1 + weight * free // total for weight in weights]
    frequencies[weights.index(max(weights))] += 2**PRECISION - sum(frequencies)
    return tuple(frequencies)


def codelength_bits(
    indices: Int[np.ndarray, "..."], log2_sizes: Int[np.ndarray, "..."] | int, a: int
) -> Int[np.ndarray, "..."]:
    """Bits that each index costs in the range-coded stream, without the rounding at the end of the file.

    Args:
        indices: 0-based candidate numbers.
        log2_sizes: log2 of the support of each, broadcast against ``indices``.
        a: exponent in units of 1/64.

    Raises:
        ValueError: if an index is outside its support or a size or exponent outside its range.

    >>> float(codelength_bits(np.array(0), 4, 0).round(3))
    4.0
    """
    indices, log2_sizes = np.broadcast_arrays(np.asarray(indices), np.asarray(log2_sizes))
    check_indices(indices, log2_sizes)
    bits = np.zeros(indices.shape)
    for size in np.unique(log2_sizes):
        edges, frequencies = np.array(bin_edges(int(size))), np.array(bin_frequencies(int(size), a))
        table = PRECISION - np.log2(frequencies) + np.log2(np.diff(edges))
        where = log2_sizes == size
        bits[where] = table[np.searchsorted(edges, indices[where], side="right") - 1]
    return bits


def best_exponent(indices: Int[np.ndarray, " n"], log2_sizes: Int[np.ndarray, " n"]) -> int:
    """The exponent ``a`` in 0 .. 255 with the shortest total code for ``indices`` (0 if there are none).

    The search runs in float64, on the encoder's side only: the file carries ``a``.

    Raises:
        ValueError: if an index is outside its support.

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
        weights = np.diff(edges) * 2.0 ** (-exponents[:, None] * log_mid)
        total += counts.sum() * np.log2(weights.sum(1)) + exponents * (counts @ log_mid)
    return int(np.argmin(total))


def check_indices(indices: Int[np.ndarray, "..."], log2_sizes: Int[np.ndarray, "..."]) -> None:
    """Raises ValueError unless every size is in 1 .. 24 and every index in ``0 .. 2**log2_size - 1``."""
    if not (np.issubdtype(indices.dtype, np.integer) and np.issubdtype(log2_sizes.dtype, np.integer)):
        raise ValueError(f"indices and log2_sizes must be integers, got {indices.dtype} and {log2_sizes.dtype}")
    if indices.shape != log2_sizes.shape:
        raise ValueError(f"indices and log2_sizes differ in shape: {indices.shape} and {log2_sizes.shape}")
    if np.any((log2_sizes < 1) | (log2_sizes > PRECISION)):
        raise ValueError(f"log2_sizes must be in 1..{PRECISION}")
    if np.any((indices < 0) | (indices >> log2_sizes != 0)):
        raise ValueError("indices must be in 0..2**log2_size - 1")
