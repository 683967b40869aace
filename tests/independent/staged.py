"""Signals from staged coefficients."""

import math

import numpy as np

from independent.container import File, Prior
from independent.entropy import RangeDecoder, cumulative

SMALL = [0, 16, 25, 32, 37, 41, 45, 48, 51, 53, 55, 57, 59, 61, 63, 64]
SAME = {
    0: [],
    2: [-2, 2, -6, 6],
    1: [-1, 1, -3, 3, -5, 5, -7, 7],
    3: [-1, 1, -2, 2, -3, 3, -5, 5],
}
OTHER = [(-1, range(-4, 5)), (1, range(-4, 5)), (-3, range(-1, 2)), (3, range(-1, 2))]


def decode_staged(file: File, prior: Prior) -> np.ndarray:
    """The values of a signal, an array of values and channels, from -1/2 to 1/2."""
    decoder, (length,) = RangeDecoder(file.stream), file.shape
    step, bins = 2 ** (decoder.read_uniform(4096) / 64 - 48), 256 << decoder.read_uniform(4)
    loudness = [decoder.read_uniform(256) for _ in range(decoder.read_uniform(8) + 1)]
    heard = [channel for channel, loud in enumerate(loudness) if loud]
    frames = -(-length // bins) + 1
    values = np.zeros((len(heard), frames, bins), int)
    scales, activities = np.zeros_like(values), np.zeros_like(values)
    edges = [(4 + j % 4) << (2 + j // 4) for j in range(65)]
    number, before = 0, np.zeros(frames, bool)
    for level, d in enumerate([16, 8, 4, 2, 1]):
        now = range(0, frames, 16) if level == 0 else range(d, frames, 2 * d)
        means = activities[:, before].sum(1) // max(before.sum(), 1)
        for start in (0, 2, 1, 3):
            network = {
                name: prior.arrays[f"{name}.{number}"].astype(int)
                for name in ("first", "bins", "second", "offset", "last", "centre")
            }
            number += 1
            places = [
                (c, f, k) for c in range(len(heard)) for f in now for k in range(start, bins, 4)
            ]
            rows = []
            for c, f, k in places:
                row = choose(activities[c], means[c], loudness[heard[c]], level, d, f, k, network)
                scales[c, f, k], rows = row[0], [*rows, row]
            magnitudes = [
                decoder.read(cumulative(prior.arrays["frequencies"][8 * a + b])) for a, b in rows
            ]
            large = [i for i, m in enumerate(magnitudes) if m == 16]
            intervals = {
                i: decoder.read(cumulative(prior.arrays["tails"][rows[i][0]])) for i in large
            }
            for i in sorted(large, key=lambda i: intervals[i] // 4):
                j = intervals[i]
                magnitudes[i] = edges[j] + decoder.read_uniform(edges[j + 1] - edges[j])
            for (c, f, k), m in zip(places, magnitudes, strict=True):
                values[c, f, k] = -m if m and decoder.read_uniform(2) else m
                j = next((j for j in range(64) if edges[j] <= m < edges[j + 1]), None)
                activities[c, f, k] = SMALL[m] if j is None else 68 + 4 * j
        before[list(now)] = True
    shrinkage, magnitude = prior.arrays["shrinkage"].astype(float), np.abs(values)
    nearer = magnitude - shrinkage[scales, np.clip(magnitude, 1, 3) - 1]
    y = step * np.sign(values) * np.where(magnitude > 0, nearer, 0)
    n, k = np.arange(2 * bins), np.arange(bins)[:, None]
    basis = math.sqrt(2 / bins) * np.sin(np.pi * (n + 0.5) / (2 * bins))
    basis = basis * np.cos(np.pi / bins * (n + 0.5 + bins / 2) * (k + 0.5))
    rows = np.zeros((len(loudness), (frames + 1) * bins))
    for c, channel in enumerate(heard):
        for f in range(frames):
            rows[channel, f * bins : (f + 2) * bins] += y[c, f] @ basis
    rows = rows[:, bins : bins + length]
    if len(rows) == 2:
        rows = np.stack([rows[0] + rows[1], rows[0] - rows[1]]) * math.sqrt(0.5)
    return rows.T


def choose(activity, means, loudness, level, d, f, k, network):
    """Scale and shape of a coefficient."""

    def at(frame, bin):
        inside = 0 <= frame < len(activity) and 0 <= bin < activity.shape[1]
        return int(activity[frame, bin]) if inside else 0

    x = [at(f + n * d, k + o) for n, offsets in OTHER for o in offsets] if level else []
    x += [at(f, k + o) for o in SAME[k % 4]]
    if level:
        x += [int(means[k + o]) if 0 <= k + o < len(means) else 0 for o in (-1, 0, 1)]
    x.append(loudness)
    row = 256 * (k // 4) // activity.shape[1]
    h = np.clip((np.array(x) @ network["first"] + network["bins"][row]) >> 8, 0, 4095)
    g = np.clip((h @ network["second"] + network["offset"]) >> 10, 0, 4095)
    a, b = (g @ network["last"] + network["centre"]) >> 16
    return min(max(int(a), 0), 95), min(max(int(b), 0), 7)
