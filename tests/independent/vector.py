"""Samples of vectors."""

import math

import numpy as np

from independent.shared import normal, threefry

SCHEME = 65536


def decode_vector(key, index, d, kl_bits, *, block_bits, extra_bits, call=0) -> np.ndarray:
    """The standard normal numbers of ``d`` coordinates; ``key`` is a pair of words."""
    stream = threefry(key, SCHEME + 5, call)
    cut = in_turn if np.ndim(kl_bits) == 0 else in_a_row
    bits, columns, places = cut(stream, d, kl_bits, block_bits, extra_bits)
    candidates = threefry(key, SCHEME, 0)
    values = []
    for block, place in places:
        first, mask = (int(word) for word in threefry(stream, block + 1, 0))
        row, column = int(index[block]) ^ mask % 2**bits, (first % columns + place) % columns
        word = int(threefry(candidates, row, column // 2)[column % 2])
        sign = int(threefry(stream, block + 1, place // 64 + 1)[place // 32 % 2]) >> place % 32 & 1
        values.append(normal(word ^ sign << 31))
    return np.array(values)


def in_turn(stream, d, kl_bits, block_bits, extra_bits):
    parts = math.floor(256 * kl_bits + 0.5)
    n = max(1, math.ceil(parts / (256 * (block_bits - extra_bits))))
    while True:
        columns = max(64, math.ceil(d / n))
        bits = math.ceil(math.ceil(parts / n) / 256) + extra_bits if parts else 0
        if columns * 2**bits <= 2**32:
            break
        n += 1
    places = []
    for k in range(d):
        turn = int(threefry(stream, 0, k // n // 2)[k // n % 2])
        places.append(((k + turn % n) % n, k // n))
    return bits, columns, places


def in_a_row(stream, d, kl_bits, block_bits, extra_bits):
    total, sums = 0, [0]
    for x in kl_bits:
        total += math.floor(2**32 * x + 0.5)
        sums.append((total + 2**23) // 2**24)
    places, widest, most, c, block = [], 64, 0, 0, 0
    while c < d:
        end = c + 1
        while end < d and sums[end + 1] - sums[c] <= 256 * (block_bits - extra_bits):
            end += 1
        end = min(end, c + 2 ** (32 - block_bits))
        places += [(block, place) for place in range(end - c)]
        widest, most = max(widest, end - c), max(most, sums[end] - sums[c])
        c, block = end, block + 1
    return math.ceil(most / 256) + extra_bits if most else 0, widest, places
