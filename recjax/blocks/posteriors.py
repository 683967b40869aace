"""Posteriors of Gaussian blocks before a search: checks and masks. Free to change."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


def check_shapes(ids: Array, mu: Array, sigma: Array, width: Array) -> None:
    """Raises a ValueError unless all arrays are of the blocks of ``mu``."""
    got = tuple(array.shape for array in (ids, mu, sigma, width))
    *blocks, d = mu.shape
    if got != ((*blocks, 2), (*blocks, d), (*blocks, d), (*blocks,)):
        raise ValueError(
            f"shapes of ids, mu, sigma, width must be [*blocks, 2], [*blocks, d], [*blocks, d], "
            f"[*blocks], got {', '.join(map(str, got))}"
        )


def within(width: Int[Array | np.ndarray, "*blocks"], d: int) -> Bool[Array, "*blocks d"]:
    """Tells the coordinates of blocks from their padding up to `d` columns."""
    place = jnp.arange(d, dtype=jnp.int32).reshape(*[1] * width.ndim, d)
    return place < width.astype(jnp.int32)[..., None]


def is_normal(
    mu: Float[Array, "*blocks d"], sigma: Float[Array, "*blocks d"]
) -> Bool[Array, "*blocks d"]:
    """Tells whether N(mu, sigma^2) is a distribution."""
    return jnp.isfinite(mu) & jnp.isfinite(sigma) & (sigma > 0)


def prior_unless(
    used: Bool[Array, "*blocks d"],
    mu: Float[Array | np.ndarray, "*blocks d"],
    sigma: Float[Array | np.ndarray, "*blocks d"],
) -> tuple[Float[Array, "*blocks d"], Float[Array, "*blocks d"]]:
    """Puts mu = 0 and sigma = 1, those of the prior, wherever a coordinate is not used.

    The coefficients of such a coordinate are zero, and no NaN can reach another block.
    """
    return jnp.where(used, mu, 0), jnp.where(used, sigma, 1)
