"""From a trained transform to a prior file: scales and average KL of its latents, then the block partition."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import UInt8

from recjax.codec.groups import LatentGroup
from recjax.codec.partition import informative, partition
from recjax.codec.prior import save_prior
from recjax.inr.analysis import coarse_guess, fine_guess
from recjax.inr.transform import Transform, TransformConfig, coarse_cells


def latent_moments(
    config: TransformConfig, params: Any, images: list[UInt8[np.ndarray, "h w 3"]], key: jax.Array
) -> tuple[np.ndarray, np.ndarray]:
    """Second moment about 0 and mean log standard deviation of the latents of a coarse cell, over all cells.

    Args:
      config, params: of the transform.
      images: with sides of at least a patch; what does not fill a coarse cell is left out.
      key: of the samples of the coarse latents.
    """
    graph, _ = nnx.split(nnx.eval_shape(lambda: Transform(config)))
    side = 2 * config.stride

    @jax.jit
    def sums(params, image, key):
        model, values = nnx.merge(graph, params), image.astype(jnp.float32) / 255 - 0.5
        coarse = coarse_guess(model, values)
        sample = coarse[0] + jnp.exp(coarse[1]) * jax.random.normal(key, coarse[0].shape)
        pairs = zip(coarse, map(coarse_cells, fine_guess(model, values, sample)), strict=True)
        mean, log_std = (jnp.concatenate(pair, axis=-1) for pair in pairs)
        return (jnp.exp(2 * log_std) + mean**2).sum((0, 1, 2)), log_std.sum((0, 1, 2)), mean[..., 0].size

    total = np.zeros((2, config.grid_shape[-1])), 0
    for number, image in enumerate(images):
        height, width = (n // side * side for n in image.shape[:2])
        square, log_std, cells = sums(params, image[None, :height, :width], jax.random.fold_in(key, number))
        total = total[0] + np.stack([square, log_std]), total[1] + cells
    moment, log_std = total[0] / total[1]
    return moment, log_std


def save_transform(
    path,
    config: TransformConfig,
    params: Any,
    images: list[UInt8[np.ndarray, "h w 3"]],
    *,
    beta: float,
    budget: int,
    seed: int,
    metadata: dict[str, Any],
    force: bool = False,
) -> float:
    """Writes the prior of a transform and returns its average KL in bits per pixel.

    The prior of a latent is N(0, E[z^2]), the same in all cells: in closed form what minimises the average KL. Blocks
    of the coarse latents come first, because what they say scales the others.

    Args:
      path: of the file.
      config, params: of the transform.
      images: over which the KL is averaged.
      beta, budget, metadata: see :class:`recjax.codec.prior.Prior`.
      seed: of the partition.
      force: whether the file may be replaced.

    Raises:
      ValueError: the file exists and ``force`` is off, or cannot be written.
    """
    moment, log_std = latent_moments(config, params, images, jax.random.key(seed))
    rows, columns, depth = config.grid_shape
    scale, log_std = (np.tile(x, rows * columns) for x in (np.sqrt(moment), log_std - 0.5 * np.log(moment)))
    kl_bits = -log_std / math.log(2)
    coarse = np.arange(len(scale)) % depth < config.context
    keep = informative(kl_bits)
    orders, widths = [], []
    for part in (coarse & keep, ~coarse & keep):
        listed = np.flatnonzero(part)
        order, width = partition(kl_bits[listed], budget, seed)
        orders.append(listed[order])
        widths.append(width[width > 0])
    group = LatentGroup(
        kind="patch",
        scale=scale,
        log_std=log_std,
        order=np.concatenate(orders),
        widths=np.concatenate(widths),
    )
    save_prior(
        path, config=config, params=params, groups=(group,), region=1, beta=beta, budget=budget,
        metadata=metadata, force=force,
    )  # fmt: skip
    return float(kl_bits.sum() / config.n_points)
