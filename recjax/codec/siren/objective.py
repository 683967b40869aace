"""The rate-distortion objective of a batch of rows: weighted squared error plus beta times KL.

Patches are visited in chunks, so that the activations of one chunk are all that exists at a time: memory is
``ROW_CHUNK * points * width * layers * 16`` bytes whatever the number of patches. What ties patches together
(their region and image, the neighbours of their grids) is resolved before the chunks, and its gradient after them.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from recjax.codec.siren.geometry import Geometry
from recjax.codec.siren.posterior import LatentPrior, Posterior
from recjax.codec.siren.targets import Targets

ROW_CHUNK = 32
"""Rows at a time: their activations stay in a core's cache."""


class PatchInputs(NamedTuple):
    """What the network of every patch is computed from.

    Attributes:
      weights: latents of the weights.
      grids: latent grids with their borders, if there are any.
    """

    weights: Float[Array, "rows latents"]
    grids: Float[Array, "rows height width depth"] | None


class SirenNetwork(NamedTuple):
    """A network split by ``nnx.split``, with the priors that unwhiten its groups of latents."""

    graph: nnx.GraphDef
    params: Any
    priors: tuple[LatentPrior, ...]

    def inputs(
        self, z: tuple[Float[Array, "rows latents"], ...], geometry: Geometry
    ) -> PatchInputs:
        """Inputs of every patch from the latents of all groups, the patches' own last."""
        *upper, own = (prior.unwhiten(part) for prior, part in zip(self.priors, z, strict=True))
        config = nnx.merge(self.graph, self.params).config
        weights, grids = own[:, : config.n_weight_latents], None
        for part, parent in zip(upper, geometry.parents, strict=True):
            weights = weights + part[parent]
        if config.grid_shape:
            grids = geometry.with_border(
                own[:, config.n_weight_latents :].reshape(-1, *config.grid_shape)
            )
        return PatchInputs(weights, grids)

    def values(
        self, inputs: PatchInputs, points: Array, phase: Array | None = None
    ) -> Float[Array, "rows channels points"]:
        """Values of every patch at the given cells; see :class:`recjax.codec.siren.network.Siren`."""
        return nnx.merge(self.graph, self.params)(inputs.weights, points, inputs.grids, phase)


def distortion(
    network: SirenNetwork, inputs: PatchInputs, targets: Targets
) -> Float[Array, "rows"]:
    """Squared error of every patch at the cells of one subset, averaged over the cells of a full patch."""
    error = (network.values(inputs, targets.points, targets.phase) - targets.values) ** 2
    return jnp.mean(error * targets.weights[:, None, :], axis=(1, 2))


def in_chunks(function, rows_args: Any):
    """``function`` over row chunks of every array in ``rows_args``, results concatenated along rows.

    The number of rows is at most ``ROW_CHUNK`` or a multiple of it (see :func:`padded_rows`).
    """
    rows = jax.tree.leaves(rows_args)[0].shape[0]
    if rows <= ROW_CHUNK:
        return function(rows_args)
    split = jax.tree.map(
        lambda leaf: leaf.reshape(rows // ROW_CHUNK, ROW_CHUNK, *leaf.shape[1:]), rows_args
    )
    out = jax.lax.map(function, split)
    return jax.tree.map(lambda leaf: leaf.reshape(rows, *leaf.shape[2:]), out)


def padded_rows(rows: int) -> int:
    """Rows after padding to a shape that few programs are compiled for: at most an eighth is wasted above 256.

    >>> [padded_rows(n) for n in (1, 5, 100, 150, 304, 5000)]
    [1, 8, 128, 160, 320, 5120]
    """
    if rows <= ROW_CHUNK:
        return 1 << (rows - 1).bit_length()
    step = max(ROW_CHUNK, 1 << max(rows.bit_length() - 4, 0))
    return -(-rows // step) * step


def sampled_inputs(
    network: SirenNetwork,
    posteriors: tuple[Posterior, ...],
    noise: tuple[Array, ...],
    geometry: Geometry,
) -> PatchInputs:
    """Inputs of every patch at one sample of all posteriors."""
    return network.inputs(
        tuple(q.sample(part) for q, part in zip(posteriors, noise, strict=True)), geometry
    )


def posterior_gradient(
    network: SirenNetwork,
    posteriors: tuple[Posterior, ...],
    beta: tuple[Array, ...],
    free: tuple[Array, ...],
    noise: tuple[Array, ...],
    targets: Targets,
    geometry: Geometry,
) -> tuple[tuple[Posterior, ...], Float[Array, "rows"]]:
    """Gradient of sum(distortion + beta * KL) for the rows of every group, and the distortion of every patch.

    Args:
      beta: ``[rows, latents]`` a group, price of a nat.
      free: ``[rows, latents]`` a group, 0 where a latent is fixed to its mean: no noise, no gradient, no price.
      noise: standard normal, ``[rows, latents]`` a group.
      targets: one subset.
    """

    def chunk(args):
        inputs, values, weights = args
        part = dataclasses.replace(targets, values=values, weights=weights)

        def loss(inputs):
            error = distortion(network, inputs, part)
            return jnp.sum(error), error

        return jax.grad(loss, has_aux=True)(inputs)

    def price(posteriors):
        return sum(
            jnp.sum(b * f * q.kl_nats()) for q, b, f in zip(posteriors, beta, free, strict=True)
        )

    noise = jax.tree.map(jnp.multiply, free, noise)
    inputs, pull = jax.vjp(lambda q: sampled_inputs(network, q, noise, geometry), posteriors)
    gradient, error = in_chunks(chunk, (inputs, targets.values, targets.weights))
    (distortion_part,) = pull(gradient)
    parts = zip(distortion_part, jax.grad(price)(posteriors), free, strict=True)
    total = tuple(jax.tree.map(lambda d, k, f=f: f * (d + k), d, k) for d, k, f in parts)
    return total, error
