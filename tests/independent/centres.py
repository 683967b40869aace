"""Strings of dithered quantisation with a prior of the centres."""

import itertools
import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from independent.entropy import TOTAL, cumulative
from independent.shared import threefry
from independent.strings import DELTA, opened, take
from independent.vector import SCHEME

OCTAVES = range(-5, 3)


def read_centres(
    blob: bytes, keys: Sequence, family: str, step: float, loc: Sequence, scale: Sequence
) -> list[list[int]]:
    """Indices of every sample; ``keys`` are pairs of words."""
    n, d = len(keys), len(loc)
    decoder = opened(blob, 12, [n, 1])
    places = [
        place(u, float(loc[j]) / step, float(scale[j]) / step)
        for key in keys
        for j, u in zip(range(d), dither(key, d), strict=True)
    ]
    cells = [0] * (n * d)
    ends = []
    for octave in OCTAVES:
        for i, (o, v, t, c, _) in enumerate(places):
            if o == octave:
                reach, cumulated = table(family, o, v, t)
                symbol = decoder.read(cumulated) - reach
                cells[i] = c + symbol
                if abs(symbol) == reach:
                    ends.append((i, 1 if symbol > 0 else -1))
    for (i, sign), beyond in zip(ends, take(decoder, len(ends), DELTA), strict=True):
        cells[i] += sign * beyond
    indices = [cell << b for cell, (*_, b) in zip(cells, places, strict=True)]
    for shift in (0, 16):
        for i, (*_, b) in enumerate(places):
            if b > shift:
                indices[i] += decoder.read_uniform(1 << min(b - shift, 16)) << shift
    return [indices[start : start + d] for start in range(0, n * d, d)]


def dither(key, d: int) -> list[float]:
    even, odd = threefry(threefry(key, SCHEME, 0), 0, np.arange((d + 1) // 2, dtype=np.uint32))
    words = np.stack([even, odd], 1).ravel()[:d]
    return [((int(word) >> 9) + 0.5) / 2**23 - 0.5 for word in words]


def place(u: float, m: float, s: float) -> tuple[int, int, int, int, int]:
    """Octave, bin of the scale, bin of the offset, middle and halvings."""
    mantissa, exponent = math.frexp(min(max(s, 2.0**-5), 2.0**24))
    e, v = exponent - 1, math.floor(16 * (2 * mantissa - 1))
    b = max(e - 2, 0)
    y = (m - u + 0.5) / 2**b - 0.5
    c = math.floor(y + 0.5)
    return min(e, 2), v, min(math.floor(64 * (y - c + 0.5)), 63), c, b


@cache
def table(family: str, o: int, v: int, t: int) -> tuple[int, list[int]]:
    reach = math.floor((4.5 if family == "Normal" else 8) * 2.0 ** (o + 1)) + 2
    sigma, delta = (1 + (v + 0.5) / 16) * 2.0**o, (t + 0.5) / 64 - 0.5
    ends = [law(family, (i + 0.5 - delta) / sigma) for i in range(-reach, reach)]
    differences = [b - a for a, b in itertools.pairwise([0, *ends, 1])]
    weights = [math.floor(2**38 * max(x, 0)) for x in differences]
    frequencies = [1 + w * (TOTAL - len(weights)) // sum(weights) for w in weights]
    frequencies[weights.index(max(weights))] += TOTAL - sum(frequencies)
    return reach, cumulative(frequencies)


def law(family: str, z: float) -> float:
    if family == "Normal":
        z = min(max(z, -7), 7)
        term = total = z
        for n in range(3, 180, 2):
            term = term * (z * z) / n
            total += term
        return 0.5 + total * exp(-0.5 * (z * z)) * 0.3989422804014327
    x = exp(-abs(z))
    q = 0.5 * x if family == "Laplace" else x / (1 + x)
    return q if z < 0 else 1 - q


def exp(x: float) -> float:
    h, p = max(x, -64) / 1024, 1.0
    for n in range(9, 0, -1):
        p = 1 + p * h / n
    for _ in range(10):
        p *= p
    return p
