"""From a trained transform to a prior file: what is to be expected of its latents, over random crops."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import UInt8

from recjax.codec.activity import class_frequencies, contexts_of
from recjax.codec.allocation import MOST, UNIT
from recjax.codec.crops import random_crops
from recjax.codec.partition import NEGLIGIBLE
from recjax.codec.transform_prior import save_transform_prior
from recjax.inr.guess import walk
from recjax.inr.transform import Transform

CLASSES = 16
CLASS_CELL = 16
"""Side of the cells that have a class, in pixels, or of the top level's if these are smaller."""
_BATCH, _BATCHES = 16, 96
_TAIL = 0.005
"""Share of the cells in either of the outermost classes, about."""


def class_level_of(config) -> int:
    """The level whose cells have a class."""
    return min(config.levels - 1, round(math.log2(CLASS_CELL / config.stride)))


def save_transform(
    path,
    model: Transform,
    images: list[UInt8[np.ndarray, "h w 3"]],
    *,
    crop: int,
    beta: float,
    budget: int,
    seed: int,
    metadata: dict[str, Any],
    force: bool = False,
) -> float:
    """Writes the prior of a transform and returns its average KL in bits per pixel.

    The prior of a latent is N(0, E[z^2]), the same in all cells: in closed form what minimises the average KL.

    Args:
      path: of the file.
      model: the transform.
      images: over which is averaged, with sides of at least ``crop``.
      crop: side of the crops.
      beta, budget, metadata: see :class:`recjax.codec.prior.Prior`.
      seed: of the crops and samples.
      force: whether the file may be replaced.

    Raises:
      ValueError: the file exists and ``force`` is off, or cannot be written.
    """
    config, level = model.config, class_level_of(model.config)
    graph, params = nnx.split(model)
    lots = [random_crops(images, _BATCH, crop, [seed, 1, i], recolour=False) for i in range(_BATCHES)]
    keys = jax.random.split(jax.random.key(seed), _BATCHES)
    seen = [jax.tree.map(np.asarray, _moments(graph, params, *lot, level=level)) for lot in zip(lots, keys)]
    activity = np.stack([own for own, _ in seen])
    low, high = np.quantile(activity, [_TAIL, 1 - _TAIL])
    thresholds = np.geomspace(max(low, 0.1), max(high, 1.0), CLASSES - 1).astype(np.float32)
    classes = np.searchsorted(thresholds, activity)
    scales, expected, total = [], [], 0.0
    for own in range(config.levels):
        square, log_std = (np.stack([moments[own][part] for _, moments in seen]) for part in (0, 1))
        moment = square.mean((0, 1, 2, 3), dtype=np.float64)
        # of the KL from N(0, E[z^2]), which is linear in both
        bits = (0.5 * (square / moment - 1 + np.log(moment)) - log_std) / math.log(2)
        depth = bits.shape[-1]
        if own <= level:
            table = [bits[classes == i].reshape(-1, depth) for i in range(CLASSES)]
            shares = [len(part) for part in table]
        else:
            table, shares = [bits.reshape(-1, depth)], [1]
        means = [part.mean(0, dtype=np.float64) if len(part) else np.zeros(depth) for part in table]
        cells = (crop // config.stride >> own) ** 2 / crop**2
        total += cells * bits.mean((0, 1, 2, 3), dtype=np.float64).sum()
        scales.append(np.sqrt(moment))
        expected.append((np.stack(means), cells * np.array(shares) / np.sum(shares)))
    save_transform_prior(
        path, config=config, params=params, scales=scales, class_level=level, thresholds=thresholds,
        expected=_units(expected), frequencies=class_frequencies(_counts(classes)), beta=beta, budget=budget,
        metadata=metadata, force=force,
    )  # fmt: skip
    return float(total)


@jax.jit(static_argnames="level")
def _moments(graph, params, crops, key, *, level):
    """Bits of every cell of one level with what is below it; and of all levels second moments and log deviations.

    The latter two are averages over what lies in a cell of that level, if it is above them.
    """
    _, posteriors, kl = walk(nnx.merge(graph, params), crops.astype(jnp.float32) / 255 - 0.5, key)
    activity = sum(_in_cells(nats, level - own).sum((3, 4)) for own, nats in enumerate(kl[: level + 1])) / math.log(2)
    moments = [
        [_in_cells(x, max(level - own, 0)).mean(3) for x in (jnp.exp(2 * log_std) + mean**2, log_std)]
        for own, (mean, log_std) in enumerate(posteriors)
    ]
    return activity, moments


def _in_cells(x, levels):
    """``[n, height, width, depth]`` to ``[n, rows, columns, members, depth]``, by cells so many levels above."""
    n, height, width, depth = x.shape
    side = 1 << levels
    cells = x.reshape(n, height // side, side, width // side, side, depth).swapaxes(2, 3)
    return cells.reshape(n, height // side, width // side, side * side, depth)


def _units(expected):
    """Integers, 0 for what carries least and together less than ``NEGLIGIBLE`` of the KL."""
    bits = np.concatenate([means.ravel() for means, _ in expected])
    mass = bits * np.concatenate([np.repeat(shares, means.shape[1]) for means, shares in expected])
    order = np.argsort(bits, kind="stable")
    kept = np.ones(len(bits), bool)
    kept[order[np.cumsum(mass[order]) <= NEGLIGIBLE * mass.sum()]] = False
    units = np.where(kept, np.clip(np.rint(bits * UNIT), 1, MOST), 0).astype(np.uint16)
    ends = np.cumsum([means.size for means, _ in expected])
    return [part.reshape(means.shape) for part, (means, _) in zip(np.split(units, ends[:-1]), expected, strict=True)]


def _counts(classes):
    """How often every class is in every context, ``[contexts, classes]``."""
    counts = np.zeros((2 * CLASSES - 1, CLASSES))
    for image in classes.reshape(-1, *classes.shape[2:]):
        np.add.at(counts, (contexts_of(image, CLASSES), image), 1)
    return counts
