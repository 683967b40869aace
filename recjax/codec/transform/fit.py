"""Posteriors of all levels of a signal before anything is coded: amortised, and improved.

Gradient steps take a signal part by part. Parts overlap by two cells where the signal is cut.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from jaxtyping import Float

from recjax.codec.transform.analysis import Features
from recjax.codec.transform.network import TransformConfig
from recjax.codec.transform.prior import TransformPrior
from recjax.codec.transform.semi_amortised import improved_offsets
from recjax.codec.transform.tiled_analysis import tiled_features
from recjax.codec.transform.windows import put, tile_starts, window
from recjax.modalities import Grid
from recjax.modalities.grid import filled_up, n_patches, weights_of

_STRIPS = {
    1: ((1,), (16,), (128,)),
    2: ((1, 1), (4, 4), (8, 12), (12, 8), (16, 16)),
    3: ((1, 1, 1), (2, 2, 2), (4, 4, 4)),
}
"""Sides of the parts that gradients are taken of at once, in cells of the top level, by rank."""
_STRIP_VALUES = 1 << 20
"""Largest part to differentiate at once: gradients take 800 bytes per cell of an image."""


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """Posteriors of a signal.

    Attributes:
        cells: cells of the top level along every axis.
        features: features of the signal, lowest level first.
        mean_offsets: offsets of the posterior means of every level, in standard deviations.
        lagrangian: Lagrange multiplier relative to the one of the prior's training.
    """

    cells: tuple[int, ...]
    features: list[Features]
    mean_offsets: list[Float[np.ndarray, "*_cells _depth"]]
    lagrangian: float


def fit_transform(
    grid: Grid, prior: TransformPrior, *, steps: int, lagrangian: float, key: jax.Array
) -> Fit:
    """Computes the amortised posterior of a signal and improves it.

    Args:
        grid: the signal.
        prior: a transform.
        steps: gradient steps, see `recjax.codec.transform.semi_amortised`.
        lagrangian: Lagrange multiplier relative to the one of the prior's training. Decoders need
            not know it: only posteriors change.
        key: key of the samples.
    """
    values = filled_up(grid.values, prior.patch)
    cells = n_patches(grid.sides, prior.patch)
    features = tiled_features(prior, values)
    offsets = [
        np.zeros((*x.coefficients.shape[:-1], depth), np.float32)
        for x, depth in zip(features, prior.config.depths, strict=True)
    ]
    fit = Fit(cells, features, offsets, lagrangian)
    if steps:
        _improve(fit, prior, values, weights_of(grid, prior.patch) > 0, steps, key)
    return fit


def _improve(fit, prior, values, counted, steps, key):
    """Moves the mean offsets of a fit in place, part by part."""
    config = prior.config
    strip = _strip(config, fit.cells)
    latents = sum(
        math.prod(config.cells(level, strip)) * depth for level, depth in enumerate(config.depths)
    )
    # NumPy's generator: no decoder needs this noise, and XLA compiles its cipher for a second
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    noise = rng.standard_normal(2 * latents, np.float32)
    for start in _strip_starts(fit.cells, strip):
        places = [config.cells(level, start) for level in range(config.levels)]
        sides = [config.cells(level, strip) for level in range(config.levels)]
        features = [
            Features(*(window(x, a, b)[None] for x in level))
            for level, a, b in zip(fit.features, places, sides)
        ]
        first = [n * c for n, c in zip(start, config.cell)]
        shape = [n * c for n, c in zip(strip, config.cell)]
        offsets = improved_offsets(
            prior.network,
            features,
            window(values, first, shape)[None],
            window(counted[..., None], first, shape)[None],
            np.array([min(n - a, t) for n, a, t in zip(fit.cells, start, strip)], np.int32),
            np.float32(prior.beta * fit.lagrangian),
            np.float32(math.log(fit.lagrangian)),
            prior.scales,
            prior.tails,
            noise,
            np.int32(steps),
        )
        # a cell next to a cut has another neighbour than in the signal: the first of this part
        # belongs to the part before, and the last is written again by the part after
        dropped = [min(n, 1) for n in start]
        for level, (array, part) in enumerate(zip(fit.mean_offsets, offsets, strict=True)):
            skip = config.cells(level, dropped)
            part = np.asarray(part)[0][tuple(slice(n, None) for n in skip)]
            put(array, [a + n for a, n in zip(places[level], skip)], part)


def _strip(config: TransformConfig, cells: Sequence[int]) -> tuple[int, ...]:
    """Sides of the parts of a signal that take the least time, in cells of the top level."""
    usable = [
        strip
        for strip in _STRIPS[config.rank]
        # where a signal is cut, parts must have a cell that is next to no cut
        if all(t > 2 or t >= n for n, t in zip(cells, strip))
    ]
    small = [
        strip for strip in usable if math.prod(strip) * math.prod(config.cell) <= _STRIP_VALUES
    ]
    return min(
        small or usable[:1],
        key=lambda strip: len(list(_strip_starts(cells, strip))) * math.prod(strip),
    )


def _strip_starts(cells: Sequence[int], strip: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Places of the parts, which overlap by two cells where the signal is cut."""
    steps = [t - 2 if n > t else n for n, t in zip(cells, strip)]
    return tile_starts([n - 2 if n > t else n for n, t in zip(cells, strip)], steps)
