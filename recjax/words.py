"""64-bit integers as pairs of uint32. Frozen: tree coders derive their samples from them.

JAX has 64-bit integers only in its 64-bit mode. The more significant word comes first.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt32

Word = tuple[UInt32[Array, "..."], UInt32[Array, "..."]]
"""A 64-bit integer: its more and its less significant word."""


def product(a: UInt32[Array, "..."], b: UInt32[Array, "..."]) -> Word:
    """Returns the 64-bit product of two 32-bit integers, from their 16-bit halves.

    >>> [int(word) for word in product(jnp.uint32(0xFFFFFFFF), jnp.uint32(0xFFFFFFFE))]
    [4294967293, 2]
    """
    a1, a0, b1, b0 = a >> 16, a & 0xFFFF, b >> 16, b & 0xFFFF
    # neither sum can overflow: (2^16 - 1)^2 + 2^16 - 1 < 2^32
    inner = a1 * b0 + ((a0 * b0) >> 16)
    outer = a0 * b1 + (inner & 0xFFFF)
    return a1 * b1 + (inner >> 16) + (outer >> 16), (outer << 16) | ((a0 * b0) & 0xFFFF)


def add(a: Word, b: Word) -> Word:
    """Returns a + b modulo 2^64."""
    low = a[1] + b[1]
    # the low word wrapped around exactly if it is below either summand
    return a[0] + b[0] + (low < b[1]).astype(jnp.uint32), low


def subtract(a: Word, b: Word) -> Word:
    """Returns a - b modulo 2^64."""
    return a[0] - b[0] - (a[1] < b[1]).astype(jnp.uint32), a[1] - b[1]


def halved(a: Word) -> Word:
    """Returns a / 2, rounded down."""
    return a[0] >> 1, (a[0] << 31) | (a[1] >> 1)


def multiply_high(a: Word, b: Word) -> Word:
    """Returns the more significant 64 bits of a 128-bit product, floor(a b / 2^64).

    >>> half, number = (jnp.uint32(1 << 31), jnp.uint32(0)), (jnp.uint32(6), jnp.uint32(8))
    >>> tuple(int(word) for word in multiply_high(half, number))
    (3, 4)
    """
    # long multiplication: of the lower 64 bits only the carry into the upper ones matters
    below = product(a[1], b[1])[0]
    cross, other_cross = product(a[0], b[1]), product(a[1], b[0])
    low = below + cross[1]
    carry = (low < below).astype(jnp.uint32)
    total = low + other_cross[1]
    carry = carry + (total < low).astype(jnp.uint32)
    zero = jnp.zeros_like(carry)
    high = add(product(a[0], b[0]), (zero, cross[0]))
    return add(add(high, (zero, other_cross[0])), (zero, carry))


def select(which: Bool[Array, "..."], a: Word, b: Word) -> Word:
    """Returns a where `which` is True, else b."""
    return jnp.where(which, a[0], b[0]), jnp.where(which, a[1], b[1])


def less(a: Word, b: Word) -> Bool[Array, "..."]:
    """Returns whether a < b."""
    return (a[0] < b[0]) | ((a[0] == b[0]) & (a[1] < b[1]))


def fraction(a: Word, dtype) -> Float[Array, "..."]:
    """Returns a / 2^64 with the relative precision of `dtype`."""
    # products with powers of two are exact: fused multiply-adds change nothing
    return _float(a[0], dtype) * 2.0**-32 + _float(a[1], dtype) * 2.0**-64


def _float(word, dtype):
    # signed conversions are faster; both halves and their sum are exact before one rounding
    high = (word >> 16).astype(jnp.int32).astype(dtype)
    low = (word & 0xFFFF).astype(jnp.int32).astype(dtype)
    return high * 65536 + low
