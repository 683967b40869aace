"""The rate-distortion objective of a batch of rows: weighted squared error plus beta times KL.

Rows are visited in chunks, so that the activations of one chunk are all that exists at a time: memory is
``ROW_CHUNK * points * width * layers * 16`` bytes whatever the number of rows.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from recjax.codec.posterior import LatentPrior, Posterior
from recjax.codec.signals import Targets

ROW_CHUNK = 32
"""Rows at a time: their activations stay in a core's cache."""


class Network(NamedTuple):
    """A network split by ``nnx.split``, with the prior that unwhitens its latents."""

    graph: nnx.GraphDef
    params: Any
    prior: LatentPrior

    def render(self, z: Float[Array, "rows latents"], points: Array) -> Float[Array, "rows channels points"]:
        """Values of every row's network at the given grid cells."""
        return nnx.merge(self.graph, self.params)(self.prior.unwhiten(z), points)


def distortion(network: Network, z: Array, targets: Targets) -> Float[Array, "rows"]:
    """Squared error of every row, averaged over the cells of a full patch."""
    error = (network.render(z, targets.points) - targets.values) ** 2
    return jnp.mean(error * targets.weights[:, None, :], axis=(1, 2))


def in_chunks(function, rows_args: Any):
    """``function`` over row chunks of every array in ``rows_args``, results concatenated along rows.

    The number of rows is at most ``ROW_CHUNK`` or a multiple of it (see :func:`padded_rows`).
    """
    rows = jax.tree.leaves(rows_args)[0].shape[0]
    if rows <= ROW_CHUNK:
        return function(rows_args)
    split = jax.tree.map(lambda leaf: leaf.reshape(-1, ROW_CHUNK, *leaf.shape[1:]), rows_args)
    out = jax.lax.map(function, split)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), out)


def padded_rows(rows: int) -> int:
    """Rows after padding to a shape that few programs are compiled for: at most an eighth is wasted above 256.

    >>> [padded_rows(n) for n in (1, 5, 100, 150, 304, 5000)]
    [1, 8, 128, 160, 320, 5120]
    """
    if rows <= ROW_CHUNK:
        return 1 << (rows - 1).bit_length()
    step = max(ROW_CHUNK, 1 << max(rows.bit_length() - 4, 0))
    return -(-rows // step) * step


def posterior_gradient(
    network: Network, posterior: Posterior, beta: Array, free: Array, noise: Array, targets: Targets
) -> tuple[Posterior, Float[Array, "rows"]]:
    """Gradient of sum(distortion + beta * KL) for every row, and the distortion.

    Args:
      beta: ``[rows, latents]``, price of a nat.
      free: ``[rows, latents]``, 0 where a latent is fixed to its mean: no noise, no gradient, no price.
      noise: standard normal, ``[rows, latents]``.
      targets: one subset.
    """

    def chunk(args):
        posterior, beta, free, noise, values, weights = args
        part = Targets(values=values, weights=weights, points=targets.points)

        def loss(posterior):
            error = distortion(network, posterior.sample(free * noise), part)
            return jnp.sum(error) + jnp.sum(beta * free * posterior.kl_nats()), error

        gradient, error = jax.grad(loss, has_aux=True)(posterior)
        return jax.tree.map(lambda g: g * free, gradient), error

    return in_chunks(chunk, (posterior, beta, free, noise, targets.values, targets.weights))
