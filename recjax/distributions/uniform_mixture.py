"""Mixtures of disjoint uniform intervals as targets in uniform proposals."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recjax import randomness
from recjax.distributions.base import Distribution, Violations, family, finite
from recjax.distributions.pair import Pair, register_pair
from recjax.distributions.uniform import Uniform


@family
class UniformMixture(Distribution):
    """Independent components, each uniform on one of several disjoint intervals: the last axis lists them.

    Args:
        low: lower ends [*event, modes].
        high: upper ends.
        weights: probabilities of the intervals up to a common factor, not negative.

    Raises:
        ValueError: an end is not finite, ``high`` is not above ``low``, intervals overlap, weights are negative or
            all zero, or the shapes do not fit.

    >>> float(UniformMixture([0.0, 2.0], [1.0, 3.0], [1.0, 3.0]).cdf(jnp.float32(2.0)))
    0.25
    """

    low: Float[Array, "*event modes"]
    high: Float[Array, "*event modes"]
    weights: Float[Array, "*event modes"]

    def __init__(self, low, high, weights):
        low, high, weights = (np.asarray(v) if isinstance(v, list | tuple) else v for v in (low, high, weights))
        if max(np.ndim(v) for v in (low, high, weights)) == 0:
            raise ValueError("low must have an axis of modes")
        self._set(low=low, high=high, weights=weights)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return np.shape(self.low)[:-1]

    def violations(self) -> Violations:
        overlap = (self.low[..., :, None] < self.high[..., None, :]) & (
            self.low[..., None, :] < self.high[..., :, None]
        )
        return [
            finite("low", self.low),
            finite("high", self.high),
            ("high must be greater than low", ~(self.high > self.low)),
            ("low: intervals must not overlap", overlap & ~np.eye(self.low.shape[-1], dtype=bool)),
            ("weights must be finite and not negative", ~((self.weights >= 0) & (self.weights < np.inf))),
            ("weights must not all be zero", ~(self.weights.max(-1) > 0)),
        ]

    def probabilities(self) -> Float[Array, "*event modes"]:
        """The probability of each interval."""
        return self.weights / self.weights.sum(-1, keepdims=True)

    def log_densities(self) -> Float[Array, "*event modes"]:
        """Log density in each interval, -inf where its weight is zero."""
        share = self.probabilities()
        return jnp.where(share > 0, jnp.log(jnp.where(share > 0, share, 1)) - jnp.log(self.high - self.low), -jnp.inf)

    def pick(self, table: Float[Array, "*event modes"], x: Float[Array, "*event"]) -> Float[Array, "*event"]:
        """The largest entry among the intervals that hold x, -inf outside all of them."""
        x = jnp.asarray(x)[..., None]
        return jnp.max(jnp.where((x >= self.low) & (x <= self.high), table, -jnp.inf), -1)

    def log_prob(self, x):
        return self._sum(self.pick(self.log_densities(), x))

    def cdf(self, x):
        covered = jnp.clip((jnp.asarray(x)[..., None] - self.low) / (self.high - self.low), 0, 1)
        return jnp.sum(self.probabilities() * covered, -1)

    def icdf(self, u):
        order = jnp.argsort(self.low, -1)
        low, high, share = (jnp.take_along_axis(v, order, -1) for v in (self.low, self.high, self.probabilities()))
        start = jnp.cumsum(share, -1) - share
        # an interval of weight zero never holds u
        inside = (jnp.asarray(u)[..., None] >= start) & (share > 0)
        part = jnp.clip((jnp.asarray(u)[..., None] - start) / jnp.where(share > 0, share, 1), 0, 1)
        return jnp.max(jnp.where(inside, low + (high - low) * part, -jnp.inf), -1)

    def sample_from_bits(self, bits):
        return self.icdf(self._event(randomness.uniform(bits, self.dtype.type)))


@register_pair(UniformMixture, Uniform)
class UniformMixturePair(Pair):
    """r is constant on each interval; all integrals are sums over them."""

    def log_ratio(self, x):
        return self.proposal._sum(self.target.pick(self._log_ratios(), x))

    def log_ratio_max(self):
        return self.proposal._sum(self._log_ratios().max(-1))

    def violations(self) -> Violations:
        q, p = self.target, self.proposal
        outside = (q.low < p.low[..., None]) | (q.high > p.high[..., None])
        return [*super().violations(), ("target: its intervals must lie within the proposal's", outside)]

    def bound_violations(self) -> Violations:
        return []

    def widths(self, log_h):
        ratios, lengths, share = self._rows()
        some = ratios >= log_h
        return jnp.sum(jnp.where(some, lengths, 0)), jnp.sum(jnp.where(some, share, 0))

    def survival(self, log_h):
        ratios, _, share = self._rows()
        some = ratios > log_h
        return jnp.sum(jnp.where(some, -share * jnp.expm1(jnp.where(some, log_h - ratios, 0)), 0))

    def kl(self):
        share, ratios = self.target.probabilities(), self._log_ratios()
        return self.proposal._sum(jnp.sum(share * jnp.where(share > 0, ratios, 0), -1))

    def channel_simulation(self):
        """-int w_P ln w_P dh, a sum over the steps of w_P."""
        ratios, lengths, _ = self._rows()
        order = jnp.argsort(ratios)
        widths = jnp.cumsum(lengths[order][::-1])[::-1]
        steps = jnp.diff(jnp.exp(ratios[order]), prepend=0)
        return -jnp.sum(steps * widths * jnp.log(jnp.where(widths > 0, jnp.minimum(widths, 1), 1)))

    def _log_ratios(self):
        return self.target.log_densities() + jnp.log(self.proposal.high - self.proposal.low)[..., None]

    def _rows(self):
        """ln r, probability under P, and probability under Q of each interval of a scalar pair."""
        if self.proposal.event_size != 1:
            raise ValueError(f"{self._name}: width functions exist for scalar pairs only")
        q, p = self.target, self.proposal
        lengths = (q.high - q.low) / (p.high - p.low)[..., None]
        return self._log_ratios().ravel(), lengths.ravel(), q.probabilities().ravel()
