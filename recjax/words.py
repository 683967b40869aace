"""Products of 32-bit integers, which JAX cannot widen without its 64-bit mode."""

from jaxtyping import Array, UInt32


def product(a: UInt32[Array, "..."], b: UInt32[Array, "..."]) -> tuple[UInt32[Array, "..."], UInt32[Array, "..."]]:
    """The 64-bit product as two words, the more significant one first; from 16-bit halves.

    >>> import jax.numpy as jnp
    >>> [int(word) for word in product(jnp.uint32(0xFFFFFFFF), jnp.uint32(0xFFFFFFFE))]
    [4294967293, 2]
    """
    a1, a0, b1, b0 = a >> 16, a & 0xFFFF, b >> 16, b & 0xFFFF
    inner = a1 * b0 + ((a0 * b0) >> 16)
    outer = a0 * b1 + (inner & 0xFFFF)
    return a1 * b1 + (inner >> 16) + (outer >> 16), (outer << 16) | ((a0 * b0) & 0xFFFF)
