"""Intervals of quantiles of the proposal, as pairs of 64-bit integers.

The quantile space [0, 1) is cut into 2^64 cells. A node of a search tree is an interval [low, high) of cells, with
probability (high - low) / 2^64 whatever the precision of floating-point numbers: encoder and decoder agree on any
machine, and a search may descend 60 levels. A 64-bit number is a pair of uint32, the more significant one first.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt32

from recjax.words import product as _product

Word = tuple[UInt32[Array, "..."], UInt32[Array, "..."]]
"""A 64-bit number."""


def whole() -> tuple[Word, Word]:
    """The interval of all cells but the last, which has no exclusive end in 64 bits."""
    full, zero = jnp.full((), 0xFFFFFFFF, jnp.uint32), jnp.zeros((), jnp.uint32)
    return (zero, zero), (full, full)


def add(a: Word, b: Word) -> Word:
    low = a[1] + b[1]
    return a[0] + b[0] + (low < b[1]).astype(jnp.uint32), low


def subtract(a: Word, b: Word) -> Word:
    return a[0] - b[0] - (a[1] < b[1]).astype(jnp.uint32), a[1] - b[1]


def halved(a: Word) -> Word:
    return a[0] >> 1, (a[0] << 31) | (a[1] >> 1)


def multiply_high(a: Word, b: Word) -> Word:
    """The more significant 64 bits of a product.

    >>> half, number = (jnp.uint32(1 << 31), jnp.uint32(0)), (jnp.uint32(6), jnp.uint32(8))
    >>> tuple(int(word) for word in multiply_high(half, number))
    (3, 4)
    """
    middle = _product(a[1], b[1])[0]
    one, two = _product(a[0], b[1]), _product(a[1], b[0])
    low = middle + one[1]
    carry = (low < middle).astype(jnp.uint32)
    total = low + two[1]
    carry = carry + (total < low).astype(jnp.uint32)
    zero = jnp.zeros_like(carry)
    high = add(_product(a[0], b[0]), (zero, one[0]))
    return add(add(high, (zero, two[0])), (zero, carry))


def mass(low: Word, high: Word, dtype) -> Float[Array, "..."]:
    """The probability of [low, high), with the relative precision of ``dtype``."""
    a, b = subtract(high, low)
    # products with powers of two are exact, so that fused multiply-adds change nothing
    return _float(a, dtype) * 2.0**-32 + _float(b, dtype) * 2.0**-64


def left_frequency(low: Word, cut: Word, high: Word, bits: int) -> UInt32[Array, "..."]:
    """The share of [low, cut) in [low, high), rounded down to a multiple of 2^-bits, from integers alone."""
    share, total = subtract(cut, low), subtract(high, low)
    frequency = jnp.zeros_like(share[0])
    for _ in range(bits):
        overflow = share[0] >> 31
        share = (share[0] << 1) | (share[1] >> 31), share[1] << 1
        fits = (overflow == 1) | ~less(share, total)
        rest = subtract(share, total)
        share = jnp.where(fits, rest[0], share[0]), jnp.where(fits, rest[1], share[1])
        frequency = (frequency << 1) | fits.astype(jnp.uint32)
    return frequency


def less(a: Word, b: Word) -> Bool[Array, "..."]:
    return (a[0] < b[0]) | ((a[0] == b[0]) & (a[1] < b[1]))


def _float(word, dtype):
    # signed conversions are faster; both halves and their sum are exact before one rounding
    return (word >> 16).astype(jnp.int32).astype(dtype) * 65536 + (word & 0xFFFF).astype(jnp.int32).astype(dtype)
