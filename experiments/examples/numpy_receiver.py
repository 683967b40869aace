"""A receiver of vectors that has NumPy and nothing of recjax or JAX: copy this file.

It reads strings that `recjax.write_indices` made of the indices of `recjax.VectorCoder`, as ``recjax/FORMAT.md``
describes them in its sections on vectors, strings and the range coder. Beside the string it knows what every receiver
knows: the key, the coder's settings, the number of coordinates and the divergence of every call.

    settings = Settings(block_bits=16, extra_bits=4, method="ordered")
    normal, = receive(data, (0, 7), 16_384, [700], settings)  # of jax.random.key(7), call 0
    x = mean + deviation * normal
"""

import binascii
import bisect
import itertools
import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

SCHEME, TOTAL, CODER = 1, 1 << 24, 18


class Settings(NamedTuple):
    """The settings of the `VectorCoder`."""

    block_bits: int = 16
    extra_bits: int = 4
    method: str = "ordered"


class Layout(NamedTuple):
    """What the divergence decides.

    Attributes:
        blocks: number of indices.
        candidate_bits: log2 of the number of candidates of a block.
        index_bits: log2 of the number of values of an index.
        columns: number of columns of the table of candidates.
        parts: 256 times the divergence in bits.
    """

    blocks: int
    candidate_bits: int
    index_bits: int
    columns: int
    parts: int


def receive(
    data: bytes, key: tuple[int, int], d: int, kl_bits: Sequence[float], settings: Settings
) -> list[np.ndarray]:
    """The standard normal numbers [d] of calls 0, 1, ..., one for every entry of ``kl_bits``.

    Raises:
        ValueError: the string is damaged, or was written for other calls or settings.
    """
    layouts = [layout_of(d, kl, settings) for kl in kl_bits]
    return [
        normals(key, call, index, d, layout, settings)
        for call, (index, layout) in enumerate(zip(read(data, d, layouts, settings), layouts))
    ]


def layout_of(d: int, kl_bits: float, settings: Settings) -> Layout:
    """The blocks that ``kl_bits`` is cut into: 16 bits and 2^16 candidates at most."""
    parts = math.floor(256 * kl_bits + 0.5)
    blocks = max(1, math.ceil(parts / (256 * (settings.block_bits - settings.extra_bits))))
    while True:
        bits = math.ceil(math.ceil(parts / blocks) / 256) + settings.extra_bits if parts else 0
        if max(64, math.ceil(d / blocks)) << bits <= 1 << 32:
            break
        blocks += 1
    if settings.method == "ordered":
        return Layout(blocks, bits, bits, max(64, math.ceil(d / blocks)), parts)
    sent = max(bits - settings.extra_bits, 0)
    return Layout(blocks, bits, sent, max(64, math.ceil(d / (2 * blocks))), parts)


# Strings of indices


def read(data: bytes, d: int, layouts: list[Layout], settings: Settings) -> Iterator[list[int]]:
    """The indices of every call."""
    trellis = settings.method == "trellis"
    exponents = [
        0 if trellis else exponent(lay.parts // lay.blocks, lay.index_bits) for lay in layouts
    ]
    known = [len(layouts)]
    for layout, a in zip(layouts, exponents):
        known += [layout.blocks, layout.index_bits, a]
        known += [d, layout.candidate_bits, layout.columns, 0]
    check = binascii.crc_hqx(data[:-2] + np.array(known, ">u4").tobytes(), 0xFFFF)
    if data[:2] != bytes([16 + SCHEME, CODER]) or data[-2:] != check.to_bytes(2, "big"):
        raise ValueError("not a string of these vectors, or damaged")
    decoder = RangeDecoder(data[2:-2])
    for layout, a in zip(layouts, exponents):
        if trellis:
            yield uniform_numbers(decoder, layout.blocks, layout.index_bits)
        else:
            yield zipf_numbers(decoder, layout.blocks, layout.index_bits, a)


class RangeDecoder:
    """Symbols from bytes, given their frequencies out of 2^24."""

    def __init__(self, stream: bytes) -> None:
        self.stream, self.position, self.low, self.width = stream, 0, 0, (1 << 64) - 1
        self.value = self.take(8)

    def take(self, n: int) -> int:
        piece = self.stream[self.position : self.position + n]
        self.position += n
        return int.from_bytes(piece.ljust(n, b"\0"), "big")

    def read(self, ends: Sequence[int]) -> int:
        """The next symbol; ``ends`` are 0 and the sums of the frequencies up to each symbol."""
        scale = self.width >> 24
        place = min((self.value - self.low) % 2**64 // scale, TOTAL - 1)
        symbol = bisect.bisect_right(ends, place) - 1
        self.low = (self.low + scale * ends[symbol]) % 2**64
        self.width = scale * (ends[symbol + 1] - ends[symbol])
        if self.width < 1 << 32:
            self.low, self.width = (self.low << 32) % 2**64, self.width << 32
            self.value = (self.value << 32) % 2**64 | self.take(4)
        return symbol

    def read_uniform(self, n: int) -> int:
        """One of a power of two equally likely symbols."""
        return self.read(range(0, TOTAL + 1, TOTAL // n)) if n > 1 else 0


def uniform_numbers(decoder: RangeDecoder, n: int, bits: int) -> list[int]:
    """Numbers of some bits; of more than 16 the high bits of all numbers come first."""
    low = 16 if bits > 16 else 0
    numbers = [decoder.read_uniform(1 << bits - low) << low for _ in range(n)]
    return [number + decoder.read_uniform(1 << low) for number in numbers]


def zipf_numbers(decoder: RangeDecoder, n: int, bits: int, a: int) -> list[int]:
    """Numbers of some bits with probabilities like rank^(-a / 64): bins of ranks, then the places in them."""
    if bits == 0:
        return [0] * n
    bins = [range(rank, rank + 1) for rank in (1, 2, 3) if rank < 1 << bits]
    for octave in range(2, bits):
        width = 1 << octave - 2
        bins += [range(rank, rank + width) for rank in range(1 << octave, 2 << octave, width)]
    bins.append(range(1 << bits, (1 << bits) + 1))
    weights = [len(ranks) * power(ranks[0] + ranks[-1], a) for ranks in bins]
    shares = [1 + weight * (TOTAL - len(bins)) // sum(weights) for weight in weights]
    shares[weights.index(max(weights))] += TOTAL - sum(shares)
    ends = [0, *itertools.accumulate(shares)]
    found = [bins[decoder.read(ends)] for _ in range(n)]
    return [ranks[decoder.read_uniform(len(ranks))] - 1 for ranks in found]


def power(base: int, a: int) -> int:
    """floor(2^128 base^(-a / 64))."""
    root = (1 << 128 * 64) // base**a
    for _ in range(6):
        root = math.isqrt(root)
    return root


def exponent(block_parts: int, bits: int) -> int:
    """64 times the exponent of the code of the indices of a block of ``block_parts`` / 256 bits."""
    root = 1 << (1 << 15) - max(3 * (256 * (bits - 1) - block_parts), -(1 << 14))
    for _ in range(10):
        root = math.isqrt(root)
    divisor = (block_parts + 256) * ((1 << 32) + root)
    return ((block_parts + 512 << 39) + divisor) // (2 * divisor)


# Samples


def normals(
    key: tuple[int, int], call: int, index: list[int], d: int, layout: Layout, settings: Settings
) -> np.ndarray:
    """The standard normal numbers [d] of the indices of a call."""
    stream = threefry(key, SCHEME << 16 | 5, call)
    coordinate = np.arange(d)
    place = coordinate // layout.blocks
    turn = np.stack(threefry(stream, 0, np.arange(place[-1] // 2 + 1)), 1).ravel().astype(np.int64)
    block = (coordinate + turn[place] % layout.blocks) % layout.blocks
    if settings.method == "ordered":
        masks = threefry(stream, np.arange(1, layout.blocks + 1), 0)[1]
        rows = np.array(index) ^ masks % (1 << layout.candidate_bits)
    else:  # two steps take the place of each block
        rows = registers(int(threefry(stream, 1, 0)[1]), index, layout)
        block, place = 2 * block + 1 - place % 2, place // 2
    first = threefry(stream, block + 1, 0)[0].astype(np.int64)
    column = (first % layout.columns + place) % layout.columns
    words = np.where(
        column % 2, *threefry(threefry(key, SCHEME << 16, 0), rows[block], column // 2)[::-1]
    )
    signs = np.where(place // 32 % 2, *threefry(stream, block + 1, place // 64 + 1)[::-1])
    words ^= (signs >> (place % 32).astype(np.uint32)) << np.uint32(31)
    size = np.array([*map(NormalDist().inv_cdf, (words % (1 << 31) + 0.5) / (1 << 32))])
    return np.where(words >> 31, -size, size)


def registers(start: int, index: list[int], layout: Layout) -> np.ndarray:
    """The rows of the steps of a trellis: a register that the bits of the indices are shifted into."""
    high, low = layout.index_bits // 2, layout.index_bits - layout.index_bits // 2
    register, rows = start % (1 << layout.candidate_bits), []
    for number in index:
        for piece, bits in ((number >> low, high), (number % (1 << low), low)):
            register = ((register << bits) + piece) % (1 << layout.candidate_bits)
            rows.append(register)
    return np.array(rows)


def threefry(key, high, low) -> tuple[np.ndarray, np.ndarray]:
    """Threefry-2x32 with 20 rounds (Salmon et al., *Parallel random numbers*, 2011), of numbers below 2^32 or arrays."""
    first, second, x, y = (
        np.asarray(word, np.uint32) for word in np.broadcast_arrays(*key, high, low)
    )
    keys = first, second, first ^ second ^ np.uint32(0x1BD11BDA)
    with np.errstate(over="ignore"):  # sums are mod 2^32
        x, y = x + first, y + second
        for group in range(5):
            for rotation in ((13, 15, 26, 6), (17, 29, 16, 24))[group % 2]:
                x = x + y
                y = (y << np.uint32(rotation) | y >> np.uint32(32 - rotation)) ^ x
            x, y = x + keys[(group + 1) % 3], y + keys[(group + 2) % 3] + np.uint32(group + 1)
    return x, y
