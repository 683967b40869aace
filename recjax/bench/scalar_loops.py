"""Exact coders of a Gaussian that take one draw at a time: plain Python, or the same compiled.

The proposal is N(0, 1), the target N(m, s^2) with s < 1, so that ln r(x) = top - a (x - c)^2. Every loop maps a
generator, m and s to a sample and the steps it took.
"""

import heapq
import math
from collections.abc import Callable
from typing import Any

Loop = Callable[[Any, float, float], tuple[float, int]]
Table = tuple[float, float, Any]
"""ln g at the first point, the step, and ln sigma at equal steps of ln g, where g = h / sqrt(1 - h / max r) and sigma
is nearly linear in g."""


def shape(m: float, s: float) -> tuple[float, float, float]:
    """a, c and top."""
    rest = (1 - s) * (1 + s)
    return 0.5 * rest / (s * s), m / rest, 0.5 * m * m / rest - math.log(s)


def log_stretch(table: Table, top: float, log_ratio: float) -> float:
    """ln sigma at a ratio."""
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
    """The probability of an interval under N(0, 1)."""
    flip = low > 0  # the difference of the smaller tails
    a, b = (-high, -low) if flip else (low, high)
    return 0.5 * (math.erfc(-b * math.sqrt(0.5)) - math.erfc(-a * math.sqrt(0.5)))


def loops(
    compiled: Callable[[Any], Any],
    stretch_table: Callable[[float, float], Table],
    quantile: Callable[[float], float],
) -> dict[str, Loop]:
    """The loops by name.

    Args:
        compiled: a decorator for every function here.
        stretch_table: maps m and s to a ``Table``.
        quantile: the inverse distribution function of N(0, 1) on (0, 1).
    """

    parameters, log_sigma, probability = compiled(shape), compiled(log_stretch), compiled(mass)

    @compiled
    def left_over(m, s, level, low, high):
        """Mass of the target above a level of r on an interval."""
        a, c, top = parameters(m, s)
        depth = top - math.log(level) if level > 0 else math.inf
        if depth <= 0:
            return 0.0
        radius = math.sqrt(depth / a)
        low, high = max(low, c - radius), min(high, c + radius)
        if low >= high:
            return 0.0
        return max(probability((low - m) / s, (high - m) / s) - level * probability(low, high), 0.0)

    @compiled
    def largest(a, c, top, low, high):
        """The largest ln r on an interval."""
        return top - a * (min(max(c, low), high) - c) ** 2

    @compiled
    def rejection(rng, m, s):
        a, c, _ = parameters(m, s)
        steps = 0
        while True:
            steps += 1
            x = rng.standard_normal()
            if rng.standard_exponential() > a * (x - c) ** 2:
                return x, steps

    @compiled
    def a_star(rng, m, s):
        a, c, top = parameters(m, s)
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

    @compiled
    def gprs(rng, m, s):
        a, c, top = parameters(m, s)
        table = stretch_table(m, s)
        steps, time, record = 0, 0.0, -math.inf
        while True:
            steps += 1
            time += rng.standard_exponential()
            x = rng.standard_normal()
            log_ratio = top - a * (x - c) ** 2
            if log_ratio > record:
                record = log_ratio
                if math.log(time) < log_sigma(table, top, log_ratio):
                    return x, steps

    @compiled
    def greedy_rejection(rng, m, s):
        a, c, top = parameters(m, s)
        level, rest, steps = 0.0, 1.0, 0
        while True:
            steps += 1
            x = rng.standard_normal()
            if rng.random() * rest < math.exp(top - a * (x - c) ** 2) - level:
                return x, steps
            level += rest
            rest = left_over(m, s, level, -math.inf, math.inf)

    @compiled
    def branch_and_bound(rng, m, s):
        a, c, top = parameters(m, s)
        table = stretch_table(m, s)
        low, high, time, steps = 0.0, 1.0, 0.0, 0
        while True:
            steps += 1
            time += rng.standard_exponential() / (high - low)
            u = low + (high - low) * rng.random()
            x = quantile(u)
            if math.log(time) < log_sigma(table, top, top - a * (x - c) ** 2):
                return x, steps
            low, high = (u, high) if x < c else (low, u)

    @compiled
    def dyadic_gprs(rng, m, s):
        a, c, top = parameters(m, s)
        table = stretch_table(m, s)
        heap, steps = [(rng.standard_exponential(), 0.0, 1.0, -math.inf, math.inf)], 0
        while True:
            time, low, high, first, last = heapq.heappop(heap)
            steps += 1
            x = quantile(low + (high - low) * rng.random())
            if math.log(time) < log_sigma(table, top, top - a * (x - c) ** 2):
                return x, steps
            cut = 0.5 * (low + high)
            x = quantile(cut)
            for part in ((low, cut, first, x), (cut, high, x, last)):
                arrival = time + 2 * rng.standard_exponential() / (high - low)
                if math.log(arrival) < log_sigma(table, top, largest(a, c, top, part[2], part[3])):
                    heapq.heappush(heap, (arrival, *part))

    @compiled
    def greedy_rejection_coder(rng, m, s, dyadic):
        a, c, top = parameters(m, s)
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

    @compiled
    def a_star_coder(rng, m, s, dyadic):
        a, c, top = parameters(m, s)
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

    @compiled
    def grcs(rng, m, s):
        return greedy_rejection_coder(rng, m, s, False)

    @compiled
    def grcd(rng, m, s):
        return greedy_rejection_coder(rng, m, s, True)

    @compiled
    def as_star(rng, m, s):
        return a_star_coder(rng, m, s, False)

    @compiled
    def ad_star(rng, m, s):
        return a_star_coder(rng, m, s, True)

    return {
        "rejection": rejection,
        "a_star": a_star,
        "gprs": gprs,
        "greedy_rejection": greedy_rejection,
        "branch_and_bound": branch_and_bound,
        "dyadic_gprs": dyadic_gprs,
        "grcs": grcs,
        "grcd": grcd,
        "as_star": as_star,
        "ad_star": ad_star,
    }
