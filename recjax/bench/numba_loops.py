"""The coders of `scalar_loops` compiled by Numba, on threads that divide the samples.

Numba is optional.
"""

import concurrent.futures
import functools
import importlib
import importlib.util
import math
import types
from typing import Any

import numpy as np

from recjax.bench import scalar_loops
from recjax.bench.numpy_loops import Loop
from recjax.bench.scalar_loops import REACH, TABLE, mass, shape


def available() -> bool:
    """Returns whether Numba is installed."""
    return importlib.util.find_spec("numba") is not None


def loops(threads: int) -> dict[str, Loop]:
    """Returns the loops by name, each on `threads` threads."""
    pool = concurrent.futures.ThreadPoolExecutor(threads)

    def threaded(kernel):
        def run(rng, m, s):
            samples, steps = np.empty(len(m)), np.empty(len(m), np.int64)
            slices = [np.array_split(x, threads) for x in (m, s, samples, steps)]
            list(pool.map(kernel, rng.spawn(threads), *slices))
            return samples, steps

        return run

    return {name: threaded(kernel) for name, kernel in _kernels().items()}


@functools.cache
def _kernels() -> dict[str, Any]:
    jit = importlib.import_module("numba").njit(nogil=True, error_model="numpy")
    # Copies of the functions with globals of their own, in which they find each other compiled.
    # Numba looks globals up when it compiles, at the first call: the order does not matter.
    compiled = dict(vars(scalar_loops))
    functions = {
        **{name: f for name, f in compiled.items() if isinstance(f, types.FunctionType)},
        "stretch_table": _stretch_table,
        "quantile": _quantile,
    }
    for name, function in functions.items():
        compiled[name] = jit(types.FunctionType(function.__code__, compiled, name))

    def over_samples(coder):
        @jit
        def run(rng, m, s, samples, steps):
            for i in range(len(m)):
                samples[i], steps[i] = coder(rng, m[i], s[i])

        return run

    return {name: over_samples(compiled[name]) for name in scalar_loops.LOOPS}


def _stretch_table(m, s):
    """See `recjax.bench.scalar_loops.stretch_table`."""
    a, c, top = shape(m, s)
    first = math.log(REACH[0])
    step = (math.log(REACH[1]) + top - first) / (TABLE - 1)
    total = before = log_before = 0.0
    log_sigma = np.empty(TABLE)
    for i in range(TABLE):
        log_g = first + i * step
        half = 0.5 * math.exp(log_g - top)
        ratio = 1 / (half + math.sqrt(1 + half * half))
        gap, h = ratio * ratio, ratio * math.exp(log_g)
        radius = math.sqrt((top - math.log(h)) / a)
        low, high = c - radius, c + radius
        survival = mass((low - m) / s, (high - m) / s) - h * mass(low, high)
        area = 2 * gap / (1 + gap) / survival * h  # slope times g
        log_area = math.log(area)
        total = total + (area - before) * step / (log_area - log_before) if i else math.exp(log_g)
        before, log_before = area, log_area
        log_sigma[i] = math.log(total)
    return first, step, log_sigma


def _quantile(u):
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
