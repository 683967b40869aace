"""Noncentral chi-square distribution function, as the normal probability of a ball."""

import math

import jax.numpy as jnp
from jax.scipy import special
from jaxtyping import Array, Float

from recjax.distributions.quadrature import gauss_legendre

_NODES = 64
_TAIL = 9.0  # standard deviations beyond which the normal density counts as zero
_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


def ball_mass(low: Float[Array, ""], radius: Float[Array, ""], d: int) -> Float[Array, ""]:
    """Computes the probability of a ball under N(0, I_d).

    This is F(radius^2; d, (low + radius)^2), the noncentral chi-square distribution function. JAX
    has only the central one; with t the coordinate along the axis through the ball's centre,

        F = integral over [low, low + 2 radius] of
            phi(t) F_{d-1}((t - low) (low + 2 radius - t)) dt.

    The relevant part is integrated by Gauss-Legendre quadrature in an angle, t = middle - half
    cos(angle), so that the ends, where the integrand is a half-integer power, are smooth. The
    integrand is positive and its first factor a density: small probabilities are relatively
    accurate (about 1e-5 in float32, 1e-9 in float64).

    Args:
        low: distance of the ball from the origin, negative if the origin lies inside; at least
            -`radius`.
        radius: radius of the ball, not negative.
        d: dimension, at least 1.

    Source: Johnson, Kotz and Balakrishnan, *Continuous univariate distributions* 2, chapter 29 (the
    distribution of |Z + c|^2).

    >>> round(float(ball_mass(jnp.float32(-2.0), jnp.float32(2.0), 2)), 4)  # 1 - exp(-2): centred
    0.8647
    """
    start = jnp.maximum(low, -_TAIL)
    # beyond it, the density falls faster than the power of t grows that the other d - 1 coordinates
    # contribute
    stop = jnp.minimum(low + 2 * radius, jnp.maximum(start, 0) + _TAIL + 1 + math.sqrt(d))
    stop = jnp.maximum(stop, start)
    # F_{d-1} rises from 0 to 1 within this distance of the surface, which may be far shorter than
    # the width of phi: a panel of its own
    rise = d + 10 * math.sqrt(2 * d) + 40
    root = jnp.where(radius * radius > rise, radius * radius - rise, 1)
    depth = jnp.where(radius * radius > rise, rise / (radius + jnp.sqrt(root)), radius)
    split = jnp.clip(low + depth, start, stop)
    return _panel(start, split, low, radius, d) + _panel(split, stop, low, radius, d)


def _panel(start, stop, low, radius, d):
    """Integral over [start, stop]."""
    nodes, weights = gauss_legendre(_NODES, radius.dtype)
    half = 0.5 * (stop - start)
    # 1 - cos as a square: distances from the start stay relatively accurate
    t = 2 * half * jnp.square(jnp.sin(0.5 * math.pi * nodes))
    density = jnp.exp(-0.5 * jnp.square(start + t) - _LOG_SQRT_2PI)
    if d > 1:
        room = ((start - low) + t) * jnp.maximum(2 * radius - (start - low) - t, 0)
        # masked before and after: gammainc is not differentiable at 0
        inside = room > 0
        density = density * jnp.where(
            inside, special.gammainc((d - 1) / 2, jnp.where(inside, room, 1) / 2), 0
        )
    return half * math.pi * jnp.sum(weights * jnp.sin(math.pi * nodes) * density)
