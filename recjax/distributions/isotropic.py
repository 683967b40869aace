"""Width functions of isotropic normal vectors: the level sets of the density ratio are balls."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from recjax.distributions.base import Violations
from recjax.distributions.noncentral_chi2 import ball_mass

_SAME = 16  # units of rounding by which scales may differ and still count as equal
_FAR = 1e4  # radius that stands for the whole space


def isotropic_widths(
    shift: Float[Array, "*event"],
    scale: Float[Array, "*event"],
    shrink: Float[Array, "*event"],
    log_h: Float[ArrayLike, ""],
    top: Float[Array, ""],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Computes w_P and w_Q of Q = N(m, s^2 I) over P = N(0, I) for s < 1.

    {r >= h} is the ball of radius rho = sqrt((top - log_h) / a) around c = m / (1 - s^2), with
    a = (1 - s^2) / (2 s^2). Its probabilities are noncentral chi-square distribution functions:
    F(rho^2; d, |c|^2) under P and F(rho^2 / s^2; d, |c - m|^2 / s^2) under Q.

    Args:
        shift: m, standardised by the proposal.
        scale: s, standardised; equal in all components.
        shrink: 1 - s^2.
        log_h: level in nats.
        top: largest ln r in nats.

    Returns:
        w_P(h) and w_Q(h); NaN if the components of s differ.

    Source: Goc and Flamich, *On channel simulation with causal rejection samplers*, ISIT 2024,
    section on Gaussians.
    """
    d = shift.size
    s, shrink_1 = jnp.mean(scale), jnp.mean(shrink)
    m = _sqrt(jnp.sum(shift * shift))
    # s = 1 is valid for equal distributions only, where the level set is everything or nothing; the
    # masks below keep NaN out of it, and out of gradients
    below = shrink_1 > 0
    a = jnp.where(below, shrink_1, 1) / (2 * s * s)
    centre = jnp.where(below, m / jnp.where(below, shrink_1, 1), 0)
    rho = jnp.where(below, _sqrt(jnp.clip(top - log_h, 0, 1e6) / a), _FAR)
    # the end of the ball nearer to 0, (|c|^2 - rho^2) / (|c| + rho), from h itself: no cancellation
    # if both are large
    end = centre + rho
    level = (m * m / (2 * s * s) + d * jnp.log(s) + jnp.maximum(log_h, top - 1e6)) / (
        a * jnp.where(end > 0, end, 1)
    )
    near = jnp.where(below & (rho * (1 + centre) > 0.5), level, centre - rho)
    w_p, w_q = ball_mass(near, rho, d), ball_mass((near - m) / s, rho / s, d)
    invalid = jnp.any(unequal(scale))
    w_p, w_q = (jnp.where(invalid, jnp.nan, jnp.where(log_h > top, 0, w)) for w in (w_p, w_q))
    return w_p, w_q


def isotropy_violations(scale: Float[ArrayLike, "*event"]) -> Violations:
    """Violations of the conditions on standardised scales under which width functions exist."""
    message = (
        "target: width functions need isotropic vectors, all scales in one ratio to the proposal's"
    )
    return [(message, unequal(scale))]


def unequal(scale):
    """Returns whether components have different scales, by operators of NumPy and JAX only."""
    eps = float(jnp.finfo(scale.dtype).eps)
    return scale.max() - scale.min() > _SAME * eps * scale.max()


def _sqrt(x):
    """Square root with gradient zero at zero."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)
