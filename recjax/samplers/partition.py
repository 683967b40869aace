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

from recjax import randomness, words
from recjax.distributions.base import Distribution, Violations, concrete
from recjax.distributions.pair import Pair, pair_of
from recjax.randomness import Stream
from recjax.samplers.base import check_range

MAX_BITS = 30
"""The most bits of a partition."""

MAX_COMPONENT_BITS = 10
"""The most bits of one component, whose bins are in a table."""

_UNIT = 30  # log2 of the integer that stands for the largest share


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
        raise ValueError(f"kl_bits must hold one non-negative divergence a component, got {kl_bits!r}")
    check_range("total_bits", total_bits, 0, MAX_BITS)
    if total_bits > left.sum():
        raise ValueError(f"total_bits: a partition of {total_bits} bits is more than the divergence {left.sum():.4g}")
    bits = np.zeros(left.size, int)
    for _ in range(total_bits):
        open_left = np.where(bits < MAX_COMPONENT_BITS, left, -math.inf)
        component = int(np.argmax(open_left))
        if open_left[component] == -math.inf:
            raise ValueError(f"total_bits: {total_bits} are more than {MAX_COMPONENT_BITS} a component")
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


def check_components(bits: tuple[int, ...], proposal: Any) -> None:
    """Raises a ValueError unless there are bits for every component."""
    if len(bits) != proposal.event_size:
        raise ValueError(f"bits: {len(bits)} numbers do not fit the {proposal.event_size} components of an event")


def checked_index(index: Any, last: UInt32[np.ndarray, "2"]) -> UInt32[Array, "2"]:
    """A bin and a number there as uint32[2]: concrete ones are checked against the ``last``, traced ones clamped."""
    if not jnp.issubdtype(jnp.result_type(index), jnp.integer) or np.shape(index) != (2,):
        raise ValueError("index must be one bin and number, uint32[2]; decode batches with jax.vmap")
    value = concrete(index)
    if value is None:
        largest = np.minimum(last, jnp.iinfo(index.dtype).max).astype(index.dtype)
        return jnp.clip(index, 0, largest).astype(jnp.uint32)
    if np.any(value < 0) or np.any(value > last):
        raise ValueError(f"index must be from [0, 0] to {last.tolist()}, got {value.tolist()}")
    return jnp.asarray(value.astype(np.uint32))


def draw(
    key: UInt32[Array, "2"], index: UInt32[Array, "2"], proposal: Distribution, bits: tuple[int, ...]
) -> Float[Array, "*event"]:
    """The candidate of a bin and a number there: 64 bits a component, of which the bin's replace the upper ones."""
    d = proposal.event_size
    low = randomness.coordinate_bits(randomness.stream_key(key, Stream.CANDIDATE, index[0]), index[1], 2 * d)
    a, b = low[:d], low[d:]
    used = np.array(bits, np.uint32)
    kept = (32 - used) % 32  # no shift by 32, which is undefined
    high = jnp.where(used > 0, (_places(index[0], bits) << kept) | (a >> used), a)
    low = jnp.where(used > 0, (a << kept) | (b >> used), b)
    return _at_quantiles(proposal, high, low)


def _at_quantiles(proposal, high, low):
    """The event at 64-bit quantiles of its components."""
    x = jax.vmap(lambda p, a, b: p.sample_from_quantile(a, b))(_components(proposal), high, low)
    return x.reshape(proposal.event_shape)


def _places(number: UInt32[Array, ""], bits: tuple[int, ...]) -> UInt32[Array, "d"]:
    """The bin of every component."""
    shifts = np.array(bits, np.uint32)[::-1].cumsum()[::-1] - np.array(bits, np.uint32)
    masks = (1 << np.array(bits, np.uint32)) - np.uint32(1)
    return (number >> shifts.astype(np.uint32)) & masks.astype(np.uint32)


def _components(distribution):
    """The same distribution with one axis of components instead of the event's axes."""
    shape = distribution.event_shape
    return jax.tree.map(lambda x: x.reshape(math.prod(shape), *x.shape[len(shape) :]), distribution)


class PartitionedPair(Pair):
    """A target Q over the search proposal P' = sum_j pi_j P|_{B_j}, for the equal-mass bins B_j of a proposal P.

    The shares pi_j are in proportion to the largest ratio r = dQ/dP on B_j. Of all shares these have the smallest
    maximum of r' = dQ/dP' = r / (J pi_j): the mean over bins of the largest ratio on each, (1/J) sum_j max_{B_j} r. It
    is at most max r, and tends to 1 with more bins. They are products over the components, in whole numbers, which are
    the shares exactly.

    Args:
        target, proposal: a pair whose ratio is bounded on intervals; with several components, they are independent.
        bits: log2 of the bins of every component.

    Raises:
        ValueError: there are not as many bits as components, or the ratio's maximum on intervals is not known.
    """

    def __init__(self, target: Any, proposal: Any, bits: tuple[int, ...]) -> None:
        super().__init__(target, proposal)
        self.plain = pair_of(target, proposal)
        self.bits = bits
        check_components(bits, proposal)
        if proposal.event_size > 1 and not isinstance(target, Distribution):
            raise ValueError(f"target: a {type(target).__name__} of several components may have dependent ones")
        tops = self.tops()
        top = tops.max(-1, keepdims=True)
        # at most 2^30 in all: weights are rounded up, so that every bin with any of Q can be drawn
        room = (_UNIT - np.array(bits))[:, None]
        weights = jnp.ceil(jnp.exp(tops - top) * np.exp2(room).astype(tops.dtype)).astype(jnp.uint32)
        self._ends = jnp.cumsum(weights, -1, dtype=jnp.uint32)
        total = self._ends[:, -1:].astype(jnp.int32).astype(tops.dtype)
        # ln (J pi) of every component's bins
        scaled = weights.astype(jnp.int32).astype(tops.dtype) / total * np.exp2(bits).astype(tops.dtype)[:, None]
        self.log_shares = jnp.log(scaled)
        self._top = proposal._sum(jnp.max(jnp.where(weights > 0, tops - self.log_shares, -jnp.inf), -1))

    def tops(self) -> Float[Array, "d bins"]:
        """ln of the largest ratio on every component's bins, -inf beyond the last bin."""
        bins = np.arange(1 << max(self.bits, default=0), dtype=np.uint32)
        used = np.array(self.bits, np.uint32)[:, None]
        kept = (32 - used) % 32
        first = np.broadcast_to(bins << kept, (used.size, bins.size))
        last = np.where(used > 0, first + (np.uint32(1) << kept) - np.uint32(1), np.uint32(0xFFFFFFFF))

        def of_component(target, proposal, first, last):
            pair = pair_of(target, proposal)
            low = proposal.sample_from_quantile(first, jnp.zeros_like(first))
            high = proposal.sample_from_quantile(last, jnp.full_like(last, 0xFFFFFFFF))
            return jax.vmap(pair.log_ratio_max_on)(low, high)

        components = _components(self.plain.target), _components(self.proposal)
        tops = jax.vmap(of_component)(*components, jnp.asarray(first), jnp.asarray(last))
        return jnp.where(bins < (1 << used), tops, -jnp.inf)

    def bins(self, key: UInt32[Array, "2"], number: UInt32[Array, ""]) -> UInt32[Array, ""]:
        """The bin of the candidate with this number in the search."""
        d = self.proposal.event_size
        random = randomness.coordinate_bits(key, number, 2 * d)
        zero = jnp.zeros(d, jnp.uint32)
        _, weight = words.multiply_high((random[:d], random[d:]), (zero, self._ends[:, -1]))
        place = zero.astype(jnp.int32)
        for step in (1 << level for level in reversed(range(max(self.bits, default=0)))):  # of a binary search
            below = jnp.take_along_axis(self._ends, place[:, None] + (step - 1), -1)[:, 0] <= weight
            place = place + jnp.where(below, step, 0)
        number = jnp.uint32(0)
        for component, b in enumerate(self.bits):
            number = (number << b) | place[component].astype(jnp.uint32)
        return number

    def log_ratio(self, x: tuple[Float[Array, "*event"], UInt32[Array, ""]]) -> Float[Array, ""]:
        """ln r' of an event and its bin."""
        event, number = x
        shares = jnp.take_along_axis(self.log_shares, _places(number, self.bits).astype(jnp.int32)[:, None], -1)
        return self.plain.log_ratio(event) - self.proposal._sum(shares.reshape(self.proposal.event_shape))

    def log_ratio_max(self) -> Float[Array, ""]:
        return self._top

    def violations(self) -> Violations:
        return self.plain.violations()

    def bound_violations(self) -> Violations:
        return self.plain.bound_violations()
