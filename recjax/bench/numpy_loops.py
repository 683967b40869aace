"""Exact coders of a Gaussian without JAX: a Python loop over samples.

Global coders take the candidates of a sample as NumPy arrays, the others (`scalar_loops`) one at a time. Every loop
maps a generator, means and scales to samples and steps.
"""

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from recjax.bench.scalar_loops import Table, log_stretch, loops, shape

Loop = Callable[[np.random.Generator, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

TABLE = 128
"""Points of a table of the stretch function: its relative error is then below 1e-3."""
REACH = 1e-3, 100.0
"""The first point, and the last one over max r."""


def stretch_table(m: float, s: float) -> Table:
    """The stretch function of a target."""
    a, c, top = shape(m, s)
    log_g = np.linspace(math.log(REACH[0]), math.log(REACH[1]) + top, TABLE)
    g = np.exp(log_g)
    half = 0.5 * np.exp(log_g - top)
    ratio = 1 / (half + np.sqrt(1 + half * half))  # h / g
    gap = ratio * ratio  # 1 - h / max r
    radius = np.sqrt((top - log_g - np.log(ratio)) / a)
    ends = np.stack([c + radius, c - radius])
    low_q, high_q, low_p, high_p = _tail(np.concatenate([(ends - m) / s, ends]))
    slope = ratio * 2 * gap / (1 + gap) / (high_q - low_q - g * ratio * (high_p - low_p))
    # exact if the slope is a power of g between two points
    power = np.diff(np.log(slope)) / (log_g[1] - log_g[0]) + 1
    sigma = np.cumsum(np.concatenate([g[:1], np.diff(slope * g) / power]))
    return log_g[0], log_g[1] - log_g[0], np.log(sigma)


def _tail(z):
    return 0.5 * np.array(list(map(math.erfc, (z.ravel() * math.sqrt(0.5)).tolist()))).reshape(
        z.shape
    )


def _chunk(top):
    """About the expected number of candidates, which examines few in vain and takes few rounds."""
    return int(min(max(2 * math.exp(top), 8), 4096))


def _rejection(rng, m, s):
    a, c, top = shape(m, s)
    size, steps = _chunk(top), 0
    while True:
        x = rng.standard_normal(size)
        accepted = rng.standard_exponential(size) > a * (x - c) ** 2
        k = accepted.argmax()
        if accepted[k]:
            return x[k], steps + k + 1
        steps += size


def _a_star(rng, m, s):
    a, c, top = shape(m, s)
    size, steps, time, best, sample = _chunk(top), 0, 0.0, -math.inf, 0.0
    while True:
        x = rng.standard_normal(size)
        times = time + np.cumsum(rng.standard_exponential(size))
        log_time = np.log(times)
        score = top - a * (x - c) ** 2 - log_time
        k = score.argmax()
        if score[k] > best:
            best, sample = score[k], x[k]
        last = np.searchsorted(log_time, top - best)  # the first candidate that proves the best
        if last < size:
            return sample, steps + last + 1
        steps, time = steps + size, times[-1]


def _gprs(rng, m, s):
    a, c, top = shape(m, s)
    table = stretch_table(m, s)
    size, steps, time, record = _chunk(top), 0, 0.0, -math.inf
    while True:
        x = rng.standard_normal(size)
        times = time + np.cumsum(rng.standard_exponential(size))
        log_ratio = top - a * (x - c) ** 2
        best = np.maximum.accumulate(log_ratio)
        # sigma grows and times do too: only a record can be accepted
        for k in np.flatnonzero((log_ratio == best) & (log_ratio > record)):
            if math.log(times[k]) < log_stretch(table, top, log_ratio[k]):
                return x[k], steps + k + 1
        steps, time, record = steps + size, times[-1], max(record, best[-1])


def _loop(one) -> Loop:
    def run(rng, m, s):
        samples, steps = np.empty(len(m)), np.empty(len(m), np.int64)
        for i, (mean, scale) in enumerate(zip(m.tolist(), s.tolist())):
            samples[i], steps[i] = one(rng, mean, scale)
        return samples, steps

    return run


LOOPS: dict[str, Loop] = {
    name: _loop(one)
    for name, one in {
        **loops(lambda function: function, stretch_table, NormalDist().inv_cdf),
        "rejection": _rejection,
        "a_star": _a_star,
        "gprs": _gprs,
    }.items()
}
