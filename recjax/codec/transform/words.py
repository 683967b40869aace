"""Frozen (FORMAT.md, transforms): the random words that order the latents of a level."""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, UInt32

from recjax import randomness


@functools.partial(jax.jit, static_argnames="count")
def level_words(
    key: randomness.SharedKey, level: ArrayLike, start: ArrayLike, count: int
) -> UInt32[Array, "count"]:
    """Words ``start`` to ``start + count - 1`` of a level."""
    words = randomness.stream_key(key, randomness.Stream.BRANCH, level)
    numbers = jnp.asarray(start, jnp.uint32) + jnp.arange(count, dtype=jnp.uint32)
    return randomness.threefry2x32(words, jnp.uint32(0), numbers)[0]
