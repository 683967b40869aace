"""Proposals cut into bins of equal mass: products of dyadic quantile intervals, one for every component.

Bin numbers are the components' places in a mixed radix, the last component's bits the lowest. Which bin a candidate of
a search falls into is drawn with shares that depend on the target, so that only the encoder knows them.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from recjax import randomness
from recjax.distributions.base import Distribution, concrete
from recjax.randomness import Stream
from recjax.samplers.base import check_range

MAX_BITS = 30
"""The most bits of a partition."""

MAX_COMPONENT_BITS = 10
"""The most bits of one component, whose bins are in a table."""


def allot_bits(kl_bits: Sequence[float], total_bits: int) -> tuple[int, ...]:
    """The bits of a partition for every component: each goes where most of the divergence is still left.

    Args:
        kl_bits: the divergence of every component in bits, expected over the targets and known to both sides.
        total_bits: of the partition, at most the sum of the divergences: a bin's number takes so many bits even where
            the target could do with fewer.

    Raises:
        ValueError: a divergence is negative or not finite, there are more bits than divergence, or more than a
            partition can have (30 in all, 10 a component).

    >>> allot_bits([5.0, 0.5, 2.5], 6)
    (4, 0, 2)
    """
    left = np.array(kl_bits, float)
    if left.ndim != 1 or not np.all((left >= 0) & (left < math.inf)):
        raise ValueError(
            f"kl_bits must hold one non-negative divergence a component, got {kl_bits!r}"
        )
    check_range("total_bits", total_bits, 0, MAX_BITS)
    if total_bits > left.sum():
        raise ValueError(
            f"total_bits: a partition of {total_bits} bits is more than the divergence {left.sum():.4g}"
        )
    bits = np.zeros(left.size, int)
    for _ in range(total_bits):
        open_left = np.where(bits < MAX_COMPONENT_BITS, left, -math.inf)
        component = int(np.argmax(open_left))
        if open_left[component] == -math.inf:
            raise ValueError(
                f"total_bits: {total_bits} are more than {MAX_COMPONENT_BITS} a component"
            )
        bits[component] += 1
        left[component] -= 1
    return tuple(map(int, bits))


def check_bits(bits: Any) -> None:
    """Raises a ValueError unless ``bits`` is a tuple of whole numbers that a partition can have."""
    if not isinstance(bits, tuple):
        raise ValueError(f"bits must be a tuple of whole numbers, one a component, got {bits!r}")
    for b in bits:
        check_range("bits: each", b, 0, MAX_COMPONENT_BITS)
    check_range("bits: their sum", sum(bits), 0, MAX_BITS)


def check_fit(bits: tuple[int, ...], proposal: Any) -> None:
    """Raises a ValueError unless there are bits for every component."""
    if len(bits) != proposal.event_size:
        raise ValueError(
            f"bits: {len(bits)} numbers do not fit the {proposal.event_size} components of an event"
        )


def checked_index(index: Any, last: UInt32[np.ndarray, "2"]) -> UInt32[Array, "2"]:
    """A bin and a number there as uint32[2]: concrete ones are checked against the ``last``, traced ones clamped."""
    if not jnp.issubdtype(jnp.result_type(index), jnp.integer) or np.shape(index) != (2,):
        raise ValueError(
            "index must be one bin and number, uint32[2]; decode batches with jax.vmap"
        )
    value = concrete(index)
    if value is None:
        largest = np.minimum(last, jnp.iinfo(index.dtype).max).astype(index.dtype)
        return jnp.clip(index, 0, largest).astype(jnp.uint32)
    if np.any(value < 0) or np.any(value > last):
        raise ValueError(f"index must be from [0, 0] to {last.tolist()}, got {value.tolist()}")
    return jnp.asarray(value.astype(np.uint32))


def draw(
    key: UInt32[Array, "2"],
    index: UInt32[Array, "2"],
    proposal: Distribution,
    bits: tuple[int, ...],
) -> Float[Array, "*event"]:
    """The candidate of a bin and a number there: 64 bits a component, of which the bin's replace the upper ones."""
    d = proposal.event_size
    low = randomness.coordinate_bits(
        randomness.stream_key(key, Stream.CANDIDATE, index[0]), index[1], 2 * d
    )
    a, b = low[:d], low[d:]
    used = np.array(bits, np.uint32)
    kept = (32 - used) % 32  # no shift by 32, which is undefined
    high = jnp.where(used > 0, (places(index[0], bits) << kept) | (a >> used), a)
    low = jnp.where(used > 0, (a << kept) | (b >> used), b)
    x = jax.vmap(lambda p, a, b: p.sample_from_quantile(a, b))(components(proposal), high, low)
    return x.reshape(proposal.event_shape)


def places(number: UInt32[Array, ""], bits: tuple[int, ...]) -> UInt32[Array, "d"]:
    """The bin of every component."""
    shifts = np.array(bits, np.uint32)[::-1].cumsum()[::-1] - np.array(bits, np.uint32)
    masks = (1 << np.array(bits, np.uint32)) - np.uint32(1)
    return (number >> shifts.astype(np.uint32)) & masks.astype(np.uint32)


def components(distribution):
    """The same distribution with one axis of components instead of the event's axes."""
    shape = distribution.event_shape
    return jax.tree.map(lambda x: x.reshape(math.prod(shape), *x.shape[len(shape) :]), distribution)
