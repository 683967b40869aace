"""Symmetric triangular targets in uniform proposals."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from recjax import randomness
from recjax.distributions.base import Distribution, Violations, family, finite
from recjax.distributions.pair import Pair, register_pair
from recjax.distributions.uniform import Uniform


@family
class Triangular(Distribution):
    """Independent components with a density that rises linearly to the middle of [low, high] and falls again.

    Raises:
        ValueError: an end is not finite, ``high`` is not above ``low``, or the shapes do not fit.

    >>> float(Triangular(0.0, 4.0).icdf(jnp.float32(0.125)))
    1.0
    """

    low: Float[Array, "*event"]
    high: Float[Array, "*event"]

    def __init__(self, low, high):
        self._set(low=low, high=high)

    def violations(self) -> Violations:
        return [
            finite("low", self.low),
            finite("high", self.high),
            ("high must be greater than low", ~(self.high > self.low)),
        ]

    def height(self, x):
        """The density relative to its peak 2 / (high - low); zero outside."""
        half = 0.5 * (self.high - self.low)
        return jnp.maximum(jnp.minimum(x - self.low, self.high - x) / half, 0)

    def log_prob(self, x):
        return self._sum(_log(self.height(x)) + jnp.log(2 / (self.high - self.low)))

    def cdf(self, x):
        u = jnp.clip((x - self.low) / (self.high - self.low), 0, 1)
        return jnp.where(u < 0.5, 2 * u * u, 1 - 2 * jnp.square(1 - u))

    def icdf(self, u):
        # square roots are exactly rounded, so that samples are the same everywhere
        distance = (self.high - self.low) * jnp.sqrt(0.5 * jnp.minimum(u, 1 - u))
        return jnp.where(u < 0.5, self.low + distance, self.high - distance)

    def sample_from_bits(self, bits):
        return self.icdf(self._event(randomness.uniform(bits, self.dtype.type)))


@register_pair(Triangular, Uniform)
class TriangularPair(Pair):
    """With ell the target's share of the proposal's interval, r runs from 0 to 2 / ell.

    w_P(h) = ell (1 - y) and w_Q(h) = 1 - y^2 for y = h ell / 2 in [0, 1].
    """

    def log_ratio(self, x):
        return self.proposal._sum(_log(self.target.height(x)) + self._peaks())

    def log_ratio_max(self):
        return self.proposal._sum(self._peaks())

    def violations(self) -> Violations:
        q, p = self.target, self.proposal
        outside = (q.low < p.low) | (q.high > p.high)
        return [*super().violations(), ("target: its interval must lie within the proposal's", outside)]

    def bound_violations(self) -> Violations:
        return []

    def widths(self, log_h):
        top = self._scalar(self._peaks())
        depth = jnp.minimum(log_h - top, 0)
        left = -jnp.expm1(depth)  # 1 - y
        return 2 * jnp.exp(-top) * left, left * (1 + jnp.exp(depth))

    def survival(self, log_h):
        return jnp.square(jnp.expm1(jnp.minimum(log_h - self._scalar(self._peaks()), 0)))

    def kl(self):
        return self.proposal._sum(self._peaks() - 0.5)

    def channel_simulation(self):
        return self._scalar(self._peaks()) + 0.5 - jnp.log(2.0).astype(self.proposal.dtype)

    def _peaks(self):
        q, p = self.target, self.proposal
        return jnp.log(2 * ((p.high - p.low) / (q.high - q.low)))


def _log(x):
    """ln x, -inf with gradient zero at zero."""
    return jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1)), -jnp.inf)
