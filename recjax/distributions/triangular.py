"""Symmetric triangular distributions, as targets over uniform proposals."""

import jax.numpy as jnp
import numpy.typing as npt
from jaxtyping import Array, ArrayLike, Float, UInt32

from recjax import randomness
from recjax.distributions.base import Distribution, Violations, family, interval
from recjax.distributions.pair import Pair, register_pair
from recjax.distributions.uniform import Uniform, outside


@family
class Triangular(Distribution):
    """Independent components with symmetric triangular densities on [low, high].

    Args:
        low: lower ends.
        high: upper ends; broadcast against `low`.

    Raises:
        ValueError: an end is not finite, ``high`` is not above ``low``, or the shapes do not fit.

    >>> float(Triangular(0.0, 4.0).icdf(jnp.float32(0.125)))
    1.0
    """

    low: Float[Array, "*event"]
    high: Float[Array, "*event"]

    def __init__(self, low: npt.ArrayLike, high: npt.ArrayLike) -> None:
        self._set(low=low, high=high)

    def violations(self) -> Violations:
        return interval(self.low, self.high)

    def height(self, x: Float[ArrayLike, "*#samples_event"]) -> Float[Array, "*#samples_event"]:
        """Density relative to its peak 2 / (high - low); zero outside of [low, high]."""
        half = 0.5 * (self.high - self.low)
        return jnp.maximum(jnp.minimum(x - self.low, self.high - x) / half, 0)

    def log_prob(self, x: Float[ArrayLike, "*#samples_event"]) -> Float[Array, "..."]:
        return self._sum(_log(self.height(x)) + jnp.log(2 / (self.high - self.low)))

    def cdf(self, x: Float[ArrayLike, "*#samples_event"]) -> Float[Array, "*#samples_event"]:
        u = jnp.clip((x - self.low) / (self.high - self.low), 0, 1)
        return jnp.where(u < 0.5, 2 * u * u, 1 - 2 * jnp.square(1 - u))

    def mass(
        self, low: Float[Array, "*event"], high: Float[Array, "*event"]
    ) -> Float[Array, "*event"]:
        # trapezoids on either side of the peak: no difference of nearly equal probabilities
        middle = 0.5 * self.low + 0.5 * self.high
        ends = jnp.clip(low, self.low, self.high), jnp.clip(high, self.low, self.high)
        sides = [tuple(bound(x, middle) for x in ends) for bound in (jnp.minimum, jnp.maximum)]
        areas = [(stop - start) * (self.height(start) + self.height(stop)) for start, stop in sides]
        return jnp.maximum(areas[0] + areas[1], 0) / (self.high - self.low)

    def icdf(self, u: Float[ArrayLike, "*#samples_event"]) -> Float[Array, "*#samples_event"]:
        u = jnp.asarray(u)
        # square roots are exactly rounded: samples are the same on every machine
        distance = (self.high - self.low) * jnp.sqrt(0.5 * jnp.minimum(u, 1 - u))
        return jnp.where(u < 0.5, self.low + distance, self.high - distance)

    def mean(self) -> Float[Array, "*event"]:
        return 0.5 * self.low + 0.5 * self.high

    def variance(self) -> Float[Array, "*event"]:
        return jnp.square(self.high - self.low) / 24

    def sample_from_bits(self, bits: UInt32[Array, "... d"]) -> Float[Array, "*samples_event"]:
        return self.icdf(self._event(randomness.uniform(bits, self.dtype.type)))


@register_pair(Triangular, Uniform)
class TriangularPair(Pair):
    """Triangular over uniform.

    With ell the length of the target's interval over that of the proposal's, r runs from 0 to
    2 / ell; w_P(h) = ell (1 - y) and w_Q(h) = 1 - y^2 for y = h ell / 2 in [0, 1].
    """

    def log_ratio(self, x: Float[ArrayLike, "*event"]) -> Float[Array, ""]:
        return self.proposal._sum(_log(self.target.height(x)) + self._peaks())

    def log_ratio_max(self) -> Float[Array, ""]:
        return self.proposal._sum(self._peaks())

    def violations(self) -> Violations:
        return [*super().violations(), outside(self.target.low, self.target.high, self.proposal)]

    def widths(self, log_h: Float[ArrayLike, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        top = self._scalar(self._peaks())
        depth = jnp.minimum(log_h - top, 0)
        left = -jnp.expm1(depth)  # 1 - y
        return 2 * jnp.exp(-top) * left, left * (1 + jnp.exp(depth))

    def survival(self, log_h: Float[ArrayLike, ""]) -> Float[Array, ""]:
        return jnp.square(jnp.expm1(jnp.minimum(log_h - self._scalar(self._peaks()), 0)))

    def stretch(
        self, log_low: Float[ArrayLike, ""], log_high: Float[ArrayLike, ""]
    ) -> Float[Array, ""] | None:
        """Difference of the stretch function sigma(h) = h / (1 - y)."""
        top = self._scalar(self._peaks())
        rise = -jnp.exp(log_high) * jnp.expm1(jnp.subtract(log_low, log_high))
        return rise / (jnp.expm1(log_low - top) * jnp.expm1(log_high - top))

    def mode(self) -> Float[Array, "*event"]:
        return 0.5 * self.target.low + 0.5 * self.target.high

    def level_set(
        self, log_h: Float[ArrayLike, ""]
    ) -> tuple[Float[Array, "*event"], Float[Array, "*event"]]:
        """The middle -+ (1 - y) times half the length."""
        length = self.target.high - self.target.low
        reach = -0.5 * jnp.expm1(jnp.minimum(log_h - self._peaks(), 0)) * length
        return self.mode() - reach, self.mode() + reach

    def kl(self) -> Float[Array, ""] | None:
        return self.proposal._sum(self._peaks() - 0.5)

    def channel_simulation(self) -> Float[Array, ""] | None:
        return self._scalar(self._peaks()) + 0.5 - jnp.log(2.0).astype(self.proposal.dtype)

    def _peaks(self):
        q, p = self.target, self.proposal
        return jnp.log(2 * ((p.high - p.low) / (q.high - q.low)))


def _log(x):
    """ln x; -inf with gradient zero at x = 0."""
    return jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1)), -jnp.inf)
