"""Strings of indices: numbers, lists of numbers, paths in trees, and vectors."""

import binascii
import math
import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from independent.entropy import TOTAL, RangeDecoder, cumulative, index_code
from independent.shared import threefry
from independent.vector import SCHEME, halves, in_a_row, in_turn


class Model(NamedTuple):
    """*b*, *a* and the kind of a model: zipf, uniform or delta."""

    bits: int
    a: int
    kind: str = "zipf"

    @property
    def checked(self) -> list[int]:
        return [self.bits, self.a]


DELTA = Model(32, 0, "delta")


def read_numbers(blob: bytes, coder: int, n: int, model: Model) -> list[int]:
    """Candidate numbers of coders whose strings hold nothing else."""
    return take(opened(blob, coder, [n, *model.checked]), n, model)


def read_lists(blob: bytes, coder: int, n: int, model: Model, lists: int) -> list[tuple[int, int]]:
    """Lists (processes, bins) and numbers in them."""
    decoder = opened(blob, coder, [n, *model.checked, lists])
    which = _equally_likely(decoder, n, min(lists, 1 << 16))
    if lists > 1 << 16:
        rest = _equally_likely(decoder, n, lists >> 16)
        which = [low + (high << 16) for low, high in zip(which, rest, strict=True)]
    return list(zip(which, take(decoder, n, model), strict=True))


def read_paths(blob: bytes, coder: int, keys: Sequence, model: Model, dyadic: bool) -> list[int]:
    """Indices of nodes; ``keys`` are pairs of words."""
    n = len(keys)
    decoder = opened(blob, coder, [n, *model.checked, int(dyadic)])
    branches = take(decoder, n, model)
    nodes = [(1, 0, 2**64 - 1)] * n
    words = [threefry(key, SCHEME, 0) for key in keys]
    for level in range(max(branches, default=0)):
        for i in range(n):
            if level < branches[i]:
                index, low, high = nodes[i]
                cut = low + ((high - low) // 2 if dyadic else _draw(words[i], index, high - low))
                share = TOTAL * (cut - low) // (high - low) if high > low else TOTAL - 1
                left = min(max(share, 1), TOTAL - 1)
                right = decoder.read([0, left, TOTAL])
                nodes[i] = (2 * index + 1, cut, high) if right else (2 * index, low, cut)
    return [index for index, _, _ in nodes]


def read_vectors(
    blob: bytes, kl_bits: Sequence, d: int, *, block_bits, extra_bits, method="ordered"
) -> list[list[int]]:
    """Indices of the blocks of every call."""
    calls, known = [], [len(kl_bits)]
    for kl in kl_bits:
        blocks, bits, parts, columns, ends = _blocks(d, kl, block_bits, extra_bits, method)
        if method == "ordered":
            model = budget(bits, parts // blocks)
        else:
            model = uniform(bits - extra_bits if bits else 0)
        calls.append((blocks, model))
        known += [blocks, *model.checked, d, bits, columns, ends]
    decoder = opened(blob, 18, known)
    return [take(decoder, blocks, model) for blocks, model in calls]


def _blocks(d: int, kl, block_bits: int, extra_bits: int, method: str):
    """Blocks of a vector, bits of a row, the divergence in 1/256 bit, columns, CRC of the ends."""
    stream = np.uint32(0), np.uint32(0)  # where coordinates are does not matter here
    if np.ndim(kl) == 0:
        bits, columns, places, sums = in_turn(stream, d, kl, block_bits, extra_bits)
        parts = math.floor(256 * kl + 0.5)
    else:
        bits, columns, places, sums = in_a_row(stream, d, kl, block_bits, extra_bits)
        parts = (sum(math.floor(2**32 * x + 0.5) for x in kl) + 2**23) // 2**24
    blocks = pieces = 1 + max(block for block, _ in places)
    if method == "trellis":
        places, pieces = halves(places, sums), 2 * blocks
        columns = max(64, 1 + max(place for _, place in places))
        if sums is None:
            columns = max(64, math.ceil(d / pieces))
    if sums is None:
        return blocks, bits, parts, columns, 0
    sizes = [sum(block == i for block, _ in places) for i in range(pieces)]
    ends = [sum(sizes[:i]) for i in range(pieces + 1)]
    return blocks, bits, parts, columns, zlib.crc32(np.array(ends, ">u4").tobytes())


def zeta(rate: float, bits: int = 31) -> Model:
    rate = np.float32(max(rate, 0))
    beyond = [np.float32(64 / (a - 64.5) - 1) < rate for a in range(66, 129)]
    return Model(bits, 128 - beyond.count(True))


def depths(rate: float) -> Model:
    return zeta(math.log2(2.26 * rate + 9.66), 7)


def uniform(bits: int) -> Model:
    return Model(bits, 0, "uniform")


def budget(bits: int, parts: int) -> Model:
    """The model for a divergence in 1/256 bit."""
    u = max(3 * (256 * (bits - 1) - parts), -16384)
    r = 2 ** (32768 - u)
    for _ in range(10):
        r = math.isqrt(r)
    d = (parts + 256) * (2**32 + r)
    return Model(bits, (2**39 * (parts + 512) + d) // (2 * d))


def take(decoder: RangeDecoder, n: int, model: Model) -> list[int]:
    """Numbers in a Zipf code, in Elias delta, or equally likely ones."""
    bits, a, kind = model
    if kind == "delta":
        likely = [2 ** (23 - 2 * int(math.log2(j + 1))) for j in range(32)]
        cumulated = cumulative([*likely, TOTAL - sum(likely)])
        found = [decoder.read(cumulated) for _ in range(n)]
        if max(found, default=0) == 32:
            raise ValueError("not a stream")
        bins = [range(2**j, 2 ** (j + 1)) for j in found]
    elif kind == "uniform":
        bins = [range(1, 2**bits + 1)] * n
    elif bits == 0:
        bins = [range(1, 2)] * n
    else:
        known, cumulated = index_code(bits, a)
        bins = [known[decoder.read(cumulated)] for _ in range(n)]
    two_parts = bits > 24 or kind == "uniform"
    wide = [two_parts and len(ranks) > 1 << 16 for ranks in bins]
    places = [
        decoder.read_uniform(len(ranks) >> 16 if two else len(ranks))
        for ranks, two in zip(bins, wide, strict=True)
    ]
    places = [
        place << 16 | decoder.read_uniform(1 << 16) if two else place
        for place, two in zip(places, wide, strict=True)
    ]
    return [ranks[place] - 1 for ranks, place in zip(bins, places, strict=True)]


def opened(blob: bytes, coder: int, known: list[int]) -> RangeDecoder:
    body = blob[:-2]
    check = binascii.crc_hqx(body + struct.pack(f">{len(known)}I", *known), 0xFFFF)
    if blob[:2] != bytes([0x11, coder]) or blob[-2:] != check.to_bytes(2, "big"):
        raise ValueError("not this string")
    return RangeDecoder(body[2:])


def _equally_likely(decoder: RangeDecoder, n: int, symbols: int) -> list[int]:
    if symbols == 1:
        return [0] * n
    ends = [*range(0, symbols * (TOTAL // symbols), TOTAL // symbols), TOTAL]
    return [decoder.read(ends) for _ in range(n)]


def _draw(words, index: int, width: int) -> int:
    """The distance of a node's draw from the start of its interval."""
    a, b, c, d = (index >> shift & 0xFFFFFFFF for shift in (96, 64, 32, 0))
    high, low = threefry(threefry(words, a, b), c, d)
    return (int(high) << 32 | int(low)) * width >> 64
