"""Exact coders of a Gaussian without JAX: a Python loop over samples.

Global coders draw the candidates of a sample as NumPy arrays, the others (`scalar_loops`) one at a
time. Every loop maps a generator, means and scales to samples and numbers of steps.
"""

import math
from collections.abc import Callable

import numpy as np

from recjax.bench.scalar_loops import LOOPS as SCALAR_LOOPS
from recjax.bench.scalar_loops import log_stretch, shape, stretch_table

Loop = Callable[[np.random.Generator, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def _chunk(top):
    """Candidates drawn at once: twice the expected number, so that one draw often suffices."""
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
        # the first candidate so late that no later one can beat the best
        last = np.searchsorted(log_time, top - best)
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
        # sigma grows with the ratio, and arrival times grow: only a record can be accepted
        for k in np.flatnonzero((log_ratio == best) & (log_ratio > record)):
            if math.log(times[k]) < log_stretch(table, top, log_ratio[k]):
                return x[k], steps + k + 1
        steps, time, record = steps + size, times[-1], max(record, best[-1])


def _loop(coder) -> Loop:
    def run(rng, m, s):
        samples, steps = np.empty(len(m)), np.empty(len(m), np.int64)
        for i, (mean, scale) in enumerate(zip(m.tolist(), s.tolist())):
            samples[i], steps[i] = coder(rng, mean, scale)
        return samples, steps

    return run


LOOPS: dict[str, Loop] = {
    name: _loop(coder)
    for name, coder in {
        **SCALAR_LOOPS,
        "rejection": _rejection,
        "a_star": _a_star,
        "gprs": _gprs,
    }.items()
}
