"""Proposals cut into bins of equal mass: products of dyadic quantile intervals, one per component.

A bin's number holds the components' bins in a mixed radix, with the last component's bits the
lowest. The bin of a search's candidate is drawn with shares that depend on the target, so that only
the encoder knows them.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from recjax import randomness
from recjax.distributions.base import Distribution
from recjax.randomness import Stream
from recjax.samplers.base import check_range

MAX_BITS = 30
"""The most bits of a partition."""

MAX_COMPONENT_BITS = 10
"""The most bits of one component, whose bins form a table."""


def allot_bits(kl_bits: Sequence[float], total_bits: int) -> tuple[int, ...]:
    """Divides the bits of a partition among components: each bit goes where most KL is left.

    Args:
        kl_bits: the divergence of every component in bits, expected over the targets and known to
            both sides.
        total_bits: bits of the partition, at most the sum of the divergences: a bin's number takes
            this many bits even for a target that could do with fewer.

    Returns:
        The bits of every component.

    Raises:
        ValueError: a divergence is negative or not finite, or there are more bits than divergence,
            than 30, or than 10 per component.

    >>> allot_bits([5.0, 0.5, 2.5], 6)
    (4, 0, 2)
    """
    left = np.array(kl_bits, float)
    if left.ndim != 1 or not np.all((left >= 0) & (left < math.inf)):
        raise ValueError(
            f"kl_bits must hold one non-negative divergence per component, got {kl_bits!r}"
        )
    check_range("total_bits", total_bits, 0, MAX_BITS)
    if total_bits > left.sum():
        raise ValueError(
            f"total_bits: a partition of {total_bits} bits is more than the divergence "
            f"{left.sum():.4g}"
        )
    bits = np.zeros(left.size, int)
    for _ in range(total_bits):
        open_left = np.where(bits < MAX_COMPONENT_BITS, left, -math.inf)
        component = int(np.argmax(open_left))
        if open_left[component] == -math.inf:
            raise ValueError(
                f"total_bits: {total_bits} are more than {MAX_COMPONENT_BITS} per component"
            )
        bits[component] += 1
        left[component] -= 1
    return tuple(map(int, bits))


def check_bits(bits: Any) -> None:
    """Raises a ValueError unless ``bits`` is a tuple of whole numbers that a partition can have."""
    if not isinstance(bits, tuple):
        raise ValueError(f"bits must be a tuple of whole numbers, one per component, got {bits!r}")
    for b in bits:
        check_range("bits: each", b, 0, MAX_COMPONENT_BITS)
    check_range("bits: their sum", sum(bits), 0, MAX_BITS)


def check_fit(bits: tuple[int, ...], proposal: Any) -> None:
    """Raises a ValueError unless ``bits`` has one number per component."""
    if len(bits) != proposal.event_size:
        raise ValueError(
            f"bits: {len(bits)} numbers do not fit the {proposal.event_size} components of an event"
        )


def draw(
    key: UInt32[Array, "2"],
    index: UInt32[Array, "2"],
    proposal: Distribution,
    bits: tuple[int, ...],
) -> Float[Array, "*event"]:
    """Returns the candidate with a number in a bin.

    Every component is drawn from a quantile of 64 random bits, of which the bin's bits replace the
    upper ones.

    Args:
        key: the key of the candidates' stream.
        index: the bin and the candidate's number in the bin.
        proposal: the proposal.
        bits: log2 of the bins of every component.
    """
    d = proposal.event_size
    random = randomness.coordinate_bits(
        randomness.stream_key(key, Stream.CANDIDATE, index[0]), index[1], 2 * d
    )
    a, b = random[:d], random[d:]
    used = np.array(bits, np.uint32)
    # The random bits are shifted down by `used`. A component without bits takes them as they are: a
    # shift by 32 is undefined, so that its shift is 0 and the result not selected.
    rest = (32 - used) % 32
    high = jnp.where(used > 0, (places(index[0], bits) << rest) | (a >> used), a)
    low = jnp.where(used > 0, (a << rest) | (b >> used), b)
    x = jax.vmap(lambda p, a, b: p.sample_from_quantile(a, b))(components(proposal), high, low)
    return x.reshape(proposal.event_shape)


def places(number: UInt32[Array, ""], bits: tuple[int, ...]) -> UInt32[Array, "d"]:
    """The bin of every component, from the number of a bin."""
    used = np.array(bits, np.uint32)
    shifts = used[::-1].cumsum()[::-1] - used
    masks = (1 << used) - np.uint32(1)
    return (number >> shifts.astype(np.uint32)) & masks.astype(np.uint32)


def components(distribution: Any) -> Any:
    """The same distribution with one axis of components instead of the event's axes."""
    shape = distribution.event_shape
    return jax.tree.map(lambda x: x.reshape(math.prod(shape), *x.shape[len(shape) :]), distribution)
