"""Samples of vectors."""

import math

import numpy as np

from independent.shared import normal, threefry

SCHEME = 65536


def decode_vector(
    key, index, d, kl_bits, *, block_bits, extra_bits, call=0, method="ordered"
) -> np.ndarray:
    """The standard normal numbers of ``d`` coordinates; ``key`` is a pair of words."""
    stream = threefry(key, SCHEME + 5, call)
    cut = in_turn if np.ndim(kl_bits) == 0 else in_a_row
    bits, columns, places, sums = cut(stream, d, kl_bits, block_bits, extra_bits)
    if method == "ordered":
        masks = [int(threefry(stream, block + 1, 0)[1]) for block in range(len(index))]
        rows = [int(i) ^ mask % 2**bits for i, mask in zip(index, masks, strict=True)]
    else:
        rows = registers(stream, index, bits, bits - extra_bits if bits else 0)
        places = halves(places, sums)
        columns = max(64, max(place for _, place in places) + 1)
        if sums is None:
            columns = max(64, math.ceil(d / (2 * len(index))))
    candidates = threefry(key, SCHEME, 0)
    values = []
    for block, place in places:
        first = int(threefry(stream, block + 1, 0)[0])
        column = (first % columns + place) % columns
        word = int(threefry(candidates, rows[block], column // 2)[column % 2])
        sign = int(threefry(stream, block + 1, place // 64 + 1)[place // 32 % 2]) >> place % 32 & 1
        values.append(normal(word ^ sign << 31))
    return np.array(values)


def registers(stream, index, bits, sent):
    register, rows = int(threefry(stream, 1, 0)[1]) % 2**bits, []
    for i in index:
        high, low = divmod(int(i), 2 ** (sent - sent // 2))
        for piece, size in [(high, sent // 2), (low, sent - sent // 2)]:
            register = (register * 2**size + piece) % 2**bits
            rows.append(register)
    return rows


def halves(places, sums):
    if sums is None:
        return [(2 * block + 1 - place % 2, place // 2) for block, place in places]
    steps = []
    for block in range(places[-1][0] + 1):
        start = next(c for c, (b, _) in enumerate(places) if b == block)
        end = start + sum(b == block for b, _ in places)
        middle = start
        while middle < end and sums[middle + 1] <= (sums[start] + sums[end]) // 2:
            middle += 1
        steps += [(2 * block, place) for place in range(middle - start)]
        steps += [(2 * block + 1, place) for place in range(end - middle)]
    return steps


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
    return bits, columns, places, None


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
    return math.ceil(most / 256) + extra_bits if most else 0, widest, places, sums
