"""Posteriors of all levels of a signal, before anything is coded.

Features and contexts are computed tile by tile, one level after the other, from arrays of the whole
signal in host memory: programs have the shapes of a tile, whatever the size of a signal and however
many are coded together, and a signal has the same posteriors in any company. All levels but the
lowest share their programs: parameters that the uppermost lack are zeros.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from recjax.codec.transform.analysis import (
    Features,
    analysis_params,
    coefficients_of,
    energies,
    level_params,
    lowest_features,
    posterior_of,
    taps_beyond,
    upper_features,
)
from recjax.codec.transform.network import (
    Params,
    TransformConfig,
    level_context,
    wide,
)
from recjax.codec.transform.prior import TransformPrior
from recjax.codec.transform.semi_amortised import improved_offsets
from recjax.codec.transform.sinh_prior import kl_bits, posterior_of_u
from recjax.codec.transform.windows import put, tile_starts, window
from recjax.modalities import Grid
from recjax.modalities.grid import filled_up, n_patches, weights_of

_TILES = {1: (256, 1024), 2: (16, 32), 3: (4, 8)}
"""Sides of tiles in cells, by rank: for signals whose lowest level fits one, and for others."""
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


class Above(NamedTuple):
    """The level above of a signal, with one cell beyond each edge.

    Attributes:
        hidden: hidden units of its context.
        coefficients: its coefficients.
    """

    hidden: Float[np.ndarray, "*_bordered_cells _hidden"]
    coefficients: Float[np.ndarray, "*_bordered_cells _depth"]


class LevelPosterior(NamedTuple):
    """The posterior of a level of a signal.

    Attributes:
        mean, std: of the latents.
        u_mean, u_std: of the values that blocks code, see `recjax.codec.transform.sinh_prior`.
        bits: KL of every latent.
    """

    mean: Float[np.ndarray, "*_cells _depth"]
    std: Float[np.ndarray, "*_cells _depth"]
    u_mean: Float[np.ndarray, "*_cells _depth"]
    u_std: Float[np.ndarray, "*_cells _depth"]
    bits: Float[np.ndarray, "*_cells _depth"]


class LevelContext(NamedTuple):
    """The context of a level of a signal, with one cell beyond each edge; see `network.Context`."""

    hidden: Float[np.ndarray, "*_bordered_cells _hidden"]
    mean: Float[np.ndarray, "*_bordered_cells _depth"]
    log_gain: Float[np.ndarray, "*_bordered_cells _depth"]

    def above(self, latents: Float[np.ndarray, "*cells depth"]) -> Above:
        """The level with its latents, as the level below sees it."""
        bordered = np.pad(latents, (*[(1, 1)] * (latents.ndim - 1), (0, 0)))
        return Above(self.hidden, self.mean + np.exp(self.log_gain) * bordered)


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
    features = _analysed(prior, values)
    offsets = [
        np.zeros((*x.coefficients.shape[:-1], depth), np.float32)
        for x, depth in zip(features, prior.config.depths, strict=True)
    ]
    fit = Fit(cells, features, offsets, lagrangian)
    if steps:
        _improve(fit, prior, values, weights_of(grid, prior.patch) > 0, steps, key)
    return fit


def top_of(prior: TransformPrior) -> Above:
    """A level of zeros in place of the one above the top level."""
    cell = (1,) * prior.config.rank
    return Above(
        np.zeros((*cell, prior.config.hidden), np.float32),
        np.zeros((*cell, prior.config.depths[-1]), np.float32),
    )


def level_posterior(
    prior: TransformPrior, fit: Fit, level: int, above: Above
) -> tuple[LevelPosterior, LevelContext | None]:
    """Posterior and context of a level, given the level above; no context of the lowest level.

    Raises:
        ValueError: the posterior is not finite.
    """
    config, params = prior.config, _level_params(prior)[level]
    cells, growth, depth = config.cells(level, fit.cells), config.factors[1], config.depths[level]
    tile = _tile(config, fit.cells)
    posterior = LevelPosterior(*(np.empty((*cells, depth), np.float32) for _ in range(5)))
    # nothing is below the lowest level
    bordered = [n + 2 for n in cells] if level else [0] * config.rank
    context = LevelContext(
        *(np.empty((*bordered, n), np.float32) for n in (config.hidden, depth, depth))
    )
    log_lagrangian = np.float32(math.log(fit.lagrangian))
    for start in tile_starts(cells, tile):
        # the level above has one cell more on either side, with which its arrays begin
        places = [n // g for n, g in zip(start, growth)]
        sides = [n // g + 2 for n, g in zip(tile, growth)]
        inputs = (
            *(window(x, places, sides) for x in above),
            *(window(x, start, tile) for x in fit.features[level]),
            window(fit.mean_offsets[level], start, tile),
        )
        outputs, contexts = _posterior_tile(config, level == 0, params, inputs, log_lagrangian)
        for array, part in zip(posterior, outputs, strict=True):
            put(array, start, np.asarray(part))
        for array, part in zip(context, contexts):
            put(array, start, np.asarray(part))
    if not all(np.isfinite(x).all() for x in posterior):
        raise ValueError("a posterior is not finite: the prior does not fit the signal")
    return posterior, context if level else None


@functools.partial(jax.jit, static_argnums=(0, 1))
def _posterior_tile(config, lowest, params, inputs, log_lagrangian):
    hidden, coefficients, *features, offset = (x[None] for x in inputs)
    context = level_context(config, params["level"], params["upper"], hidden, coefficients)
    mean, log_std = posterior_of(
        params["posterior"], Features(*features), context.inside(), log_lagrangian
    )
    mean = mean + offset * jnp.exp(log_std)
    scale, tail = (wide(params[name], config.rank) for name in ("scale", "tail"))
    u_mean, u_std = posterior_of_u(mean, log_std, scale, tail)
    outputs = mean, jnp.exp(log_std), u_mean, u_std, kl_bits(u_mean, u_std)
    return [x[0] for x in outputs], [] if lowest else [x[0] for x in context]


def _tile(config: TransformConfig, cells: Sequence[int]) -> tuple[int, ...]:
    """Sides of the tiles of a signal with ``cells`` cells of the top level."""
    small, large = _TILES[config.rank]
    return (small if max(config.cells(0, cells)) <= small else large,) * config.rank


def _analysed(prior: TransformPrior, values: Float[np.ndarray, "*sides channels"]):
    """Features of all levels, lowest first, as `recjax.codec.transform.analysis.analyse`."""
    config, out, x = prior.config, [], values
    tile = _tile(config, n_patches(values.shape[:-1], config.cell))
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


@functools.lru_cache(maxsize=8)
def _level_params(prior: TransformPrior) -> list[Params]:
    """Parameters of `_posterior_tile`, of equal shapes for all levels but the lowest."""
    config, out = prior.config, []
    levels = jax.tree.map(np.asarray, prior.network.params["levels"])
    top, hidden = config.levels - 1, config.hidden
    for level in range(config.levels):
        params = dict(levels[level])
        del params["synthesis"]
        posterior = jax.tree.map(np.asarray, level_params(prior.network, level))
        if level == top:
            # nothing is above: a context of zeros but for the gains
            window = levels[level]["synthesis"].shape[0] // config.linear[level]
            inputs = window * (config.depths[level] + hidden)
            shapes = (
                (inputs, config.children * hidden),
                (hidden, hidden),
                (hidden, 2 * config.depths[level]),
            )
            params["upper_gain"] = np.zeros(config.depths[level], np.float32)
            params["kernels"] = [np.zeros(shape, np.float32) for shape in shapes]
            params["biases"] = [
                np.zeros(n, np.float32) for n in (hidden, hidden, 2 * config.depths[level])
            ]
            posterior["mix"] = np.pad(posterior["mix"], ((0, hidden), (0, 0)))
        elif level + 1 == top:
            # the level above has no hidden units: inputs of every cell of a window that are 0
            up, *others = (params["kernels"][i] for i in range(3))
            up = up.reshape(-1, config.depths[top], up.shape[1])
            up = np.pad(up, ((0, 0), (0, hidden), (0, 0))).reshape(-1, up.shape[2])
            params["kernels"] = [up, *others]
        upper = levels[min(level + 1, top)]
        out.append(
            {
                "level": params,
                "upper": {name: upper[name] for name in ("log_gain", "synthesis")},
                "posterior": posterior,
                "scale": prior.scales[level],
                "tail": prior.tails[level],
            }
        )
    return out


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
