"""Uniform distributions on intervals, and uniform targets nested in uniform proposals."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from recjax import randomness
from recjax.distributions.base import Distribution, Violations, family, finite
from recjax.distributions.pair import Pair, register_pair


@family
class Uniform(Distribution):
    """Independent uniform components on [low, high].

    Raises:
        ValueError: an end is not finite, ``high`` is not above ``low``, or the shapes do not fit.

    >>> float(Uniform(0.0, 4.0).icdf(0.25))
    1.0
    """

    low: Float[Array, "*event"]
    high: Float[Array, "*event"]

    def __init__(self, low, high):
        self._set(low=low, high=high)

    def violations(self) -> Violations:
        half = float(jnp.finfo(self.dtype).max) / 2
        return [
            finite("low", self.low),
            finite("high", self.high),
            ("high must be greater than low", ~(self.high > self.low)),
            ("high - low must be finite: both within half the range of numbers", ~(abs(self.low) <= half)),
            ("high - low must be finite: both within half the range of numbers", ~(abs(self.high) <= half)),
        ]

    def log_prob(self, x):
        inside = (x >= self.low) & (x <= self.high)
        return self._sum(jnp.where(inside, -jnp.log(self.high - self.low), -jnp.inf))

    def cdf(self, x):
        return jnp.clip((x - self.low) / (self.high - self.low), 0, 1)

    def icdf(self, u):
        return self.low + (self.high - self.low) * u

    def sample_from_bits(self, bits):
        lower, tail = randomness.sign_and_tail(bits, self.dtype)
        low, width = self.low, self.high - self.low
        x = jnp.where(self._event(lower), self._affine(low, width, tail), self._affine(self.high, -width, tail))
        return jnp.clip(x, self.low, self.high)

    def sample_from_quantile(self, high, low):
        lower, tail, _ = randomness.quantile_parts(high, low, self.dtype)
        return self._from_tail(lower[..., None], tail[..., None])

    def _from_tail(self, lower, tail):
        low, width = self.low, self.high - self.low
        x = jnp.where(self._event(lower), self._affine(low, width, tail), self._affine(self.high, -width, tail))
        return jnp.clip(x, self.low, self.high)


@register_pair(Uniform, Uniform)
class UniformPair(Pair):
    """r is constant on the target's interval, which lies in the proposal's."""

    def log_ratio(self, x):
        inside = (x >= self.target.low) & (x <= self.target.high)
        return jnp.where(inside.all(), self.log_ratio_max(), -jnp.inf)

    def log_ratio_max(self):
        return self.proposal._sum(self._log_ratios())

    def violations(self) -> Violations:
        q, p = self.target, self.proposal
        outside = (q.low < p.low) | (q.high > p.high)
        return [*super().violations(), ("target: its interval must lie within the proposal's", outside)]

    def bound_violations(self) -> Violations:
        return []

    def widths(self, log_h):
        top = self._scalar(self._log_ratios())
        some = log_h <= top
        return jnp.where(some, jnp.exp(-top), 0), some.astype(log_h.dtype)

    def survival(self, log_h):
        return -jnp.expm1(jnp.minimum(log_h - self._scalar(self._log_ratios()), 0))

    def mode(self):
        return 0.5 * self.target.low + 0.5 * self.target.high

    def level_set(self, log_h):
        return self.target.low, self.target.high

    def kl(self):
        return self.log_ratio_max()

    def channel_simulation(self):
        return self.log_ratio_max()

    def _log_ratios(self):
        q, p = self.target, self.proposal
        return jnp.log((p.high - p.low) / (q.high - q.low))
