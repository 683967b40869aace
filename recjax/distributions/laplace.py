"""Laplace distributions and pairs of them."""

import math

import jax.numpy as jnp
import numpy.typing as npt
from jax import lax
from jaxtyping import Array, ArrayLike, Float, UInt32

from recjax import randomness
from recjax.distributions.base import Distribution, Violations, family, finite, positive
from recjax.distributions.pair import Pair, register_pair

_LOG_2 = math.log(2)
_FAR = 1e4  # stands for infinity: at equal scales the ratio is constant beyond both medians


@family
class Laplace(Distribution):
    """Independent Laplace (double exponential) components.

    Args:
        loc: medians.
        scale: mean absolute deviations, positive; broadcast against ``loc``.

    Raises:
        ValueError: a parameter is not finite, ``scale`` is not positive, or the shapes do not fit.

    >>> float(Laplace(0.0, 1.0).cdf(0.0))
    0.5
    """

    loc: Float[Array, "*event"]
    scale: Float[Array, "*event"]

    def __init__(self, loc: npt.ArrayLike, scale: npt.ArrayLike) -> None:
        self._set(loc=loc, scale=scale)

    def violations(self) -> Violations:
        return [finite("loc", self.loc), positive("scale", self.scale)]

    def log_prob(self, x: Float[ArrayLike, "*#samples_event"]) -> Float[Array, "..."]:
        return self._sum(-jnp.abs(x - self.loc) / self.scale - jnp.log(self.scale) - _LOG_2)

    def cdf(self, x: Float[ArrayLike, "*#samples_event"]) -> Float[Array, "*#samples_event"]:
        z = (x - self.loc) / self.scale
        tail = 0.5 * jnp.exp(-jnp.abs(z))
        return jnp.where(z < 0, tail, 1 - tail)

    def mass(
        self, low: Float[Array, "*event"], high: Float[Array, "*event"]
    ) -> Float[Array, "*event"]:
        # on either side of the median, a tail times a fraction of it: no difference of nearly equal
        # probabilities
        a, b = (low - self.loc) / self.scale, (high - self.loc) / self.scale
        left = -jnp.exp(jnp.minimum(b, 0)) * jnp.expm1(jnp.minimum(a, 0) - jnp.minimum(b, 0))
        right = -jnp.exp(-jnp.maximum(a, 0)) * jnp.expm1(jnp.maximum(a, 0) - jnp.maximum(b, 0))
        return 0.5 * (left + right)

    def icdf(self, u: Float[ArrayLike, "*#samples_event"]) -> Float[Array, "*#samples_event"]:
        tail = jnp.minimum(u, 1 - u)
        return self.loc + jnp.sign(u - 0.5) * -self.scale * jnp.log(2 * tail)

    def mean(self) -> Float[Array, "*event"]:
        return self.loc

    def variance(self) -> Float[Array, "*event"]:
        return 2 * jnp.square(self.scale)

    def sample_from_bits(self, bits: UInt32[Array, "... d"]) -> Float[Array, "*samples_event"]:
        return self._affine(self.loc, self.scale, randomness.laplace(bits, self.dtype))

    def sample_from_quantile(
        self, high: UInt32[Array, "..."], low: UInt32[Array, "..."]
    ) -> Float[Array, "..."]:
        return self._affine(
            self.loc, self.scale, randomness.laplace_quantile(high, low, self.dtype)[..., None]
        )


@register_pair(Laplace, Laplace)
class LaplacePair(Pair):
    """Q = L(m, b) over P = L(0, 1), standardised: the ratio is bounded for b <= 1, its mode m."""

    def __init__(self, target: Laplace, proposal: Laplace) -> None:
        super().__init__(target, proposal)
        self.shift = (target.loc - proposal.loc) / proposal.scale
        self.scale = target.scale / proposal.scale
        self.shrink = (proposal.scale - target.scale) / proposal.scale

    def log_ratio(self, x: Float[ArrayLike, "*event"]) -> Float[Array, ""]:
        q, p = self.target, self.proposal
        # the barrier keeps the products from being fused into the sum, in some batch sizes only
        z, y = (lax.optimization_barrier(jnp.abs(x - d.loc) * (1 / d.scale)) for d in (p, q))
        return p._sum(z - y) - p._sum(jnp.log(self.scale))

    def log_ratio_max(self) -> Float[Array, ""]:
        return self.proposal._sum(
            jnp.where(self.shrink >= 0, jnp.abs(self.shift) - jnp.log(self.scale), jnp.inf)
        )

    def bound_violations(self) -> Violations:
        message = "target: the density ratio is unbounded, its scale must not exceed the proposal's"
        return [(message, self.target.scale > self.proposal.scale)]

    def widths(self, log_h: Float[ArrayLike, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        m, b, left, right = self._level_set(log_h)
        w_q = -0.5 * (jnp.expm1(-left / b) + jnp.expm1(-right / b))
        # the left side of the level set is cut at 0, the median of P
        below, above = jnp.minimum(left, m), jnp.maximum(left - m, 0)
        w_p = 0.5 * (
            jnp.exp(-(m - below)) * -jnp.expm1(-below)
            - jnp.expm1(-above)
            - jnp.exp(-m) * jnp.expm1(-right)
        )
        empty = log_h > self.log_ratio_max()
        return jnp.where(empty, 0, w_p), jnp.where(empty, 0, w_q)

    def kinks(self) -> Float[Array, "k"]:
        m, b = jnp.abs(self._scalar(self.shift)), self._scalar(self.scale)
        return (-m / b - jnp.log(b))[None]

    def mode(self) -> Float[Array, "*event"]:
        return self.target.loc

    def level_set(
        self, log_h: Float[ArrayLike, ""]
    ) -> tuple[Float[Array, "*event"], Float[Array, "*event"]]:
        _, _, left, right = self._level_set(log_h)
        # `left` is the side of the proposal's median, which may be on the right of the target's
        towards = self.proposal.loc < self.target.loc
        shape, scale = self.proposal.event_shape, self.proposal.scale
        left, right = left.reshape(shape) * scale, right.reshape(shape) * scale
        return self.mode() - jnp.where(towards, left, right), self.mode() + jnp.where(
            towards, right, left
        )

    def kl(self) -> Float[Array, ""] | None:
        m, b = jnp.abs(self.shift), self.scale
        # near b = 1 from 1 - b itself: no cancellation
        log_b = jnp.where(b < 0.5, jnp.log(b), jnp.log1p(-jnp.minimum(self.shrink, 0.5)))
        return self.proposal._sum(m + b * jnp.expm1(-m / b) - self.shrink - log_b)

    def _level_set(self, log_h):
        """m, b, left and right of {r >= h} = [m - left, m + right], for m >= 0 by symmetry."""
        m, b, shrink = (self._scalar(p) for p in (jnp.abs(self.shift), self.scale, self.shrink))
        depth = jnp.maximum(self.log_ratio_max() - log_h, 0)
        slope = jnp.where(shrink > 0, shrink, 1) / b  # of -ln r beyond both medians
        to_zero = m * (1 + 1 / b)
        right = jnp.where(shrink > 0, depth / slope, _FAR)
        beyond = jnp.where(shrink > 0, (depth - to_zero) / slope, _FAR)
        left = jnp.where(depth <= to_zero, depth / (1 + 1 / b), m + beyond)
        return m, b, left, right
