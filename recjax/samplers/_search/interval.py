"""Intervals of quantiles of the proposal, as pairs of 64-bit integers.

The quantile space [0, 1) is cut into 2^64 cells. A node of a search tree is an interval [low, high)
of cells, with probability (high - low) / 2^64 whatever the precision of floating-point numbers:
encoder and decoder agree on any machine, and a search may descend 60 levels.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from recjax import words
from recjax.words import Word


def everything() -> tuple[Word, Word]:
    """The interval of all cells but the last, which has no exclusive end in 64 bits."""
    full, zero = jnp.full((), 0xFFFFFFFF, jnp.uint32), jnp.zeros((), jnp.uint32)
    return (zero, zero), (full, full)


def mass(low: Word, high: Word, dtype: Any) -> Float[Array, "..."]:
    """The probability of [low, high), with the relative precision of ``dtype``."""
    return words.fraction(words.subtract(high, low), dtype)


def left_frequency(low: Word, cut: Word, high: Word, bits: int) -> UInt32[Array, "..."]:
    """The share of [low, cut) in [low, high), in units of 2^-bits, rounded down.

    Only integers enter: long division, one bit of the quotient per round.
    """
    share, total = words.subtract(cut, low), words.subtract(high, low)
    frequency = jnp.zeros_like(share[0])
    for _ in range(bits):
        overflow = share[0] >> 31  # the bit that doubling moves out of the word
        share = (share[0] << 1) | (share[1] >> 31), share[1] << 1
        fits = (overflow == 1) | ~words.less(share, total)
        share = words.select(fits, words.subtract(share, total), share)
        frequency = (frequency << 1) | fits.astype(jnp.uint32)
    return frequency
