"""From a trained transform to a prior: statistics of its latents over random crops."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from recjax.codec.training.informative import informative
from recjax.codec.transform.amortised import Posterior, encode_sample
from recjax.codec.transform.network import TransformConfig, TransformNetwork, wide
from recjax.codec.transform.prior import MOST, UNIT, TransformPrior
from recjax.codec.transform.rate_classes import activity_of, class_frequencies, contexts_of
from recjax.codec.transform.sinh_prior import best_tails, kl_bits, posterior_of_u
from recjax.codec.transform.symbols import step_sizes_of, symbol_frequencies

CLASSES = 4
"""Number of rate classes. More classes localise the bits better but cost what they save."""
CLASS_CELL = 256
"""Values of a cell that has a class (16 x 16 pixels), if no cell of the top level is smaller."""
BATCH, BATCHES = 16, 48
"""Crops per batch, and batches."""
_TAIL_CELLS = 20000
_TAIL = 0.005
"""Share of the cells in either of the outermost classes, about."""


def class_level_of(config: TransformConfig) -> int:
    """The level whose cells have a class."""
    values = math.prod(config.factors[0])
    level = round(math.log(CLASS_CELL / values, config.children))
    return max(0, min(config.levels - 1, level))


def prior_of(
    network: TransformNetwork,
    crops: Sequence[Float[np.ndarray, "_n *_sides _channels"]],
    *,
    modality: str,
    beta: float,
    budget: int,
    seed: int,
    metadata: dict[str, Any],
) -> tuple[TransformPrior, float]:
    """The prior of a transform, and its average KL in bits per cell of the signal.

    The prior of a latent is the same in all cells, and minimises the average KL.

    Args:
        network: the transform.
        crops: batches of crops of signals, values in [-1/2, 1/2].
        modality, beta, budget, metadata: see `recjax.codec.prior.Prior`.
        seed: seed of the samples.
    """
    config, level = network.config, class_level_of(network.config)
    keys = jax.random.split(jax.random.key(seed), len(crops))
    posteriors = [
        jax.tree.map(np.asarray, _posteriors(network, *batch))
        for batch in zip(crops, keys, strict=True)
    ]
    levels = range(config.levels)
    pairs = [_tails([batch[i] for batch in posteriors]) for i in levels]
    scales, tails = (tuple(pair[i].astype(np.float32) for pair in pairs) for i in (0, 1))
    bits = [
        [np.asarray(_bits(batch[i], scales[i], tails[i])) for batch in posteriors] for i in levels
    ]
    activity = np.concatenate(
        [activity_of(batch, config.factors[1]) for batch in zip(*bits[: level + 1], strict=True)]
    )
    low, high = np.quantile(activity, [_TAIL, 1 - _TAIL])
    # the spread of a cell's bits about what is expected grows like their root
    thresholds = np.square(
        np.linspace(max(low, 0.5) ** 0.5, max(high, 1.0) ** 0.5, CLASSES - 1)
    ).astype(np.float32)
    classes = np.searchsorted(thresholds, activity)
    total = sum(part.sum(dtype=np.float64) for parts in bits for part in parts)
    expected = [
        _class_means(bits[i], classes, [g ** (level - i) for g in config.factors[1]])
        for i in range(level + 1)
    ]
    shares = np.bincount(classes.ravel(), minlength=CLASSES) / classes.size
    step_sizes, frequencies = [], []
    for i in range(level + 1, config.levels):
        mean, log_std = (_flat([batch[i][k] for batch in posteriors]) for k in (0, 1))
        step_sizes.append(step_sizes_of(log_std))
        frequencies.append(symbol_frequencies(mean, step_sizes[-1], scales[i], tails[i]))
    prior = TransformPrior(
        name="",
        digest=b"",
        beta=beta,
        budget=budget,
        modality=modality,
        metadata=metadata,
        network=network,
        scales=scales,
        tails=tails,
        class_level=level,
        thresholds=thresholds,
        step_sizes=tuple(step_sizes),
        symbol_frequencies=tuple(frequencies),
        expected=tuple(_units(expected, shares, config.children)),
        frequencies=class_frequencies(_counts(classes)),
    )
    return prior, float(total / sum(batch[..., 0].size for batch in crops))


@jax.jit
def _posteriors(network, crops, key):
    return encode_sample(network, crops, key)[0]


def _tails(posteriors: Sequence[Posterior]):
    """Scale and tail of every latent of one level, from a part of the cells."""
    mean, log_std = (_flat([pair[i] for pair in posteriors]) for i in (0, 1))
    step = -(-len(mean) // _TAIL_CELLS)
    return best_tails(jnp.asarray(mean[::step]), jnp.asarray(log_std[::step]))


def _flat(parts):
    """All cells of all batches, one per row."""
    return np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts])


def _class_means(bits, classes, side):
    """Average over the cells of every class; a class cell has ``side`` of them along an axis."""
    sums, counts = 0, 0
    for part, labels in zip(bits, np.split(classes, len(bits)), strict=True):
        for axis, n in enumerate(side, 1):
            labels = labels.repeat(n, axis)
        hot = np.eye(CLASSES, dtype=np.float32)[labels.reshape(-1)]
        sums, counts = sums + hot.T @ part.reshape(len(hot), -1), counts + hot.sum(0)
    return sums / np.maximum(counts, 1)[:, None]


@jax.jit
def _bits(posterior, scale, tail):
    rank = posterior[0].ndim - 2
    return kl_bits(*posterior_of_u(*posterior, wide(scale, rank), wide(tail, rank)))


def _units(expected, shares, children):
    """Integers, 0 for latents that carry least, see `informative`."""
    bits = np.concatenate([means.ravel() for means in expected])
    weights = [
        shares[:, None] * np.full(means.shape, float(children) ** -level)
        for level, means in enumerate(expected)
    ]
    carries = informative(bits, np.concatenate([part.ravel() for part in weights]))
    units = np.where(carries, np.clip(np.rint(bits * UNIT), 1, MOST), 0).astype(np.uint16)
    ends = np.cumsum([means.size for means in expected])
    return [
        part.reshape(means.shape)
        for part, means in zip(np.split(units, ends[:-1]), expected, strict=True)
    ]


def _counts(classes):
    """Number of cells of every class in every context, ``[contexts, classes]``."""
    counts = np.zeros((2 * CLASSES - 1, CLASSES))
    for signal in classes:
        np.add.at(counts, (contexts_of(signal, CLASSES), signal), 1)
    return counts
