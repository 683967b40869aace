"""The range coder and the code of indices, in Python's integers."""

import bisect
import itertools
import math
from collections.abc import Sequence
from functools import cache

TOTAL = 1 << 24


class RangeDecoder:
    def __init__(self, stream: bytes):
        self.stream, self.position = stream, 0
        self.low, self.width, self.value = 0, 2**64 - 1, self.take(8)

    def take(self, n: int) -> int:
        part = self.stream[self.position : self.position + n]
        self.position += n
        return int.from_bytes(part.ljust(n, b"\0"), "big")

    def read(self, cumulative: Sequence[int]) -> int:
        """The next symbol, by the frequencies of those before each, and of all. Raises ValueError if there is none."""
        scale = self.width >> 24
        quotient = (self.value - self.low) % 2**64 // scale
        if quotient >= TOTAL:
            raise ValueError("not a stream")
        symbol = bisect.bisect_right(cumulative, quotient) - 1
        self.low = (self.low + scale * cumulative[symbol]) % 2**64
        self.width = scale * (cumulative[symbol + 1] - cumulative[symbol])
        if self.width < 2**32:
            self.low, self.width = (self.low << 32) % 2**64, self.width << 32
            self.value = (self.value << 32) % 2**64 | self.take(4)
        return symbol

    def read_uniform(self, n: int) -> int:
        """One of ``n`` equally likely symbols, a power of two."""
        return self.read(range(0, TOTAL + 1, TOTAL // n)) if n > 1 else 0


def cumulative(frequencies: Sequence[int]) -> list[int]:
    return [0, *itertools.accumulate(map(int, frequencies))]


@cache
def index_code(bits: int, a: int) -> tuple[list[range], list[int]]:
    """The ranks of every bin, and the cumulative frequencies of the bins."""
    bins = [range(rank, rank + 1) for rank in (1, 2, 3) if rank < 1 << bits]
    for octave in range(2, bits):
        quarter = 1 << octave - 2
        bins += [
            range(first, first + quarter) for first in range(1 << octave, 2 << octave, quarter)
        ]
    bins.append(range(1 << bits, (1 << bits) + 1))
    weights = [len(ranks) * power(ranks[0] + ranks[-1], a) for ranks in bins]
    frequencies = [1 + weight * (TOTAL - len(bins)) // sum(weights) for weight in weights]
    frequencies[weights.index(max(weights))] += TOTAL - sum(frequencies)
    return bins, cumulative(frequencies)


def power(base: int, a: int) -> int:
    """floor(2^128 base^(-a/64))."""
    root = (1 << 128 * 64) // base**a
    for _ in range(6):
        root = math.isqrt(root)
    return root


def read_indices(decoder: RangeDecoder, n: int, bits: int, a: int) -> list[int]:
    bins, cumulated = index_code(bits, a)
    found = [bins[decoder.read(cumulated)] for _ in range(n)]
    return [ranks[decoder.read_uniform(len(ranks))] - 1 for ranks in found]
