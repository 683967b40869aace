"""Pairs of a target and a partitioned proposal, whose bins have the shares that suit the target."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from recjax import randomness, words
from recjax.distributions.base import Distribution, Violations
from recjax.distributions.pair import Pair, pair_of
from recjax.distributions.quadrature import gauss_legendre
from recjax.samplers._search import bins as partition

_UNIT = 30  # log2 of the integer that stands for the largest share
_WORD = np.uint32(0xFFFFFFFF)
_NEAR = 0.1  # depth in nats below the maximum of ln r' down to which survival is integrated


class PartitionedPair(Pair):
    """A target Q over P' = sum_j pi_j P|_{B_j}, for the equal-mass bins B_j of a proposal P.

    The shares pi_j are in proportion to the largest ratio r = dQ/dP on B_j. Of all shares these
    have the smallest maximum of r' = dQ/dP' = r / (J pi_j): the mean over bins of the largest ratio
    on each, (1/J) sum_j max_{B_j} r. It is at most max r, and tends to 1 with more bins. The shares
    are products over the components, and exact ratios of whole numbers.

    Args:
        target: a target whose ratio to the proposal is bounded on intervals. If it has several
            components, they are independent.
        proposal: the proposal P.
        bits: log2 of the bins of every component.

    Raises:
        ValueError: there are not as many bits as components, or the ratio's maximum on intervals is
            not known.
    """

    def __init__(self, target: Any, proposal: Any, bits: tuple[int, ...]) -> None:
        super().__init__(target, proposal)
        self.plain = pair_of(target, proposal)
        self.bits = bits
        partition.check_fit(bits, proposal)
        if proposal.event_size > 1 and not isinstance(target, Distribution):
            raise ValueError(
                f"target: a {type(target).__name__} of several components may have dependent ones"
            )
        edges = self._edges()
        self._interval = edges[0][0], edges[1][0]  # ends of the bins of a scalar
        tops = self._tops(*edges)
        top = tops.max(-1, keepdims=True)
        # The weights of a component sum to at most 2^30. They are rounded up, so that every bin
        # that the target may fall into can be drawn.
        room = (_UNIT - np.array(bits))[:, None]
        scale = np.exp2(room).astype(tops.dtype)
        weights = jnp.ceil(jnp.exp(tops - top) * scale).astype(jnp.uint32)
        self._ends = jnp.cumsum(weights, -1, dtype=jnp.uint32)
        total = self._ends[:, -1:].astype(jnp.int32).astype(tops.dtype)
        # J pi of every component's bins
        shares = weights.astype(jnp.int32).astype(tops.dtype) / total
        scaled = shares * np.exp2(bits).astype(tops.dtype)[:, None]
        self.log_shares = jnp.log(scaled)
        # bins that are never drawn have no ratio: not inf - inf
        tops = jnp.max(jnp.where(weights > 0, tops - self.log_shares, -jnp.inf), -1)
        self._top = proposal._sum(tops.reshape(proposal.event_shape))

    def _edges(self) -> tuple[Float[Array, "d bins"], Float[Array, "d bins"]]:
        """Both ends of every component's bins."""
        bins = np.arange(1 << max(self.bits, default=0), dtype=np.uint32)
        used = np.array(self.bits, np.uint32)[:, None]
        # a component without bits has one bin, from 0 to the last quantile; no shift by 32
        rest = (32 - used) % 32
        first = np.broadcast_to(bins << rest, (used.size, bins.size))
        last = np.where(used > 0, first + (np.uint32(1) << rest) - np.uint32(1), _WORD)

        def of_component(proposal, first, last):
            low = proposal.sample_from_quantile(first, jnp.zeros_like(first))
            return low, proposal.sample_from_quantile(last, jnp.full_like(last, _WORD))

        return jax.vmap(of_component)(
            partition.components(self.proposal), jnp.asarray(first), jnp.asarray(last)
        )

    def _tops(
        self, low: Float[Array, "d bins"], high: Float[Array, "d bins"]
    ) -> Float[Array, "d bins"]:
        """ln of the largest ratio on every component's bins."""
        components = partition.components(self.plain.target), partition.components(self.proposal)
        tops = jax.vmap(lambda q, p, a, b: jax.vmap(pair_of(q, p).log_ratio_max_on)(a, b))(
            *components, low, high
        )
        # rows are as wide as the most bins of a component: -inf beyond a component's last bin
        return jnp.where(np.arange(tops.shape[1]) < np.exp2(self.bits)[:, None], tops, -jnp.inf)

    def bins(self, key: UInt32[Array, "2"], number: UInt32[Array, ""]) -> UInt32[Array, ""]:
        """The bin of a candidate, by the candidate's number in the search.

        Args:
            key: the key of the accepting stream, which the receiver does not need.
            number: the candidate's number.
        """
        d = self.proposal.event_size
        random = randomness.coordinate_bits(key, number, 2 * d)
        zero = jnp.zeros(d, jnp.uint32)
        _, weight = words.multiply_high((random[:d], random[d:]), (zero, self._ends[:, -1]))
        # binary search for the number of bins that end at or before the drawn weight
        place = zero.astype(jnp.int32)
        for level in reversed(range(max(self.bits, default=0))):
            step = 1 << level
            below = jnp.take_along_axis(self._ends, place[:, None] + (step - 1), -1)[:, 0] <= weight
            place = place + jnp.where(below, step, 0)
        number = jnp.uint32(0)
        for component, b in enumerate(self.bits):
            number = (number << b) | place[component].astype(jnp.uint32)
        return number

    def log_ratio(self, x: tuple[Float[Array, "*event"], UInt32[Array, ""]]) -> Float[Array, ""]:
        """ln r' of an event and its bin."""
        event, number = x
        place = partition.places(number, self.bits).astype(jnp.int32)
        shares = jnp.take_along_axis(self.log_shares, place[:, None], -1)
        log_share = self.proposal._sum(shares.reshape(self.proposal.event_shape))
        return self.plain.log_ratio(event) - log_share

    def log_ratio_max(self) -> Float[Array, ""]:
        return self._top

    def violations(self) -> Violations:
        return self.plain.violations()

    def bound_violations(self) -> Violations:
        return self.plain.bound_violations()

    def width_violations(self) -> Violations:
        return self.plain.width_violations()

    def survival(self, log_h: Float[Array, ""]) -> Float[Array, ""]:
        """E_P'[(r' - h)^+]: the sum over bins of w_Q - h J pi_j w_P for {r >= h J pi_j} in each.

        That set is an interval in each bin. Near the maximum its share is found by quadrature of
        the density, without cancellation.
        """
        low, high, w_p, w_q = self._level_sets(log_h)
        levels = log_h + self.log_shares[0]
        apart = jnp.maximum(w_q - jnp.exp(levels) * w_p, 0)
        middle = jnp.clip(self.plain.mode(), low, high)
        nodes, weights = gauss_legendre(16, low.dtype)

        def excess(start, stop, level):
            def at(x):
                x = x.reshape(self.proposal.event_shape)
                return jnp.exp(level + self.proposal.log_prob(x)) * jnp.expm1(
                    self.plain.log_ratio(x) - level
                )

            return (stop - start) * jnp.sum(weights * jax.vmap(at)(start + (stop - start) * nodes))

        near = jax.vmap(excess)(low, middle, levels) + jax.vmap(excess)(middle, high, levels)
        drawn = self.log_shares[0] > -jnp.inf  # other bins have no level, and give NaN
        return jnp.sum(jnp.where(drawn, jnp.where(self._top - log_h < _NEAR, near, apart), 0))

    def _level_sets(self, log_h: Float[Array, ""]) -> tuple[Float[Array, "bins"], ...]:
        """For every bin the ends of {r' >= h}, and its probabilities under P and Q."""
        if self.proposal.event_size != 1:
            raise ValueError("target: width functions of a partition exist for scalar pairs only")

        def of_bin(level, low, high):
            start, stop = (
                jnp.clip(end.reshape(()), low, high) for end in self.plain.level_set(level)
            )
            ends = (end.reshape(self.proposal.event_shape) for end in (start, stop))
            return start, stop, *self.plain.masses(*ends)

        return jax.vmap(of_bin)(log_h + self.log_shares[0], *self._interval)
