"""The rate-distortion objective of a batch of rows: weighted squared error plus beta times KL.

Patches are visited in chunks, so that the activations of one chunk are all that exists at once:
memory is ``ROW_CHUNK * points * width * layers * 16`` bytes whatever the number of patches. The
sums that tie patches together (their region and signal, the neighbours of their grids) are taken
before the chunks, and their gradient after them.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from recjax.codec.siren.layout import Geometry
from recjax.codec.siren.network import network_values
from recjax.codec.siren.posterior import LatentPrior, Posterior
from recjax.codec.siren.settings import SirenConfig
from recjax.codec.siren.targets import Targets

ROW_CHUNK = 32
"""Rows at a time: their activations stay in a core's cache."""


class PatchInputs(NamedTuple):
    """Inputs of every patch's network.

    Attributes:
        weights: latents of the weights.
        grids: latent grids with their borders, if there are any.
    """

    weights: Float[Array, "rows latents"]
    grids: Float[Array, "rows *bordered_cells depth"] | None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SirenNetwork:
    """A network, with the priors that unwhiten its groups of latents.

    Attributes:
        config: the architecture.
        params: the parameters that all patches share, see `recjax.codec.siren.network`.
        priors: priors of the groups.
    """

    config: SirenConfig = dataclasses.field(metadata={"static": True})
    params: dict[str, Any]
    priors: tuple[LatentPrior, ...]

    def inputs(
        self, z: tuple[Float[Array, "_rows _latents"], ...], geometry: Geometry
    ) -> PatchInputs:
        """Inputs of every patch from the latents of all groups, those of the patches last."""
        *upper, patch = (prior.unwhiten(part) for prior, part in zip(self.priors, z, strict=True))
        n_weights, encoding = self.config.n_weight_latents, self.config.encoding
        weights, grids = patch[:, :n_weights], None
        for part, parent in zip(upper, geometry.parents, strict=True):
            weights = weights + part[parent]
        if encoding.depth:
            grids = with_border(geometry, patch[:, n_weights:].reshape(-1, *encoding.shape))
        return PatchInputs(weights, grids)

    def values(
        self,
        inputs: PatchInputs,
        points: Int[Array, "points"],
        phase: Int[Array, ""] | None = None,
    ) -> Float[Array, "rows channels points"]:
        """Values of every patch at the given points; see `recjax.codec.siren.network`."""
        return network_values(self.config, self.params, inputs.weights, points, inputs.grids, phase)


def with_border(
    geometry: Geometry, grids: Float[Array, "rows *cells depth"]
) -> Float[Array, "rows *bordered_cells depth"]:
    """The latent grids with one cell of each neighbour around them, 0 beyond the signal."""
    if geometry.cells is None:
        return jnp.pad(grids, [(0, 0), *[(1, 1)] * (grids.ndim - 2), (0, 0)])
    flat = grids.reshape(-1, grids.shape[-1])
    return flat.at[geometry.cells].get(mode="fill", fill_value=0)


def distortion(
    network: SirenNetwork, inputs: PatchInputs, targets: Targets
) -> Float[Array, "rows"]:
    """Weighted squared error of every patch, averaged over the points of one subset."""
    error = (network.values(inputs, targets.points, targets.phase) - targets.values) ** 2
    # the weight of points outside the signal is 0; they still count in the mean's denominator, so
    # that a bit is worth as much at the edge as elsewhere
    return jnp.mean(error * targets.weights[:, None, :], axis=(1, 2))


def in_chunks(function: Callable[[Any], Any], rows_args: Any) -> Any:
    """Maps a function over chunks of rows, which are concatenated again.

    Args:
        function: from a tree of arrays to one, both with rows first.
        rows_args: the tree; the number of rows is at most ``ROW_CHUNK`` or a multiple of it, see
            `padded_rows`.
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
    """Rows with padding: few numbers, so that few programs are compiled. Above 256 rows at most an
    eighth is wasted.

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
    noise: tuple[Float[Array, "_rows _latents"], ...],
    geometry: Geometry,
) -> PatchInputs:
    """Inputs of every patch at one sample of all posteriors."""
    z = tuple(q.sample(part) for q, part in zip(posteriors, noise, strict=True))
    return network.inputs(z, geometry)


def posterior_gradient(
    network: SirenNetwork,
    posteriors: tuple[Posterior, ...],
    beta: tuple[Float[Array, "_rows _latents"], ...],
    free: tuple[Float[Array, "_rows _latents"], ...],
    noise: tuple[Float[Array, "_rows _latents"], ...],
    targets: Targets,
    geometry: Geometry,
) -> tuple[tuple[Posterior, ...], Float[Array, "rows"]]:
    """Gradient of sum(distortion + beta * KL) for the rows of every group.

    Args:
        network: the network.
        posteriors: posteriors of every group.
        beta: Lagrange multiplier of a nat, per group.
        free: 0 where a latent is fixed to its mean: no noise, no gradient, no rate; per group.
        noise: standard normal numbers, per group.
        targets: one subset.
        geometry: where the patches lie.

    Returns:
        The gradient of every group's posteriors, and the distortion of every patch.
    """

    def chunk(args):
        inputs, values, weights = args
        part = targets._replace(values=values, weights=weights)

        def loss(inputs):
            error = distortion(network, inputs, part)
            return jnp.sum(error), error

        return jax.grad(loss, has_aux=True)(inputs)

    def rate(posteriors):
        return sum(
            jnp.sum(b * f * q.kl_nats()) for q, b, f in zip(posteriors, beta, free, strict=True)
        )

    noise = jax.tree.map(jnp.multiply, free, noise)
    inputs, pull = jax.vjp(lambda q: sampled_inputs(network, q, noise, geometry), posteriors)
    gradient, error = in_chunks(chunk, (inputs, targets.values, targets.weights))
    (distortion_part,) = pull(gradient)
    parts = zip(distortion_part, jax.grad(rate)(posteriors), free, strict=True)
    total = tuple(jax.tree.map(lambda d, k, f=f: f * (d + k), d, k) for d, k, f in parts)
    return total, error
