"""Arrival times of a Poisson process as 64-bit fixed-point numbers.

Sums of integers are exact in any order: an arrival time depends neither on how candidates are cut
into chunks nor on batching, and 2^31 arrivals keep their order. A time is a pair of words
(high, low), in units of 2^-26.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt32

_UNITS = 2.0**26
_LIMB = 0xFFFF

Time = tuple[UInt32[Array, "..."], UInt32[Array, "..."]]
"""A time, or an array of times."""


def zero_time() -> Time:
    """The time before the first arrival."""
    return jnp.zeros((), jnp.uint32), jnp.zeros((), jnp.uint32)


def arrival_times(
    start: Time, gaps: Float[Array, "n"]
) -> tuple[UInt32[Array, "n"], UInt32[Array, "n"]]:
    """Returns ``start`` plus the running sum of the gaps.

    Args:
        start: the time before the first gap.
        gaps: at most 256 times between arrivals, each below 2^37.

    >>> high, low = arrival_times(zero_time(), jnp.array([1.0, 0.5, 64.0]))
    >>> [float(t) for t in time_value((high, low), jnp.float32)]
    [1.0, 1.5, 65.5]
    """
    units = gaps * _UNITS
    high = jnp.floor(units * 2.0**-32)
    limbs = _limbs(high.astype(jnp.uint32), (units - high * 2.0**32).astype(jnp.uint32))
    # Sums of 256 limbs of 16 bits are exact in float32 at the highest precision, and a product with
    # a triangle of ones compiles and runs faster than a scan.
    ones = jnp.asarray(np.triu(np.ones((gaps.size, gaps.size), np.float32)))
    sums = jnp.dot(
        limbs.astype(jnp.int32).astype(jnp.float32), ones, precision=jax.lax.Precision.HIGHEST
    )
    a, b, c, d = sums.astype(jnp.int32).astype(jnp.uint32) + _limbs(*start)[:, None]
    # carries, from the lowest limb up
    b = b + (a >> 16)
    c = c + (b >> 16)
    d = d + (c >> 16)
    return (d << 16) | (c & _LIMB), (b << 16) | (a & _LIMB)


def time_at(times: Time, position: Int[Array, ""] | int) -> Time:
    """One of several times."""
    high, low = times
    return high[position], low[position]


def time_value(time: Time, dtype: Any) -> Float[Array, "..."]:
    """The time as a positive number: the centre of its unit."""
    high, low = time
    # products with powers of two are exact, so that fused multiply-adds change nothing
    return high.astype(dtype) * (2.0**32 / _UNITS) + (low.astype(dtype) + 0.5) / _UNITS


def _limbs(high: UInt32[Array, "..."], low: UInt32[Array, "..."]) -> UInt32[Array, "4 ..."]:
    """A 64-bit number as four 16-bit ones, the lowest first."""
    return jnp.stack([low & _LIMB, low >> 16, high & _LIMB, high >> 16])
