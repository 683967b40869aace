"""The stretch function sigma of greedy Poisson rejection sampling, and cheap bounds of it.

sigma(h) is the integral of 1 / S over [0, h], S(h) = w_Q(h) - h w_P(h) = E_P[(r - h)^+], a convex
falling function with derivative -w_P (Flamich, *Greedy Poisson rejection sampling*, NeurIPS 2023).
"""

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from recjax.distributions.pair import Pair
from recjax.distributions.quadrature import gauss_legendre
from recjax.samplers._search.fence import computed_once


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Level:
    """A value h of the density ratio, with the functions of it that the search needs.

    Attributes:
        log_h: ln h.
        stretched: sigma(h).
        survival: S(h).
        width: w_P(h).
    """

    log_h: Float[Array, ""]
    stretched: Float[Array, ""]
    survival: Float[Array, ""]
    width: Float[Array, ""]


def ground(dtype: Any) -> Level:
    """The level 0, with w_P = 1.

    That is exact for targets whose support is all of the proposal's, for others an upper bound.
    """
    zero, one = jnp.zeros((), dtype), jnp.ones((), dtype)
    return Level(jnp.full((), -jnp.inf, dtype), zero, one, one)


def raised(pair: Pair, level: Level, log_h: Float[Array, ""]) -> Level:
    """The level ``log_h``, which lies above ``level``."""
    stretched = level.stretched + stretch_between(pair, level.log_h, log_h)
    return Level(log_h, stretched, pair.survival(log_h), pair.widths(log_h)[0])


def stretch_bounds(
    pair: Pair, level: Level, log_h: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Lower and upper bound of sigma(h) for h above ``level``.

    S lies below its chord and above its tangents at both ends. The bounds hold up to rounding, for
    which they are moved apart by a relative 1e-4. They are NaN where S underflows.
    """
    step = (jnp.exp(log_h) - jnp.exp(level.log_h)) / level.survival
    survival, width = computed_once(
        (pair.survival(log_h), pair.widths(log_h)[0]), level.survival < 0
    )
    # S and its slope at h relative to those at the level
    fall, slope = survival / level.survival, width / level.width
    log_fall = -jnp.log(fall)
    curved = log_fall > 1e-3  # below that the quotient is 0 / 0 up to rounding, and step its limit
    below = jnp.where(curved, step * log_fall / (1 - fall), step)
    # S where the tangents meet
    meet = jnp.clip((fall - slope + slope * level.width * step) / (1 - slope), fall, 1)
    log_meet = -jnp.log(meet)
    above = (log_meet + (log_fall - log_meet) / slope) / level.width
    # nearly parallel tangents do not meet: there S is at least its value at h
    above = jnp.where(curved & (slope < 0.99), above, step / fall)
    return level.stretched + 0.9999 * below, level.stretched + 1.0001 * above


def stretch_between(
    pair: Pair, log_low: Float[Array, ""], log_high: Float[Array, ""]
) -> Float[Array, ""]:
    """sigma(high) - sigma(low) for low < high < max r, with a relative error of about 1e-6."""
    closed = pair.stretch(log_low, log_high)
    if closed is not None:
        return closed
    # by quadrature between the points where the widths are not smooth
    cuts = [log_low, *jnp.clip(jnp.sort(pair.kinks()), log_low, log_high), log_high]
    return jnp.sum(
        jnp.stack([_quadrature(pair, low, high) for low, high in itertools.pairwise(cuts)])
    )


def _quadrature(
    pair: Pair, log_low: Float[Array, ""], log_high: Float[Array, ""]
) -> Float[Array, ""]:
    """sigma(high) - sigma(low) for widths that are smooth in between.

    The integral is over g = h / sqrt(1 - h / max r), in which sigma is nearly linear at both ends.
    """
    top = pair.log_ratio_max()
    low, high = (
        jnp.exp(log_h - 0.5 * jnp.log(-jnp.expm1(log_h - top))) for log_h in (log_low, log_high)
    )
    nodes, weights = gauss_legendre(16, top.dtype)

    def derivative(g):
        g = jnp.maximum(g, jnp.finfo(g.dtype).tiny)  # no logarithm of 0
        half = 0.5 * jnp.exp(jnp.log(g) - top)
        ratio = 1 / (half + jnp.sqrt(1 + half * half))  # h / g
        gap = ratio * ratio  # 1 - h / max r
        log_h = jnp.where(gap < 0.5, top + jnp.log1p(-gap), jnp.log(g * ratio))
        return ratio * 2 * gap / (1 + gap) / pair.survival(log_h)

    # cubic spacing: sigma bends on the scale of g itself
    values = jax.vmap(derivative)(low + (high - low) * nodes**3)
    return (high - low) * jnp.sum(weights * 3 * nodes**2 * values)
