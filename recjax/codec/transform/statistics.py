"""From a trained transform to a prior file: what is to be expected of its latents, over random crops."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import UInt8

from recjax.codec.siren.partition import NEGLIGIBLE
from recjax.codec.training.data import random_crops
from recjax.codec.transform.allocation import MOST, UNIT
from recjax.codec.transform.amortised import walk
from recjax.codec.transform.network import Transform
from recjax.codec.transform.prior import save_transform_prior
from recjax.codec.transform.rate_classes import activity_of, class_frequencies, contexts_of
from recjax.codec.transform.sinh_prior import best_tails, kl_bits, posterior_of_u
from recjax.codec.transform.symbols import number_frequencies, step_of
from recjax.modalities.image import IMAGE

CLASSES = 4
"""More say better where the bits are, and cost as much as they save."""
CLASS_CELL = 16
"""Side of the cells that have a class, in pixels, or of the top level's if these are smaller."""
_BATCH, _BATCHES = 16, 48
_TAIL_CELLS = 20000
_TAIL = 0.005
"""Share of the cells in either of the outermost classes, about."""


def class_level_of(config) -> int:
    """The level whose cells have a class."""
    return max(0, min(config.levels - 1, round(math.log2(CLASS_CELL / config.stride))))


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

    The prior of a latent is the same in all cells, and what minimises the average KL.

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
    keys = jax.random.split(jax.random.key(seed), _BATCHES)
    lots = [
        random_crops(images, _BATCH, (crop, crop), [seed, 1, i], modality=IMAGE, augment=False)
        for i in range(_BATCHES)
    ]
    seen = [
        jax.tree.map(np.asarray, _posteriors(graph, params, *lot))
        for lot in zip(lots, keys, strict=True)
    ]
    tails = [_tails([posteriors[own] for posteriors in seen]) for own in range(config.levels)]
    scales, tails = ([pair[i].astype(np.float32) for pair in tails] for i in (0, 1))
    activity = np.concatenate([_activity(posteriors, scales, tails, level) for posteriors in seen])
    low, high = np.quantile(activity, [_TAIL, 1 - _TAIL])
    # the spread of a cell's bits about what is expected grows like their root
    thresholds = np.square(
        np.linspace(max(low, 0.5) ** 0.5, max(high, 1.0) ** 0.5, CLASSES - 1)
    ).astype(np.float32)
    classes = np.searchsorted(thresholds, activity)
    expected, total = [], 0.0
    for own in range(config.levels):
        bits = [np.asarray(_bits(*posteriors[own], scales[own], tails[own])) for posteriors in seen]
        total += (
            float(np.mean([part.mean((0, 1, 2)).sum() for part in bits]))
            / (config.stride << own) ** 2
        )
        if own <= level:
            expected.append(_class_means(bits, classes, level - own))
    shares = np.bincount(classes.ravel(), minlength=CLASSES) / classes.size
    above = range(level + 1, config.levels)
    steps, numbers = [], []
    for own in above:
        mean, log_std = (_flat([posteriors[own][i] for posteriors in seen]) for i in (0, 1))
        steps.append(step_of(log_std))
        numbers.append(number_frequencies(mean, steps[-1], scales[own], tails[own]))
    save_transform_prior(
        path, config=config, params=params, modality="image",
        scales=scales, tails=tails, class_level=level, thresholds=thresholds,
        steps=steps, numbers=numbers, expected=_units(expected, shares),
        frequencies=class_frequencies(_counts(classes)), beta=beta, budget=budget, metadata=metadata, force=force,
    )  # fmt: skip
    return total


@jax.jit
def _posteriors(graph, params, crops, key):
    return walk(nnx.merge(graph, params), crops.astype(jnp.float32) / 255 - 0.5, key)[0]


def _tails(posteriors):
    """Scale and tail of every latent of one level, from some of the cells."""
    mean, log_std = (_flat([pair[i] for pair in posteriors]) for i in (0, 1))
    step = -(-len(mean) // _TAIL_CELLS)
    return best_tails(jnp.asarray(mean[::step]), jnp.asarray(log_std[::step]))


def _flat(parts):
    """All cells of all batches, one a row."""
    return np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts])


def _class_means(bits, classes, levels):
    """Average over the cells of every class, where a class cell is so many levels above."""
    side, sums, counts = 1 << levels, 0, 0
    for part, own in zip(bits, np.split(classes, len(bits)), strict=True):
        hot = np.eye(CLASSES, dtype=np.float32)[own.repeat(side, 1).repeat(side, 2).reshape(-1)]
        sums, counts = sums + hot.T @ part.reshape(len(hot), -1), counts + hot.sum(0)
    return sums / np.maximum(counts, 1)[:, None]


_activity = jax.jit(activity_of, static_argnums=3)


@jax.jit
def _bits(mean, log_std, scale, tail):
    return kl_bits(*posterior_of_u(mean, log_std, scale[None, None, None], tail[None, None, None]))


def _units(expected, shares):
    """Integers, 0 for what carries least and together less than ``NEGLIGIBLE`` of the KL."""
    bits = np.concatenate([means.ravel() for means in expected])
    weights = [
        shares[:, None] * np.full(means.shape, 4.0**-own) for own, means in enumerate(expected)
    ]
    mass = bits * np.concatenate([part.ravel() for part in weights])
    order = np.argsort(bits, kind="stable")
    kept = np.ones(len(bits), bool)
    kept[order[np.cumsum(mass[order]) <= NEGLIGIBLE * mass.sum()]] = False
    units = np.where(kept, np.clip(np.rint(bits * UNIT), 1, MOST), 0).astype(np.uint16)
    ends = np.cumsum([means.size for means in expected])
    return [
        part.reshape(means.shape)
        for part, means in zip(np.split(units, ends[:-1]), expected, strict=True)
    ]


def _counts(classes):
    """How often every class is in every context, ``[contexts, classes]``."""
    counts = np.zeros((2 * CLASSES - 1, CLASSES))
    for image in classes:
        np.add.at(counts, (contexts_of(image, CLASSES), image), 1)
    return counts
