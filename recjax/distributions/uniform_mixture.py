"""Mixtures of disjoint uniform intervals, as targets in uniform proposals."""

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, ArrayLike, Float, UInt32

from recjax import randomness
from recjax.distributions.base import Distribution, Violations, family, interval
from recjax.distributions.pair import register_pair
from recjax.distributions.step_ratio import StepPair
from recjax.distributions.uniform import Uniform, outside


@family
class UniformMixture(Distribution):
    """Independent components, each a mixture of uniform distributions on disjoint intervals.

    Args:
        low: lower ends, `[*event, modes]`: the last axis lists the intervals.
        high: upper ends, likewise.
        weights: probabilities of the intervals up to a common factor, not negative.

    Raises:
        ValueError: an end is not finite, `high` is not above `low`, intervals overlap, weights are
            negative or all zero, or the shapes do not fit.

    >>> float(UniformMixture([0.0, 2.0], [1.0, 3.0], [1.0, 3.0]).cdf(jnp.float32(2.0)))
    0.25
    """

    low: Float[Array, "*event modes"]
    high: Float[Array, "*event modes"]
    weights: Float[Array, "*event modes"]

    def __init__(self, low: npt.ArrayLike, high: npt.ArrayLike, weights: npt.ArrayLike) -> None:
        low, high, weights = (
            np.asarray(v) if isinstance(v, list | tuple) else v for v in (low, high, weights)
        )
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
            *interval(self.low, self.high),
            ("low: intervals must not overlap", overlap & ~np.eye(self.low.shape[-1], dtype=bool)),
            (
                "weights must be finite and not negative",
                ~((self.weights >= 0) & (self.weights < np.inf)),
            ),
            ("weights must not all be zero", ~(self.weights.max(-1) > 0)),
        ]

    def probabilities(self) -> Float[Array, "*event modes"]:
        """Probability of each interval."""
        return self.weights / self.weights.sum(-1, keepdims=True)

    def log_densities(self) -> Float[Array, "*event modes"]:
        """Log density in each interval; -inf if its weight is zero."""
        share = self.probabilities()
        # masked twice: log(0) would make gradients NaN
        density = jnp.log(jnp.where(share > 0, share, 1)) - jnp.log(self.high - self.low)
        return jnp.where(share > 0, density, -jnp.inf)

    def pick(
        self, table: Float[Array, "*event modes"], x: Float[ArrayLike, "*#samples_event"]
    ) -> Float[Array, "*#samples_event"]:
        """Largest entry of `table` among the intervals that contain x; -inf outside of all."""
        x = jnp.asarray(x)[..., None]
        return jnp.max(jnp.where((x >= self.low) & (x <= self.high), table, -jnp.inf), -1)

    def log_prob(self, x: Float[ArrayLike, "*#samples_event"]) -> Float[Array, "..."]:
        return self._sum(self.pick(self.log_densities(), x))

    def cdf(self, x: Float[ArrayLike, "*#samples_event"]) -> Float[Array, "*#samples_event"]:
        covered = jnp.clip((jnp.asarray(x)[..., None] - self.low) / (self.high - self.low), 0, 1)
        return jnp.sum(self.probabilities() * covered, -1)

    def mass(
        self, low: Float[Array, "*event"], high: Float[Array, "*event"]
    ) -> Float[Array, "*event"]:
        low, high = jnp.asarray(low)[..., None], jnp.asarray(high)[..., None]
        covered = jnp.maximum(jnp.minimum(high, self.high) - jnp.maximum(low, self.low), 0) / (
            self.high - self.low
        )
        return jnp.sum(self.probabilities() * covered, -1)

    def icdf(self, u: Float[ArrayLike, "*#samples_event"]) -> Float[Array, "*#samples_event"]:
        order = jnp.argsort(self.low, -1)
        low, high, share = (
            jnp.take_along_axis(v, order, -1) for v in (self.low, self.high, self.probabilities())
        )
        start = jnp.cumsum(share, -1) - share
        # an interval of weight zero never contains u
        inside = (jnp.asarray(u)[..., None] >= start) & (share > 0)
        part = jnp.clip((jnp.asarray(u)[..., None] - start) / jnp.where(share > 0, share, 1), 0, 1)
        return jnp.max(jnp.where(inside, low + (high - low) * part, -jnp.inf), -1)

    def mean(self) -> Float[Array, "*event"]:
        return jnp.sum(self.probabilities() * (0.5 * self.low + 0.5 * self.high), -1)

    def variance(self) -> Float[Array, "*event"]:
        apart = 0.5 * self.low + 0.5 * self.high - self.mean()[..., None]
        inside = jnp.square(self.high - self.low) / 12
        return jnp.sum(self.probabilities() * (inside + jnp.square(apart)), -1)

    def sample_from_bits(self, bits: UInt32[Array, "... d"]) -> Float[Array, "*samples_event"]:
        return self.icdf(self._event(randomness.uniform(bits, self.dtype.type)))


@register_pair(UniformMixture, Uniform)
class UniformMixturePair(StepPair):
    """Mixture in uniform: r is constant on each interval.

    It has several modes: coders that need a unimodal ratio refuse it.
    """

    def log_ratio(self, x: Float[ArrayLike, "*event"]) -> Float[Array, ""]:
        return self.proposal._sum(self.target.pick(self.parts()[0], x))

    def parts(
        self,
    ) -> tuple[
        Float[Array, "*event parts"], Float[Array, "*event parts"], Float[Array, "*event parts"]
    ]:
        q, length = self.target, (self.proposal.high - self.proposal.low)[..., None]
        return q.log_densities() + jnp.log(length), (q.high - q.low) / length, q.probabilities()

    def violations(self) -> Violations:
        q, p = self.target, jax.tree.map(lambda x: x[..., None], self.proposal)
        return [*super().violations(), outside(q.low, q.high, p)]

    def log_ratio_max_on(
        self, low: Float[Array, "*event"], high: Float[Array, "*event"]
    ) -> Float[Array, ""]:
        q = self.target
        meets = (low[..., None] < q.high) & (high[..., None] > q.low)
        return self.proposal._sum(jnp.max(jnp.where(meets, self.parts()[0], -jnp.inf), -1))
