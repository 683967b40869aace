"""Features of all levels of a signal, tile by tile.

The arrays of the signal are in host memory: programs have the shapes of a tile, whatever the size
of a signal, and a signal has the same features in any company.
"""

import functools
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float

from recjax.codec.transform.analysis import (
    Features,
    analysis_params,
    coefficients_of,
    energies,
    lowest_features,
    taps_beyond,
    upper_features,
)
from recjax.codec.transform.network import Params, TransformConfig
from recjax.codec.transform.prior import TransformPrior
from recjax.codec.transform.windows import put, tile_starts, window
from recjax.modalities.grid import n_patches

_TILES = {1: (256, 1024), 2: (16, 32), 3: (4, 8)}
"""Sides of tiles in cells, by rank: for signals whose lowest level fits one, and for others."""


def tile_sides(config: TransformConfig, cells: Sequence[int]) -> tuple[int, ...]:
    """Sides of the tiles of a signal with ``cells`` cells of the top level."""
    small, large = _TILES[config.rank]
    return (small if max(config.cells(0, cells)) <= small else large,) * config.rank


def tiled_features(
    prior: TransformPrior, values: Float[np.ndarray, "*sides channels"]
) -> list[Features]:
    """Features of all levels, lowest first, as `recjax.codec.transform.analysis.analyse`."""
    config, out, x = prior.config, [], values
    tile = tile_sides(config, n_patches(values.shape[:-1], config.cell))
    for level, factors in enumerate(config.factors):
        cells = [n // f for n, f in zip(x.shape[:-1], factors, strict=True)]
        features = Features(
            np.empty((*cells, config.linear[level]), np.float32),
            np.empty((*cells, config.hidden), np.float32),
        )
        params = _analysis_params(prior)[level]
        for start in tile_starts(cells, tile):
            if level == 0:
                # features see one cell more on either side, where it belongs to the signal
                first, sides = [n - 1 for n in start], [n + 2 for n in tile]
                inside = window(np.ones((*cells, 1), np.float32), first, sides)
                part = _lowest_tile(config, params, _overlapping(x, factors, first, sides), inside)
            else:
                below = window(
                    out[-1].hidden,
                    [n * f - taps_beyond(f)[0] for n, f in zip(start, factors)],
                    [(n - 1) * f + 3 for n, f in zip(tile, factors)],
                )
                part = _upper_tile(config, params, _overlapping(x, factors, start, tile), below)
            for array, tile_part in zip(features, part, strict=True):
                put(array, start, np.asarray(tile_part))
        out.append(features)
        x = features.coefficients[..., : config.channels]
    return out


def _overlapping(x, factors, start, sides):
    """Values that the lapped transform of these cells sees; the edges continue."""
    return window(
        x,
        [n * f - f // 2 for n, f in zip(start, factors)],
        [n * f + f // 2 * 2 for n, f in zip(sides, factors)],
        "edge",
    )


@functools.partial(jax.jit, static_argnums=0)
def _lowest_tile(config, params, below, inside):
    coefficients = coefficients_of(params, config.factors[0], below[None])
    # energies beyond the signal's edges are 0
    hidden = lowest_features(params, energies(params, coefficients) * inside[None])
    return coefficients[0][(slice(1, -1),) * config.rank], hidden[0]


@functools.partial(jax.jit, static_argnums=0)
def _upper_tile(config, params, below, hidden_below):
    growth = config.factors[1]
    coefficients = coefficients_of(params, growth, below[None])
    return coefficients[0], upper_features(params, growth, coefficients, hidden_below[None])[0]


@functools.lru_cache(maxsize=8)
def _analysis_params(prior: TransformPrior) -> list[Params]:
    return _all_analysis_params(prior.network)


@jax.jit
def _all_analysis_params(network):
    return [analysis_params(network, level) for level in range(network.config.levels)]
