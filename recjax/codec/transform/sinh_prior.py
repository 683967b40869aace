"""Frozen (FORMAT.md, transforms): priors with heavier tails than the normal distribution.

A transform's latents are mixtures: most are small, a few are many standard deviations away, which
no candidate of a normal prior reaches. So a latent is scale * sinh(tail u) / tail with u ~ N(0, 1),
and u is coded. The posterior of a latent is narrow where it matters, so the map is linearised at
its mean: the standard deviation of u is that of the latent over |d latent / d u|.

Files depend on `stretched` alone.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from recjax.codec.transform.prior import LEAST_TAIL

_TAILS = (LEAST_TAIL, 0.15, 0.3, 0.45, 0.6, 0.8)
_SHRINKAGE = (0.4, 0.55, 0.7, 0.85, 1.0, 1.2)


def stretched(
    u: npt.ArrayLike, scale: npt.ArrayLike, tail: npt.ArrayLike
) -> np.ndarray | np.floating:
    """Latents from values with a standard normal prior; by NumPy, for any number of them.

    >>> round(float(stretched(2.0, 3.0, 0.5)), 3)
    7.051
    """
    u, scale, tail = map(np.asarray, (u, scale, tail))
    return scale * np.sinh(tail * u) / tail


def posterior_of_u(
    mean: ArrayLike, log_std: ArrayLike, scale: ArrayLike, tail: ArrayLike
) -> tuple[Array, Array]:
    """Mean and standard deviation of u, from those of the latent.

    >>> latent = jnp.float32(7.051), jnp.float32(0.0)
    >>> mean, std = posterior_of_u(*latent, jnp.float32(3.0), jnp.float32(0.5))
    >>> float(mean.round(3)), float((std * 3.0 * jnp.cosh(1.0)).round(3))
    (2.0, 1.0)
    """
    mean, log_std, scale, tail = (jnp.asarray(x) for x in (mean, log_std, scale, tail))
    centre = jnp.arcsinh(tail * mean / scale) / tail
    return centre, jnp.exp(log_std) / (scale * jnp.cosh(tail * centre))


def kl_bits(mean: ArrayLike, std: ArrayLike) -> Array:
    """KL of N(mean, std^2) from N(0, 1), in bits."""
    mean, std = jnp.asarray(mean), jnp.asarray(std)
    return (0.5 * (std * std + mean * mean - 1) - jnp.log(std)) / math.log(2)


def best_tails(
    mean: Float[Array, "_cells _depth"], log_std: Float[Array, "_cells _depth"]
) -> tuple[Float[np.ndarray, "_depth"], Float[np.ndarray, "_depth"]]:
    """Scale and tail of every latent with the least average KL of these posteriors, on a grid."""
    root = jnp.sqrt(jnp.mean(mean * mean + jnp.exp(2 * log_std), axis=0))
    grid = list(itertools.product(_TAILS, _SHRINKAGE))
    totals = np.stack(
        [np.asarray(_average(mean, log_std, root * shrink, tail)) for tail, shrink in grid]
    )
    tails, shrinkage = np.array(grid, np.float32)[totals.argmin(0)].T
    return np.asarray(root) * shrinkage, tails


@jax.jit
def _average(mean, log_std, scale, tail):
    return jnp.mean(
        kl_bits(*posterior_of_u(mean, log_std, scale[None], jnp.full_like(scale, tail)[None])),
        axis=0,
    )
