"""Where a fit starts: at the prior, or at the guess of a transform's analysis."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, UInt8

from recjax.codec.posterior import Posterior
from recjax.codec.prior import Prior
from recjax.inr.analysis import coarse_guess, fine_guess
from recjax.inr.transform import TransformConfig, coarse_cells

PIXELS_A_CALL = 1 << 22


def prior_start(prior: Prior) -> list[Posterior]:
    """One row for all of every group: the prior's mean, and the average width seen in training."""
    return [
        Posterior(mean=jnp.zeros((1, group.n_latents), jnp.float32), log_std=jnp.asarray(group.log_std)[None])
        for group in prior.groups
    ]


def leading_blocks(prior: Prior) -> int:
    """Blocks of a patch that are coded before the fit: those of the coarse latents of a transform."""
    if not isinstance(prior.config, TransformConfig):
        return 0
    group = prior.groups[-1]
    coarse = group.order % prior.config.grid_shape[-1] < prior.config.context
    return int(np.searchsorted(np.cumsum(group.widths), coarse.sum(), side="right"))


def guessed(
    prior: Prior,
    patches: Sequence[tuple[int, int]],
    rows: UInt8[np.ndarray, "rows h w 3"],
    coded: Array | None = None,
) -> Posterior:
    """What the analysis of a transform guesses for every patch.

    Args:
      prior: of a transform.
      patches: rows and columns of patches of each image.
      rows: the patches of all images, one after the other, and perhaps padding after them.
      coded: latents of all rows, of which the coarse ones are given; if None these are guessed and the fine ones are
        left at the prior.
    """
    shape, config = prior.patch_shape, prior.config
    counts = [height * width for height, width in patches]
    ends = np.cumsum(counts)
    images = [
        rows[end - h * w : end].reshape(h, w, *shape).swapaxes(1, 2).reshape(h * shape[0], w * shape[1], shape[2])
        for (h, w), end in zip(patches, ends, strict=True)
    ]
    scale = prior.groups[-1].scale[None]
    means, log_stds = (np.zeros((len(rows), config.n_latents), np.float32) for _ in range(2))
    known = None if coded is None else np.asarray(coded) * scale
    for lot in _of_one_shape(images):
        places = np.concatenate([np.arange(ends[i] - counts[i], ends[i]) for i in lot])
        stack = np.stack([images[i] for i in lot])
        given = None if known is None else known[places].reshape(len(lot), -1, config.n_latents)
        mean, log_std = _guess(prior.network, stack, given)
        means[places] = np.asarray(mean).reshape(len(places), -1)
        log_stds[places] = np.asarray(log_std).reshape(len(places), -1)
    return Posterior(mean=jnp.asarray(means / scale), log_std=jnp.asarray(log_stds - np.log(scale)))


def _of_one_shape(images):
    """Numbers of images in lots of one shape and bounded size."""
    lots: dict[tuple, list[list[int]]] = {}
    for i, image in enumerate(images):
        own = lots.setdefault(image.shape, [[]])
        if own[-1] and (len(own[-1]) + 1) * image[..., 0].size > PIXELS_A_CALL:
            own.append([])
        own[-1].append(i)
    return [lot for own in lots.values() for lot in own]


@jax.jit
def _guess(network, images, given):
    """Mean and log standard deviation for every patch of images of one shape."""
    model = nnx.merge(network.graph, network.params)
    height, width, depth = model.config.grid_shape
    context, values = model.config.context, images.astype(jnp.float32) / 255 - 0.5
    columns = images.shape[2] // model.config.grid[1]

    def to_rows(cells):
        cells = cells.reshape(len(cells), -1, height, columns, width, depth).swapaxes(2, 3)
        return cells.reshape(len(cells), -1, height * width * depth)

    def to_cells(rows):
        rows = rows.reshape(len(rows), -1, columns, height, width, depth).swapaxes(2, 3)
        return rows.reshape(len(rows), -1, columns * width, depth)

    if given is None:
        parts = coarse_guess(model, values)
        return tuple(to_rows(jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, depth - context)))) for x in parts)
    coarse = to_cells(given)[..., :context]
    parts = zip((coarse, jnp.zeros_like(coarse)), fine_guess(model, values, coarse), strict=True)
    return tuple(to_rows(jnp.concatenate([own, coarse_cells(fine)], axis=-1)) for own, fine in parts)
