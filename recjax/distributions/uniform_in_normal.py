"""Uniform targets over normal proposals: the channel of dithered quantisation."""

import math

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from recjax.distributions.normal import Normal
from recjax.distributions.pair import Pair, register_pair
from recjax.distributions.uniform import Uniform

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


@register_pair(Uniform, Normal)
class UniformInNormalPair(Pair):
    """Uniform over normal: r = exp(z^2 / 2) sqrt(2 pi) / length on the target's box.

    Here z and the length are standardised by the proposal. The ratio is largest at a corner.
    """

    def log_ratio(self, x: Float[ArrayLike, "*event"]) -> Float[Array, ""]:
        inside = (x >= self.target.low) & (x <= self.target.high)
        return self.proposal._sum(
            jnp.where(inside, self._log_ratios(jnp.square(self.proposal._standardise(x))), -jnp.inf)
        )

    def log_ratio_max(self) -> Float[Array, ""]:
        a, b = self._ends()
        return self.proposal._sum(self._log_ratios(jnp.maximum(a * a, b * b)))

    def kl(self) -> Float[Array, ""] | None:
        a, b = self._ends()
        return self.proposal._sum(self._log_ratios((a * a + a * b + b * b) / 3))

    def _ends(self):
        return self.proposal._standardise(self.target.low), self.proposal._standardise(
            self.target.high
        )

    def _log_ratios(self, square):
        a, b = self._ends()
        return 0.5 * square + _LOG_SQRT_2PI - jnp.log(b - a)
