"""The coders of `numpy_loops` as loops compiled by Numba, samples shared out over threads; Numba is optional."""

import concurrent.futures
import functools
import importlib
import importlib.util
import math
from typing import Any

import numpy as np

from recjax.bench.numpy_loops import REACH, TABLE, Loop


def available() -> bool:
    """Whether Numba is installed."""
    return importlib.util.find_spec("numba") is not None


def loops(threads: int) -> dict[str, Loop]:
    """The loops by name, on so many threads."""
    pool = concurrent.futures.ThreadPoolExecutor(threads)

    def shared(kernel):
        def run(rng, m, s):
            samples, steps = np.empty(len(m)), np.empty(len(m), np.int64)
            parts = [np.array_split(x, threads) for x in (m, s, samples, steps)]
            list(pool.map(kernel, rng.spawn(threads), *parts))
            return samples, steps

        return run

    return {name: shared(kernel) for name, kernel in _kernels().items()}


@functools.cache
def _kernels() -> dict[str, Any]:
    jit = importlib.import_module("numba").njit(nogil=True, error_model="numpy")

    @jit
    def shape(m, s):
        rest = (1 - s) * (1 + s)
        return 0.5 * rest / (s * s), m / rest, 0.5 * m * m / rest - math.log(s)

    @jit
    def tail(z):
        return 0.5 * math.erfc(z * math.sqrt(0.5))

    @jit
    def fill(m, s, table):
        """See `numpy_loops.stretch_table`."""
        a, c, top = shape(m, s)
        first = math.log(REACH[0])
        step = (math.log(REACH[1]) + top - first) / (TABLE - 1)
        total = before = log_before = 0.0
        for i in range(TABLE):
            log_g = first + i * step
            half = 0.5 * math.exp(log_g - top)
            ratio = 1 / (half + math.sqrt(1 + half * half))
            gap, h = ratio * ratio, ratio * math.exp(log_g)
            radius = math.sqrt((top - math.log(h)) / a)
            low, high = c - radius, c + radius
            survival = tail((low - m) / s) - tail((high - m) / s) - h * (tail(low) - tail(high))
            area = 2 * gap / (1 + gap) / survival * h  # slope times g
            log_area = math.log(area)
            total = total + (area - before) * step / (log_area - log_before) if i else math.exp(log_g)
            before, log_before = area, log_area
            table[i] = math.log(total)
        return first, step

    @jit
    def log_stretch(table, first, step, top, log_ratio):
        at = log_ratio - 0.5 * math.log(max(-math.expm1(log_ratio - top), 1e-300))
        place = (at - first) / step
        if place <= 0:
            return table[0] + at - first
        if place >= TABLE - 1:
            return table[-1] + at - first - (TABLE - 1) * step
        i = int(place)
        return table[i] + (place - i) * (table[i + 1] - table[i])

    @jit
    def rejection(rng, m, s, samples, steps):
        for i in range(len(m)):
            a, c, _ = shape(m[i], s[i])
            count = 0
            while True:
                count += 1
                x = rng.standard_normal()
                if rng.standard_exponential() > a * (x - c) ** 2:
                    break
            samples[i], steps[i] = x, count

    @jit
    def a_star(rng, m, s, samples, steps):
        for i in range(len(m)):
            a, c, top = shape(m[i], s[i])
            count, time, end, record, sample = 0, 0.0, math.inf, -math.inf, 0.0
            while time <= end:
                count += 1
                time += rng.standard_exponential()
                x = rng.standard_normal()
                log_ratio = top - a * (x - c) ** 2
                if log_ratio > record:  # times grow: no other candidate can be better
                    record = log_ratio
                    reach = time * math.exp(top - log_ratio)
                    if reach < end:
                        end, sample = reach, x
            samples[i], steps[i] = sample, count

    @jit
    def gprs(rng, m, s, samples, steps):
        table = np.empty(TABLE)
        for i in range(len(m)):
            a, c, top = shape(m[i], s[i])
            first, step = fill(m[i], s[i], table)
            count, time, record = 0, 0.0, -math.inf
            while True:
                count += 1
                time += rng.standard_exponential()
                x = rng.standard_normal()
                log_ratio = top - a * (x - c) ** 2
                if log_ratio > record:
                    record = log_ratio
                    if math.log(time) < log_stretch(table, first, step, top, log_ratio):
                        break
            samples[i], steps[i] = x, count

    @jit
    def quantile(u):
        """PPND7 of Wichura, Applied Statistics 37 (1988): relative error about 1e-7."""
        q = u - 0.5
        if abs(q) <= 0.425:
            r = 0.180625 - q * q
            up = ((59.109374720 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179
            return q * up / (((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1)
        r = math.sqrt(-math.log(min(u, 1 - u)))
        if r <= 5:
            r -= 1.6
            up = ((0.17023821103 * r + 1.3067284816) * r + 2.7568153900) * r + 1.4234372777
            x = up / ((0.12021132975 * r + 0.73700164250) * r + 1)
        else:
            r -= 5
            up = ((0.017337203997 * r + 0.42868294337) * r + 3.0812263860) * r + 6.6579051150
            x = up / ((0.012258202635 * r + 0.24197894225) * r + 1)
        return x if q > 0 else -x

    @jit
    def branch_and_bound(rng, m, s, samples, steps):
        table = np.empty(TABLE)
        for i in range(len(m)):
            a, c, top = shape(m[i], s[i])
            first, step = fill(m[i], s[i], table)
            count, time, low, high = 0, 0.0, 0.0, 1.0
            while True:
                count += 1
                time += rng.standard_exponential() / (high - low)
                u = low + (high - low) * rng.random()
                x = quantile(u)
                if math.log(time) < log_stretch(table, first, step, top, top - a * (x - c) ** 2):
                    break
                if x < c:
                    low = u
                else:
                    high = u
            samples[i], steps[i] = x, count

    return {"rejection": rejection, "a_star": a_star, "gprs": gprs, "branch_and_bound": branch_and_bound}
