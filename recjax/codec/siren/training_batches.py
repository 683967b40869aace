"""Batches of a training: which signals a round visits, their rows, their targets, its noise."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Int

from recjax.codec.siren.settings import TrainConfig
from recjax.codec.siren.targets import Targets, make_targets
from recjax.modalities import Grid
from recjax.modalities.grid import cut, weights_of

TRAINING_ROWS = 128
"""Rows at a time, about; more than in a fit, as the gradient of a matrix is a product over rows."""


def batch_signals(config: TrainConfig, signals: int) -> int:
    """Signals per round: ``config.batch`` patches, in whole chunks of rows if they fill any.

    Args:
        config: settings of the training.
        signals: number of training signals.
    """
    patches = math.prod(config.scene)
    size = min(max(config.batch // patches, 1), signals)
    per_chunk = TRAINING_ROWS // math.gcd(TRAINING_ROWS, patches)
    return size - size % per_chunk if size > per_chunk else size


def chunks_of(rows: int) -> int:
    """Number of chunks of equal length that is, by ratio, nearest to `TRAINING_ROWS`.

    >>> chunks_of(3 * TRAINING_ROWS)
    3
    """
    divisors = (n for n in range(1, rows + 1) if rows % n == 0)
    return min(divisors, key=lambda n: abs(math.log(rows / n / TRAINING_ROWS)))


def batch_rows(config: TrainConfig, signals: int, round_number: int) -> Int[np.ndarray, "batch"]:
    """Signals of one round: slices of a permutation that every pass over the data draws anew."""
    size = batch_signals(config, signals)
    per_pass = max(signals // size, 1)
    rng = np.random.default_rng([config.seed, round_number // per_pass])
    start = (round_number % per_pass) * size
    return rng.permutation(signals)[start : start + size]


def rows_of(signals: Int[Any, "batch"], count: int) -> Int[Any, "rows"]:
    """Rows of the given signals in a group with ``count`` rows per signal."""
    return (signals[:, None] * count + np.arange(count, dtype=signals.dtype)).reshape(-1)


def round_key(config: TrainConfig, round_number: int) -> Array:
    """Key of a round's noise; it depends on the number only, so that a resumed run repeats an
    undisturbed one."""
    return jax.random.fold_in(jax.random.key(config.seed), round_number)


def select_targets(
    targets: Targets, signals: Int[np.ndarray, "batch"], config: TrainConfig
) -> Targets:
    """Targets of the patches of a batch of signals."""
    rows = rows_of(signals, math.prod(config.scene))
    return targets._replace(values=targets.values[:, rows], weights=targets.weights[:, rows])


def training_targets(grids: Sequence[Grid], config: TrainConfig) -> Targets:
    """Targets of training signals, the patches of one signal following one another.

    Raises:
        ValueError: the signals do not have the shape of a training signal, or are fewer than 2.
    """
    wanted = (*config.sides, config.network.channels)
    for grid in grids:
        if grid.values.shape != wanted:
            raise ValueError(f"signals must have the shape {wanted}, got {grid.values.shape}")
    if len(grids) < 2:
        raise ValueError(f"a prior needs at least 2 signals, got {len(grids)}")
    patch = config.network.grid
    patches = np.concatenate([cut(grid.values, patch) for grid in grids])
    weights = np.concatenate([cut(weights_of(grid, patch), patch) for grid in grids])
    return make_targets(patches, weights, split=config.network.split)
