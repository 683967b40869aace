"""Uniform targets over Laplace and logistic proposals: channels of dithered quantisation."""

import abc
import math

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from recjax.distributions.laplace import Laplace
from recjax.distributions.logistic import Logistic
from recjax.distributions.pair import Pair, register_pair
from recjax.distributions.quadrature import integral
from recjax.distributions.uniform import Uniform


class UniformInTailsPair(Pair):
    """Uniform over a symmetric proposal whose density falls with the distance z from its centre.

    Here z is in units of the proposal's scale. The ratio is largest at an end of the target.
    """

    @abc.abstractmethod
    def surprisal(self, z: Float[Array, "*event"]) -> Float[Array, "*event"]:
        """-ln of the standard density at the distance ``z`` from the centre."""

    @abc.abstractmethod
    def mean_surprisal(
        self, a: Float[Array, "*event"], b: Float[Array, "*event"]
    ) -> Float[Array, "*event"]:
        """Mean of `surprisal` over the interval [a, b] of the standardised line."""

    def log_ratio(self, x: Float[ArrayLike, "*event"]) -> Float[Array, ""]:
        inside = (x >= self.target.low) & (x <= self.target.high)
        ratio = self.surprisal(jnp.abs(self._standardise(x))) - self._log_length()
        return self.proposal._sum(jnp.where(inside, ratio, -jnp.inf))

    def log_ratio_max(self) -> Float[Array, ""]:
        a, b = self._ends()
        furthest = jnp.maximum(jnp.abs(a), jnp.abs(b))
        return self.proposal._sum(self.surprisal(furthest) - self._log_length())

    def kl(self) -> Float[Array, ""] | None:
        return self.proposal._sum(self.mean_surprisal(*self._ends()) - self._log_length())

    def _standardise(self, x):
        return (x - self.proposal.loc) / self.proposal.scale

    def _ends(self):
        return self._standardise(self.target.low), self._standardise(self.target.high)

    def _log_length(self):
        return jnp.log((self.target.high - self.target.low) / self.proposal.scale)


@register_pair(Uniform, Laplace)
class UniformInLaplacePair(UniformInTailsPair):
    """Uniform over Laplace."""

    def surprisal(self, z: Float[Array, "*event"]) -> Float[Array, "*event"]:
        return z + math.log(2)

    def mean_surprisal(
        self, a: Float[Array, "*event"], b: Float[Array, "*event"]
    ) -> Float[Array, "*event"]:
        return _mean_distance(a, b) + math.log(2)


@register_pair(Uniform, Logistic)
class UniformInLogisticPair(UniformInTailsPair):
    """Uniform over logistic."""

    def surprisal(self, z: Float[Array, "*event"]) -> Float[Array, "*event"]:
        return z + 2 * jnp.log1p(jnp.exp(-z))

    def mean_surprisal(
        self, a: Float[Array, "*event"], b: Float[Array, "*event"]
    ) -> Float[Array, "*event"]:
        near = _log1p_integral(jnp.maximum(a, 0), jnp.maximum(b, 0))
        near = near + _log1p_integral(jnp.maximum(-b, 0), jnp.maximum(-a, 0))
        return _mean_distance(a, b) + 2 * near / (b - a)


def _mean_distance(a, b):
    """Mean of |z| over [a, b]."""
    apart = a * b < 0
    return jnp.where(apart, (a * a + b * b) / (2 * (b - a)), 0.5 * jnp.abs(a + b))


def _log1p_integral(low, high):
    """Integral of ln(1 + e^-z) over [low, high], 0 <= low, by quadrature over x = e^-z."""
    least, length = jnp.exp(-high), -jnp.exp(-low) * jnp.expm1(low - high)

    def height(t):
        x = least + length * t
        # ln(1 + x) / x, which is 1 where e^-z has become 0
        return jnp.where(x > 0, jnp.log1p(x) / jnp.where(x > 0, x, 1), 1)

    return length * integral(height, 12, length.dtype)
