"""Lengths of ideal codes for indices 0, 1, 2, ..., in bits."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from recjax.bits import zipf
from recjax.bits.number_models import NumberModel
from recjax.distributions.base import concrete


def rate_value(rate_bits: Any, dtype: Any) -> Float[Array, ""]:
    """The rate as a scalar array.

    Raises:
        ValueError: a concrete rate is negative or not finite.
    """
    value = concrete(rate_bits)
    if value is not None and not (value.ndim == 0 and 0 <= value < math.inf):
        raise ValueError(f"rate_bits must be one non-negative number, got {rate_bits!r}")
    return jnp.asarray(rate_bits, dtype)


def depth_rate(rate_bits: Any, log2: Callable[[Any], Any] = jnp.log2) -> Any:
    """The rate that a zeta code for the depth in a tree is tuned for.

    It is log2 of a bound on the mean depth, theorem 5.2.5 of G. Flamich, *Data Compression with
    Relative Entropy Coding*.

    Args:
        rate_bits: the rate that the coder's code is tuned for.
        log2: the logarithm: ``math.log2`` for numbers of Python.
    """
    return log2(2.26 * rate_bits + 9.66)


def model_bits(model: NumberModel, number: UInt32[Array, "*n"], dtype: Any) -> Float[Array, "*n"]:
    """Bits of numbers in a string that is written with a model.

    Args:
        model: the model.
        number: numbers in its support.
        dtype: dtype of the result.

    >>> from recjax.bits.number_models import EliasDelta
    >>> model_bits(EliasDelta(), jnp.uint32([0, 1, 8]), jnp.float32).tolist()
    [1.0, 4.0, 8.0]
    """
    first, bits = model.bins
    return _bin_bits(jnp.asarray(first, jnp.uint32), jnp.asarray(bits, dtype), number)


@jax.jit
def _bin_bits(first, bits, number):
    place = jnp.searchsorted(first, number.astype(jnp.uint32), side="right") - 1
    return bits[place]


@functools.partial(jax.jit, static_argnums=2)
def zeta_bits(
    index: UInt32[Array, ""], rate_bits: Float[Array, ""], log2_size: int = zipf.MAX_LOG2_SIZE
) -> Float[Array, ""]:
    """Bits of ``index`` in the zeta code that `recjax.bits.range_coder.encode_zeta` writes.

    The probability of ``index`` is about (index + 1)^-a with a = 1 + 1 / (rate + 1), rounded to
    1/64: the exponent of theorem 4.2.7 (greedy Poisson rejection sampling) of G. Flamich, *Data
    Compression with Relative Entropy Coding*.

    Args:
        index: a number less than 2^log2_size.
        rate_bits: the divergence in bits that the code is tuned for.
        log2_size: log2 of the support.

    >>> round(float(zeta_bits(jnp.uint32(0), jnp.float32(0.0))), 3)  # a = 2: about log2(pi^2 / 6)
    0.717
    """
    edges = jnp.asarray(zipf.bin_edges(log2_size), jnp.uint32)
    bins = jnp.searchsorted(edges, index, side="right") - 1
    bounds = jnp.asarray(zipf.RATE_BOUNDS, jnp.float32)
    row = jnp.searchsorted(bounds, rate_bits.astype(jnp.float32))
    return jnp.asarray(_zeta_table(log2_size), rate_bits.dtype)[row, bins]


@functools.cache
def _zeta_table(log2_size: int) -> Float[np.ndarray, "exponents bins"]:
    """Bits of an index in each bin of the zeta code: one row per exponent, lowest rates first."""
    exponents = [zipf.zeta_exponent(bound) for bound in zipf.RATE_BOUNDS]
    return np.stack([zipf.bin_bits(log2_size, a) for a in (*exponents, exponents[-1] - 1)])


@functools.partial(jax.jit, static_argnums=1)
def zipf_bits(index: UInt32[Array, ""], count: int, exponent: Float[Array, ""]) -> Float[Array, ""]:
    """Bits of ``index`` in the Zipf code of the support 0 .. count - 1: log2 H + a log2(index + 1).

    H is the sum of n^-a over n = 1 .. count, and a the exponent.

    >>> round(float(zipf_bits(jnp.uint32(3), 4, jnp.float32(1.0))), 4)  # log2(25 / 12) + log2(4)
    3.0589
    """
    log_n = jnp.log2(index.astype(exponent.dtype) + 1)
    return jnp.log2(_harmonic(count, exponent)) + exponent * log_n


def _harmonic(count: int, a: Float[Array, ""]) -> Float[Array, ""]:
    """Sum of n^-a over n = 1 .. count, by the Euler-Maclaurin formula beyond 32."""
    head = min(count, 32)
    total = jnp.sum(jnp.asarray(np.arange(1, head + 1), a.dtype) ** -a)
    if count == head:
        return total
    log_span = math.log(count / head)
    power = jnp.where(a == 1, 1, 1 - a)  # no division by 0, although that branch is not taken
    integral = jnp.where(a == 1, log_span, head**power * jnp.expm1(power * log_span) / power)
    ends = 0.5 * (count**-a - head**-a)
    return total + integral + ends + a / 12 * (head ** (-a - 1) - count ** (-a - 1))


def budget_exponent(rate_bits: Float[Array, ""], budget_bits: int) -> Float[Array, ""]:
    """The Zipf exponent for ordered random codes of targets at divergence ``rate_bits``.

    Strings have it in units of 1/64, from integers: `recjax.bits.zipf.budget_exponent`.

    It grows with the spare budget t = ``budget_bits`` - ``rate_bits`` from 0 towards the zeta
    code's 1 + 1 / (rate + 1), as (1 + 1 / (rate + 1)) / (1 + 2^(-3 (t - 1) / 4)). This was fitted
    to normal targets of 2 to 12 bits at t = -2 to 4, for which it costs at most 0.2 bits more than
    the best exponent of each target.
    """
    spare = budget_bits - rate_bits
    return (1 + 1 / (rate_bits + 1)) / (1 + jnp.exp2(-0.75 * (spare - 1)))
