"""Uniform distributions on intervals, and uniform targets in uniform proposals."""

from typing import Any

import jax.numpy as jnp
import numpy.typing as npt
from jaxtyping import Array, ArrayLike, Float, UInt32

from recjax import randomness
from recjax.distributions.base import Distribution, Violations, family, interval
from recjax.distributions.pair import register_pair
from recjax.distributions.step_ratio import StepPair


@family
class Uniform(Distribution):
    """Independent uniform components on [low, high].

    Args:
        low: lower ends.
        high: upper ends; broadcast against `low`.

    Raises:
        ValueError: an end is not finite, ``high`` is not above ``low``, or the shapes do not fit.

    >>> float(Uniform(0.0, 4.0).icdf(0.25))
    1.0
    """

    low: Float[Array, "*event"]
    high: Float[Array, "*event"]

    def __init__(self, low: npt.ArrayLike, high: npt.ArrayLike) -> None:
        self._set(low=low, high=high)

    def violations(self) -> Violations:
        return interval(self.low, self.high)

    def log_prob(self, x: Float[ArrayLike, "*#samples_event"]) -> Float[Array, "..."]:
        inside = (x >= self.low) & (x <= self.high)
        return self._sum(jnp.where(inside, -jnp.log(self.high - self.low), -jnp.inf))

    def cdf(self, x: Float[ArrayLike, "*#samples_event"]) -> Float[Array, "*#samples_event"]:
        return jnp.clip((x - self.low) / (self.high - self.low), 0, 1)

    def mass(
        self, low: Float[Array, "*event"], high: Float[Array, "*event"]
    ) -> Float[Array, "*event"]:
        return jnp.maximum(jnp.minimum(high, self.high) - jnp.maximum(low, self.low), 0) / (
            self.high - self.low
        )

    def icdf(self, u: Float[ArrayLike, "*#samples_event"]) -> Float[Array, "*#samples_event"]:
        return self.low + (self.high - self.low) * u

    def mean(self) -> Float[Array, "*event"]:
        return 0.5 * self.low + 0.5 * self.high

    def variance(self) -> Float[Array, "*event"]:
        return jnp.square(self.high - self.low) / 12

    def sample_from_bits(self, bits: UInt32[Array, "... d"]) -> Float[Array, "*samples_event"]:
        return self._from_tail(*randomness.sign_and_tail(bits, self.dtype))

    def sample_from_quantile(
        self, high: UInt32[Array, "..."], low: UInt32[Array, "..."]
    ) -> Float[Array, "..."]:
        lower, tail, _ = randomness.quantile_parts(high, low, self.dtype)
        return self._from_tail(lower[..., None], tail[..., None])

    def _from_tail(self, lower, tail):
        # each half counts from its end, where floating-point numbers are relatively accurate
        low, width = self.low, self.high - self.low
        x = jnp.where(
            self._event(lower),
            self._affine(low, width, tail),
            self._affine(self.high, -width, tail),
        )
        return jnp.clip(x, self.low, self.high)


@register_pair(Uniform, Uniform)
class UniformPair(StepPair):
    """Uniform in uniform: r is constant on the target's interval, or box, in the proposal's."""

    def log_ratio(self, x: Float[ArrayLike, "*event"]) -> Float[Array, ""]:
        inside = (x >= self.target.low) & (x <= self.target.high)
        return jnp.where(inside.all(), self.log_ratio_max(), -jnp.inf)

    def parts(
        self,
    ) -> tuple[
        Float[Array, "*event parts"], Float[Array, "*event parts"], Float[Array, "*event parts"]
    ]:
        q, p = self.target, self.proposal
        ratios = jnp.log((p.high - p.low) / (q.high - q.low))[..., None]
        return ratios, jnp.exp(-ratios), jnp.ones_like(ratios)

    def violations(self) -> Violations:
        return [*super().violations(), outside(self.target.low, self.target.high, self.proposal)]

    def mode(self) -> Float[Array, "*event"]:
        return 0.5 * self.target.low + 0.5 * self.target.high

    def level_set(
        self, log_h: Float[ArrayLike, ""]
    ) -> tuple[Float[Array, "*event"], Float[Array, "*event"]]:
        return self.target.low, self.target.high

    def log_ratio_max_on(
        self, low: Float[Array, "*event"], high: Float[Array, "*event"]
    ) -> Float[Array, ""]:
        meets = (low < self.target.high) & (high > self.target.low)
        return jnp.where(meets.all(), self.log_ratio_max(), -jnp.inf)

    def _steps(self):
        top = self.log_ratio_max()[None]
        return top, jnp.exp(-top), jnp.ones_like(top)


def outside(low: Any, high: Any, proposal: Uniform) -> tuple[str, Any]:
    """Violation of intervals that must lie in those of the proposal, which have the same shape."""
    message = "target: it must lie within the proposal's interval"
    return message, (low < proposal.low) | (high > proposal.high)
