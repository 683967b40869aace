"""Normal distributions and pairs of them."""

import math

import jax.numpy as jnp
import numpy.typing as npt
from jax.scipy import special
from jaxtyping import Array, ArrayLike, Float, UInt32

from recjax import randomness
from recjax.distributions.base import Distribution, Violations, family, finite, positive
from recjax.distributions.isotropic import isotropic_widths, isotropy_violations
from recjax.distributions.pair import Pair, register_pair
from recjax.distributions.quadrature import integral

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


@family
class Normal(Distribution):
    """Independent normal components.

    Args:
        loc: means.
        scale: standard deviations, positive; broadcast against ``loc``.

    Raises:
        ValueError: a parameter is not finite, ``scale`` is not positive, or the shapes do not fit.

    >>> round(float(Normal(1.0, 2.0).log_prob(1.0)), 4)
    -1.6121
    """

    loc: Float[Array, "*event"]
    scale: Float[Array, "*event"]

    def __init__(self, loc: npt.ArrayLike, scale: npt.ArrayLike) -> None:
        self._set(loc=loc, scale=scale)

    def violations(self) -> Violations:
        return [finite("loc", self.loc), positive("scale", self.scale)]

    def log_prob(self, x: Float[ArrayLike, "*#samples_event"]) -> Float[Array, "..."]:
        z = self._standardise(jnp.asarray(x))
        return self._sum(-0.5 * z * z - jnp.log(self.scale) - _LOG_SQRT_2PI)

    def cdf(self, x: Float[ArrayLike, "*#samples_event"]) -> Float[Array, "*#samples_event"]:
        return special.ndtr((x - self.loc) / self.scale)

    def icdf(self, u: Float[ArrayLike, "*#samples_event"]) -> Float[Array, "*#samples_event"]:
        return self.loc + self.scale * special.ndtri(u)

    def _standardise(self, x):
        return (x - self.loc) / self.scale

    def mean(self) -> Float[Array, "*event"]:
        return self.loc

    def variance(self) -> Float[Array, "*event"]:
        return jnp.square(self.scale)

    def sample_from_bits(self, bits: UInt32[Array, "... d"]) -> Float[Array, "*samples_event"]:
        return self._affine(self.loc, self.scale, randomness.normal(bits, self.dtype))

    def sample_from_quantile(
        self, high: UInt32[Array, "..."], low: UInt32[Array, "..."]
    ) -> Float[Array, "..."]:
        return self._affine(
            self.loc, self.scale, randomness.normal_quantile(high, low, self.dtype)[..., None]
        )


@register_pair(Normal, Normal)
class NormalPair(Pair):
    """Q = N(m, s^2) over P = N(0, 1) after standardisation by the proposal.

    For s < 1: ln r(z) = ln r_max - a (z - c)^2 with c = m / (1 - s^2), a = (1 - s^2) / (2 s^2).
    """

    def __init__(self, target: Normal, proposal: Normal) -> None:
        super().__init__(target, proposal)
        self.shift = (target.loc - proposal.loc) / proposal.scale
        self.scale = target.scale / proposal.scale
        # 1 - s^2, exactly zero when the scales are equal
        self.shrink = (proposal.scale - target.scale) / proposal.scale * (1 + self.scale)

    def log_ratio(self, x: Float[ArrayLike, "*event"]) -> Float[Array, ""]:
        z, y = self.proposal._standardise(x), self.target._standardise(x)
        return self.proposal._sum(0.5 * (z - y) * (z + y)) - self.proposal._sum(jnp.log(self.scale))

    def log_ratio_max(self) -> Float[Array, ""]:
        m, shrink = self.shift, self.shrink
        peak = jnp.where(m == 0, 0, m * m / (2 * jnp.where(shrink > 0, shrink, 1)))
        return self.proposal._sum(
            jnp.where((shrink > 0) | (m == 0) & (shrink == 0), peak - jnp.log(self.scale), jnp.inf)
        )

    def bound_violations(self) -> Violations:
        message = (
            "target: the density ratio is unbounded, its scale must be smaller than the proposal's"
        )
        q, p = self.target, self.proposal
        return [
            (
                f"{message} (or both distributions equal)",
                (q.scale > p.scale) | (q.scale == p.scale) & (q.loc != p.loc),
            )
        ]

    def width_violations(self) -> Violations:
        return isotropy_violations(self.scale) if self.proposal.event_size > 1 else []

    def widths(self, log_h: Float[ArrayLike, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        if self.proposal.event_size > 1:
            return isotropic_widths(
                self.shift, self.scale, self.shrink, log_h, self.log_ratio_max()
            )
        centre, rho, near = self._level_set(log_h)
        m, s = jnp.abs(self._scalar(self.shift)), self._scalar(self.scale)
        end, empty = centre + rho, log_h > self.log_ratio_max()
        w_p = _mass(near, end, centre, rho)
        w_q = _mass((near - m) / s, (end - m) / s, (centre - m) / s, rho / s)
        return jnp.where(empty, 0, w_p), jnp.where(empty, 0, w_q)

    def survival(self, log_h: Float[ArrayLike, ""]) -> Float[Array, ""]:
        if self.proposal.event_size > 1:
            return super().survival(log_h)
        depth = jnp.maximum(self.log_ratio_max() - log_h, 0)
        centre, rho, _ = self._level_set(log_h)

        def excess(node):
            tau = 2 * node - 1
            return jnp.expm1(depth * (1 - tau) * (1 + tau)) * jnp.exp(
                -0.5 * jnp.square(centre + rho * tau)
            )

        near = 2 * rho * jnp.exp(log_h - _LOG_SQRT_2PI) * integral(excess, 12, depth.dtype)
        w_p, w_q = self.widths(log_h)
        # quadrature where the integrand is smooth; elsewhere the difference does not cancel
        smooth = (depth < 1.5) & (rho * (rho + centre) < 20)
        return jnp.where(smooth, near, jnp.maximum(w_q - jnp.exp(log_h) * w_p, 0))

    def mode(self) -> Float[Array, "*event"]:
        shrink = jnp.where(self.shrink > 0, self.shrink, 1)
        return self.proposal.loc + self.proposal.scale * jnp.where(
            self.shrink > 0, self.shift / shrink, 0
        )

    def level_set(
        self, log_h: Float[ArrayLike, ""]
    ) -> tuple[Float[Array, "*event"], Float[Array, "*event"]]:
        _, rho, _ = self._level_set(log_h)
        centre, rho = self.mode(), self.proposal.scale * rho.reshape(self.proposal.event_shape)
        return centre - rho, centre + rho

    def masses(
        self, low: Float[Array, "*event"], high: Float[Array, "*event"]
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        def mass(distribution):
            a, b = (self._scalar((x - distribution.loc) / distribution.scale) for x in (low, high))
            return _mass(a, b, 0.5 * (a + b), 0.5 * (b - a))

        return mass(self.proposal), mass(self.target)

    def kl(self) -> Float[Array, ""] | None:
        m, s = self.shift, self.scale
        return self.proposal._sum(0.5 * (m * m - self.shrink) - jnp.log(s))

    def _level_set(self, log_h):
        """Centre, rho and centre - rho of {r >= h} = [centre - rho, centre + rho], for m >= 0.

        The lower end is computed without cancellation where the centre is close to rho.
        """
        m, s = jnp.abs(self._scalar(self.shift)), self._scalar(self.scale)
        shrink = self._scalar(self.shrink)
        top = self.log_ratio_max()
        depth = jnp.clip(top - log_h, 0, 1e6)  # finite at h = 0
        # equal scales: the level set is the whole line, for which 1e4 stands
        safe = jnp.where(shrink > 0, shrink, 1)
        a = safe / (2 * s * s)
        centre = jnp.where(shrink > 0, m / safe, 0)
        rho = jnp.where(shrink > 0, _sqrt(depth / a), 1e4)
        end = centre + rho
        near = (m * m / (2 * s * s) + jnp.log(s) + top - depth) / (a * jnp.where(end > 0, end, 1))
        return (
            centre,
            rho,
            jnp.where((shrink > 0) & (end > 0) & (rho * (1 + centre) > 0.5), near, centre - rho),
        )


def _mass(low, high, centre, rho):
    """Standard normal probability of [low, high] = centre -+ rho.

    It is relatively accurate also for narrow intervals and in the tails.
    """
    narrow = rho * (1 + jnp.abs(centre)) < 1
    half = jnp.where(narrow, rho, 0)

    def density(t):
        return jnp.exp(-0.5 * jnp.square(centre + half * (2 * t - 1)) - _LOG_SQRT_2PI)

    # the difference of the smaller tails, which cancels less
    flip = low + high > 0
    tails = special.ndtr(jnp.where(flip, -low, high)) - special.ndtr(jnp.where(flip, -high, low))
    return jnp.where(narrow, 2 * half * integral(density, 6, rho.dtype), tails)


def _sqrt(x):
    """Square root with gradient zero at zero."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)
