"""Integer weights of categories. Frozen: they decide what candidates are decoded to.

They follow from logits by single roundings and integer operations: every device has the same ones.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, UInt32

_LOG2_E = 1.4426950408889634
# Powers 2^-f of 16-bit fractions f as products of two tables, for the high and the low byte of f.
# A product is at most 2^16 2^15 = 2^31.
_COARSE = np.round(2.0 ** (16 - np.arange(256) / 256)).astype(np.uint32)
_FINE = np.round(2.0 ** (15 - np.arange(256) / 65536)).astype(np.uint32)


def few_weights(
    logits: Float[Array | np.ndarray, "*event K"],
) -> UInt32[Array, "*event K"]:
    """Weights of few categories, whose sum is at most 2^31: each has 2^31 / K for the likeliest."""
    powers, share = _shares(logits)
    # shifted right so that the sum of K weights cannot exceed 2^31
    room = jnp.uint32((logits.shape[-1] - 1).bit_length())
    return _at_least_one((share >> room) >> (powers >> 16), logits)


def many_weights(logits: Float[Array | np.ndarray, "*event K"]) -> UInt32[Array, "*event K"]:
    """Weights of many categories, with all the bits that a sum of at most 2^31 + K leaves them."""
    powers, share = _shares(logits)
    weights = lax.optimization_barrier(share >> (powers >> 16))  # made once for all its uses
    # The sum of K shares needs more than 32 bits, those of their 11-bit digits do not: an upper
    # bound of the sum in units of 2^22, and the shift that makes it at most 2^31.
    digits = [(weights >> place) & 0x7FF for place in (22, 11, 0)]
    high, middle, low = (jnp.sum(d, -1, keepdims=True, dtype=jnp.uint32) for d in digits)
    bound = high + (middle >> 11) + (low >> 22) + 2
    shift = jnp.maximum(23 - lax.clz(bound).astype(jnp.int32), 0).astype(jnp.uint32)
    return _at_least_one(weights >> shift, logits)


def _shares(logits):
    """2^31 times the probabilities relative to the largest: integer powers of 2, and mantissas."""
    # Single roundings and integer operations: no compiler can change a bit. The barrier keeps the
    # difference from being fused with the product below into one rounding.
    below = lax.optimization_barrier(logits.max(-1, keepdims=True) - logits)
    # 2^-powers, powers in units of 2^-16 bits: integer part and two bytes of fraction
    powers = jnp.round(jnp.minimum(below * _LOG2_E, 31) * 65536).astype(jnp.uint32)
    return powers, jnp.asarray(_COARSE)[(powers >> 8) & 255] * jnp.asarray(_FINE)[powers & 255]


def _at_least_one(weights, logits):
    """Every category that occurs can be decoded."""
    return jnp.where(logits == -jnp.inf, jnp.uint32(0), jnp.maximum(weights, jnp.uint32(1)))
