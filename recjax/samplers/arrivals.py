"""Arrival times of a Poisson process as 64-bit fixed-point numbers.

Sums of integers are exact in any order: an arrival time depends neither on how candidates are cut into chunks
nor on batching, and 2^31 arrivals keep their order. A time is a pair of words (high, low), in units of 2^-26.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

_UNITS = 2.0**26

Time = tuple[UInt32[Array, "..."], UInt32[Array, "..."]]


def zero_time() -> Time:
    return jnp.zeros((), jnp.uint32), jnp.zeros((), jnp.uint32)


def arrival_times(start: Time, gaps: Float[Array, "n"]) -> tuple[UInt32[Array, "n"], UInt32[Array, "n"]]:
    """``start`` plus the running sum of the gaps (each below 2^37).

    >>> high, low = arrival_times(zero_time(), jnp.array([1.0, 0.5, 64.0]))
    >>> [float(t) for t in time_value((high, low), jnp.float32)]
    [1.0, 1.5, 65.5]
    """
    units = gaps * _UNITS
    high = jnp.floor(units * 2.0**-32)
    words = high.astype(jnp.uint32), (units - high * 2.0**32).astype(jnp.uint32)
    total = jax.lax.associative_scan(_add, words)
    return _add(jax.tree.map(lambda word, like: jnp.full_like(like, word), start, total), total)


def time_value(time: Time, dtype) -> Float[Array, "..."]:
    """The time as a positive number: the centre of its unit."""
    high, low = time
    # products with powers of two are exact, so that fused multiply-adds change nothing
    return high.astype(dtype) * (2.0**32 / _UNITS) + (low.astype(dtype) + 0.5) / _UNITS


def _add(a: Time, b: Time) -> Time:
    low = a[1] + b[1]
    return a[0] + b[0] + (low < a[1]).astype(jnp.uint32), low
