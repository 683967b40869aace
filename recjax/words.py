"""Arithmetic of 64-bit integers as pairs of uint32: JAX has them only in its 64-bit mode.

The more significant word comes first.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt32

Word = tuple[UInt32[Array, "..."], UInt32[Array, "..."]]
"""A 64-bit number."""


def product(a: UInt32[Array, "..."], b: UInt32[Array, "..."]) -> Word:
    """The 64-bit product of two 32-bit numbers, from 16-bit halves.

    >>> [int(word) for word in product(jnp.uint32(0xFFFFFFFF), jnp.uint32(0xFFFFFFFE))]
    [4294967293, 2]
    """
    a1, a0, b1, b0 = a >> 16, a & 0xFFFF, b >> 16, b & 0xFFFF
    inner = a1 * b0 + ((a0 * b0) >> 16)
    outer = a0 * b1 + (inner & 0xFFFF)
    return a1 * b1 + (inner >> 16) + (outer >> 16), (outer << 16) | ((a0 * b0) & 0xFFFF)


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
    middle = product(a[1], b[1])[0]
    one, two = product(a[0], b[1]), product(a[1], b[0])
    low = middle + one[1]
    carry = (low < middle).astype(jnp.uint32)
    total = low + two[1]
    carry = carry + (total < low).astype(jnp.uint32)
    zero = jnp.zeros_like(carry)
    high = add(product(a[0], b[0]), (zero, one[0]))
    return add(add(high, (zero, two[0])), (zero, carry))


def select(which: Bool[Array, "..."], a: Word, b: Word) -> Word:
    """a where ``which``, else b."""
    return jnp.where(which, a[0], b[0]), jnp.where(which, a[1], b[1])


def less(a: Word, b: Word) -> Bool[Array, "..."]:
    return (a[0] < b[0]) | ((a[0] == b[0]) & (a[1] < b[1]))


def fraction(a: Word, dtype) -> Float[Array, "..."]:
    """a / 2^64, with the relative precision of ``dtype``."""
    # products with powers of two are exact, so that fused multiply-adds change nothing
    return _float(a[0], dtype) * 2.0**-32 + _float(a[1], dtype) * 2.0**-64


def _float(word, dtype):
    # signed conversions are faster; both halves and their sum are exact before one rounding
    return (word >> 16).astype(jnp.int32).astype(dtype) * 65536 + (word & 0xFFFF).astype(
        jnp.int32
    ).astype(dtype)
