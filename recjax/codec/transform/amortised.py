"""One pass of analysis and synthesis: samples of the amortised posterior, level by level."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from recjax.codec.transform.analysis import Features, analyse, level_params, posterior_of
from recjax.codec.transform.network import (
    Context,
    TransformNetwork,
    bordered,
    context,
    synthesise,
    top,
)

Posterior = tuple[Array | np.ndarray, Array | np.ndarray]
"""Mean and log standard deviation of the latents of a level."""


class Extent(NamedTuple):
    """Cells of one level of arrays that belong to a signal, where other cells fill them up.

    Attributes:
        inside: whether a cell belongs to the signal.
        near: whether it does or is one of the cells next to the edges, for arrays with one cell
            beyond each edge.
    """

    inside: Bool[Array, "1 *_sides 1"]
    near: Bool[Array, "1 *_bordered_sides 1"]


def posterior(
    network: TransformNetwork,
    level: int,
    features: Features,
    context: Context,
    mean_offset: Array,
    log_lagrangian: Array | float = 0.0,
) -> Posterior:
    """The amortised posterior of one level, its means offset in units of standard deviations.

    Args:
        network: the transform.
        level: number of the level.
        features: features of its cells.
        context: context of its cells and of one beyond each edge.
        mean_offset: offsets of the means, in standard deviations.
        log_lagrangian: logarithm of the Lagrange multiplier relative to the one of the training.
    """
    params = level_params(network, level)
    mean, log_std = posterior_of(params, features, context.inside(), log_lagrangian)
    return mean + mean_offset * jnp.exp(log_std), log_std


def ancestral_pass(
    network: TransformNetwork,
    features: Sequence[Features],
    noise: Sequence[Array],
    mean_offsets: Sequence[Array],
    log_lagrangian: Array | float = 0.0,
    extents: Sequence[Extent] | None = None,
) -> tuple[list[Posterior], Float[Array, "_n *_values _channels"]]:
    """Posteriors from the top level down, each given samples of the levels above.

    Args:
        network: the transform.
        features: features of all levels, lowest first.
        noise: standard normal noise for the samples of every level.
        mean_offsets: offsets of the means of every level, see `posterior`.
        log_lagrangian: logarithm of the Lagrange multiplier relative to the one of the training.
        extents: cells of every level that belong to the signals, if others fill up the arrays.

    Returns:
        The posteriors, lowest level first, and the decoded signals.
    """
    posteriors = []
    n, *cells, _ = features[-1].coefficients.shape
    above = top(network, n, cells)
    for level in reversed(range(network.config.levels)):
        mean, log_std = posterior(
            network, level, features[level], above, mean_offsets[level], log_lagrangian
        )
        if extents is not None:
            # features of nothing may give any posterior: gradients must not meet its infinities
            inside = extents[level].inside
            mean, log_std = (jnp.where(inside, x, 0) for x in (mean, log_std))
        posteriors.append((mean, log_std))
        sample = mean + jnp.exp(log_std) * noise[level]
        if extents is not None:
            # as a decoder has it: latents beyond the edges are 0
            sample = jnp.where(inside, sample, 0)
        coefficients = above.coefficients(bordered(sample))
        if level:
            above = context(network, level - 1, above, coefficients)
        if level and extents is not None:
            # contexts of contexts of nothing may grow without bound, and 0 times infinity is no
            # gradient
            near = extents[level - 1].near
            above = Context(*(jnp.where(near, x, 0) for x in above))
    return posteriors[::-1], synthesise(network, above, coefficients)


def encode_sample(
    network: TransformNetwork, values: Float[Array, "_n *_values _channels"], key: Array
) -> tuple[list[Posterior], Float[Array, "_n *_values _channels"]]:
    """`ancestral_pass` for signals with values in [-1/2, 1/2] and sides of whole cells."""
    features, rank = analyse(network, values), network.config.rank
    noise = [
        jax.random.normal(
            jax.random.fold_in(key, level), (*features[level].coefficients.shape[:-1], depth)
        )
        for level, depth in enumerate(network.config.depths)
    ]
    zeros = [jnp.zeros((1,) * (rank + 2))] * network.config.levels
    return ancestral_pass(network, features, noise, zeros)


def kl_nats(posterior: Posterior) -> Array:
    """KL of every latent from N(0, 1)."""
    mean, log_std = posterior
    return 0.5 * (jnp.exp(2 * log_std) + mean**2 - 1) - log_std
