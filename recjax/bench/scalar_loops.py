"""Exact coders of a Gaussian that take one draw at a time, in plain Python.

The proposal is N(0, 1), the target N(m, s^2) with s < 1, so that ln r(x) = top - a (x - c)^2. Every
loop maps a generator, m and s to a sample and the number of steps. `numba_loops` compiles the
functions of this module, which call each other by their global names.
"""

import heapq
import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np

Loop = Callable[[Any, float, float], tuple[float, int]]
Table = tuple[float, float, Any]
"""Table of the stretch function sigma at equal steps of ln g.

It holds ln g at the first point, the step, and the values of ln sigma. Here
g = h / sqrt(1 - h / max r), and sigma is nearly linear in g.
"""

TABLE = 128
"""Number of points of a table, whose relative error is then below 1e-3."""
REACH = 1e-3, 100.0
"""g at the first point, and g / max r at the last one."""

quantile = NormalDist().inv_cdf
"""Inverse distribution function of N(0, 1) on (0, 1)."""


def stretch_table(m: float, s: float) -> Table:
    """Tabulates the stretch function of a target."""
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


def shape(m: float, s: float) -> tuple[float, float, float]:
    """Returns a, c and top of the target."""
    rest = (1 - s) * (1 + s)
    return 0.5 * rest / (s * s), m / rest, 0.5 * m * m / rest - math.log(s)


def log_stretch(table: Table, top: float, log_ratio: float) -> float:
    """Interpolates ln sigma at a density ratio."""
    first, step, log_sigma = table
    at = log_ratio - 0.5 * math.log(max(-math.expm1(log_ratio - top), 1e-300))
    place = (at - first) / step
    last = len(log_sigma) - 1
    if place <= 0:  # sigma is proportional to g out there
        return log_sigma[0] + at - first
    if place >= last:
        return log_sigma[last] + at - first - last * step
    i = int(place)
    return log_sigma[i] + (place - i) * (log_sigma[i + 1] - log_sigma[i])


def mass(low: float, high: float) -> float:
    """Probability of an interval under N(0, 1)."""
    flip = low > 0  # the difference of the smaller tails
    a, b = (-high, -low) if flip else (low, high)
    return 0.5 * (math.erfc(-b * math.sqrt(0.5)) - math.erfc(-a * math.sqrt(0.5)))


def left_over(m, s, level, low, high):
    """Q[x in [low, high], r(x) > level] - level P[x in [low, high], r(x) > level]."""
    a, c, top = shape(m, s)
    depth = top - math.log(level) if level > 0 else math.inf
    if depth <= 0:
        return 0.0
    radius = math.sqrt(depth / a)
    low, high = max(low, c - radius), min(high, c + radius)
    if low >= high:
        return 0.0
    return max(mass((low - m) / s, (high - m) / s) - level * mass(low, high), 0.0)


def largest(a, c, top, low, high):
    """Largest ln r on an interval."""
    return top - a * (min(max(c, low), high) - c) ** 2


def rejection(rng, m, s):
    """Rejection sampling."""
    a, c, _ = shape(m, s)
    steps = 0
    while True:
        steps += 1
        x = rng.standard_normal()
        if rng.standard_exponential() > a * (x - c) ** 2:
            return x, steps


def a_star(rng, m, s):
    """A* sampling over the global list of candidates."""
    a, c, top = shape(m, s)
    steps, time, end, record, sample = 0, 0.0, math.inf, -math.inf, 0.0
    while time <= end:
        steps += 1
        time += rng.standard_exponential()
        x = rng.standard_normal()
        log_ratio = top - a * (x - c) ** 2
        if log_ratio > record:  # times grow: no other candidate can be better
            record = log_ratio
            reach = time * math.exp(top - log_ratio)
            if reach < end:
                end, sample = reach, x
    return sample, steps


def gprs(rng, m, s):
    """Global greedy Poisson rejection sampling."""
    a, c, top = shape(m, s)
    table = stretch_table(m, s)
    steps, time, record = 0, 0.0, -math.inf
    while True:
        steps += 1
        time += rng.standard_exponential()
        x = rng.standard_normal()
        log_ratio = top - a * (x - c) ** 2
        if log_ratio > record:
            record = log_ratio
            if math.log(time) < log_stretch(table, top, log_ratio):
                return x, steps


def greedy_rejection(rng, m, s):
    """Greedy rejection sampling over the global list of candidates."""
    a, c, top = shape(m, s)
    level, rest, steps = 0.0, 1.0, 0
    while True:
        steps += 1
        x = rng.standard_normal()
        if rng.random() * rest < math.exp(top - a * (x - c) ** 2) - level:
            return x, steps
        level += rest
        rest = left_over(m, s, level, -math.inf, math.inf)


def branch_and_bound(rng, m, s):
    """Branch-and-bound GPRS, split at the sample."""
    a, c, top = shape(m, s)
    table = stretch_table(m, s)
    low, high, time, steps = 0.0, 1.0, 0.0, 0
    while True:
        steps += 1
        time += rng.standard_exponential() / (high - low)
        u = low + (high - low) * rng.random()
        x = quantile(u)
        if math.log(time) < log_stretch(table, top, top - a * (x - c) ** 2):
            return x, steps
        low, high = (u, high) if x < c else (low, u)


def dyadic_gprs(rng, m, s):
    """Branch-and-bound GPRS, split at the middle of the interval."""
    a, c, top = shape(m, s)
    table = stretch_table(m, s)
    heap, steps = [(rng.standard_exponential(), 0.0, 1.0, -math.inf, math.inf)], 0
    while True:
        time, low, high, first, last = heapq.heappop(heap)
        steps += 1
        x = quantile(low + (high - low) * rng.random())
        if math.log(time) < log_stretch(table, top, top - a * (x - c) ** 2):
            return x, steps
        cut = 0.5 * (low + high)
        x = quantile(cut)
        for part in ((low, cut, first, x), (cut, high, x, last)):
            arrival = time + 2 * rng.standard_exponential() / (high - low)
            if math.log(arrival) < log_stretch(table, top, largest(a, c, top, part[2], part[3])):
                heapq.heappush(heap, (arrival, *part))


def greedy_rejection_coder(rng, m, s, dyadic):
    """Greedy rejection coding with space partitioning."""
    a, c, top = shape(m, s)
    low, high, first, last = 0.0, 1.0, -math.inf, math.inf
    level, rest, steps = 0.0, 1.0, 0
    while True:
        steps += 1
        u = low + (high - low) * rng.random()
        x = quantile(u)
        if rng.random() * rest < (math.exp(top - a * (x - c) ** 2) - level) * (high - low):
            return x, steps
        level += rest / (high - low)
        cut = 0.5 * (low + high) if dyadic else u
        place = quantile(cut) if dyadic else x
        left = left_over(m, s, level, first, place)
        right = left_over(m, s, level, place, last)
        if rng.random() * (left + right) < left:
            high, last, rest = cut, place, left
        else:
            low, first, rest = cut, place, right


def a_star_coder(rng, m, s, dyadic):
    """A* coding with space partitioning."""
    a, c, top = shape(m, s)
    time = rng.standard_exponential()
    heap: list[Any] = [(math.log(time) - top, time, 0.0, 1.0, -math.inf, math.inf)]
    best, sample, steps = math.inf, 0.0, 0
    while len(heap) > 0 and heap[0][0] < best:
        _, time, low, high, first, last = heapq.heappop(heap)
        steps += 1
        u = low + (high - low) * rng.random()
        x = quantile(u)
        value = math.log(time) - top + a * (x - c) ** 2
        if value < best:
            best, sample = value, x
        cut = 0.5 * (low + high) if dyadic else u
        place = quantile(cut) if dyadic else x
        for part in ((low, cut, first, place), (cut, high, place, last)):
            arrival = time + rng.standard_exponential() / (part[1] - part[0])
            bound = math.log(arrival) - largest(a, c, top, part[2], part[3])
            if bound < best:
                heapq.heappush(heap, (bound, arrival, *part))
    return sample, steps


def grcs(rng, m, s):
    """Greedy rejection coding, split at the sample."""
    return greedy_rejection_coder(rng, m, s, False)


def grcd(rng, m, s):
    """Greedy rejection coding, split at the middle of the interval."""
    return greedy_rejection_coder(rng, m, s, True)


def as_star(rng, m, s):
    """A* coding, split at the sample."""
    return a_star_coder(rng, m, s, False)


def ad_star(rng, m, s):
    """A* coding, split at the middle of the interval."""
    return a_star_coder(rng, m, s, True)


LOOPS: dict[str, Loop] = {
    loop.__name__: loop
    for loop in (
        rejection,
        a_star,
        gprs,
        greedy_rejection,
        branch_and_bound,
        dyadic_gprs,
        grcs,
        grcd,
        as_star,
        ad_star,
    )
}
"""The loops by name."""
