"""The posterior of a level of a signal, given the level above, tile by tile.

Contexts and posteriors are computed from arrays of the whole signal in host memory: programs have
the shapes of a tile, whatever the size of a signal and however many are coded together, and a
signal has the same posteriors in any company. All levels but the lowest share their programs:
parameters that the uppermost lack are zeros.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from recjax.codec.transform.analysis import Features, level_params, posterior_of
from recjax.codec.transform.fit import Fit
from recjax.codec.transform.network import Params, level_context, wide
from recjax.codec.transform.prior import TransformPrior
from recjax.codec.transform.sinh_prior import kl_bits, posterior_of_u
from recjax.codec.transform.tiled_analysis import tile_sides
from recjax.codec.transform.windows import put, tile_starts, window


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
    tile = tile_sides(config, fit.cells)
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
