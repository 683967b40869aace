"""Logistic distributions."""

import math

import jax
import jax.numpy as jnp
import numpy.typing as npt
from jaxtyping import Array, ArrayLike, Float, UInt32

from recjax import randomness
from recjax.distributions.base import Distribution, Violations, family, finite, positive


@family
class Logistic(Distribution):
    """Independent logistic components, of standard deviation pi / sqrt(3) = 1.81 times the scale.

    Args:
        loc: means.
        scale: scales, positive; broadcast against ``loc``.

    Raises:
        ValueError: a parameter is not finite, ``scale`` is not positive, or the shapes do not fit.

    >>> float(Logistic(0.0, 1.0).cdf(0.0))
    0.5
    """

    loc: Float[Array, "*event"]
    scale: Float[Array, "*event"]

    def __init__(self, loc: npt.ArrayLike, scale: npt.ArrayLike) -> None:
        self._set(loc=loc, scale=scale)

    def violations(self) -> Violations:
        return [finite("loc", self.loc), positive("scale", self.scale)]

    def log_prob(self, x: Float[ArrayLike, "*#samples_event"]) -> Float[Array, "..."]:
        z = jnp.abs(x - self.loc) / self.scale
        return self._sum(-z - 2 * jnp.log1p(jnp.exp(-z)) - jnp.log(self.scale))

    def cdf(self, x: Float[ArrayLike, "*#samples_event"]) -> Float[Array, "*#samples_event"]:
        return jax.nn.sigmoid((x - self.loc) / self.scale)

    def mass(
        self, low: Float[Array, "*event"], high: Float[Array, "*event"]
    ) -> Float[Array, "*event"]:
        # F(b) - F(a) = (1 - e^(a - b)) F(b) F(-a): no difference of nearly equal probabilities
        a, b = (low - self.loc) / self.scale, (high - self.loc) / self.scale
        return -jnp.expm1(a - b) * jax.nn.sigmoid(b) * jax.nn.sigmoid(-a)

    def icdf(self, u: Float[ArrayLike, "*#samples_event"]) -> Float[Array, "*#samples_event"]:
        return self.loc + self.scale * (jnp.log(u) - jnp.log1p(-jnp.asarray(u)))

    def mean(self) -> Float[Array, "*event"]:
        return self.loc

    def variance(self) -> Float[Array, "*event"]:
        return math.pi**2 / 3 * jnp.square(self.scale)

    def sample_from_bits(self, bits: UInt32[Array, "... d"]) -> Float[Array, "*samples_event"]:
        z = _quantile(*randomness.sign_and_tail(bits, self.dtype))
        return self._affine(self.loc, self.scale, z)

    def sample_from_quantile(
        self, high: UInt32[Array, "..."], low: UInt32[Array, "..."]
    ) -> Float[Array, "..."]:
        lower, tail, _ = randomness.quantile_parts(high, low, self.dtype)
        return self._affine(self.loc, self.scale, _quantile(lower, tail)[..., None])


def _quantile(lower, tail):
    """Standard logistic quantile; near the median from 1 - 2 tail, which is exact there."""
    centre = 1 - 2 * tail
    far = jnp.log1p(-tail) - jnp.log(tail)
    magnitude = jnp.where(tail > 0.25, 2 * jnp.arctanh(jnp.where(tail > 0.25, centre, 0)), far)
    return jnp.where(lower, -magnitude, magnitude)
