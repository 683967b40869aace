"""Images through a transform: from the top level down, the best path through a trellis of samples."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from recjax.blocks.trellis import TrellisCoder
from recjax.codec.kinds import Payload
from recjax.codec.transform.allocation import FACTOR_UNIT, UNIT
from recjax.codec.transform.amortised import descend, posterior
from recjax.codec.transform.chains import Level, code_level
from recjax.codec.transform.efforts import TransformEffort
from recjax.codec.transform.fit import Fit, fit_transform
from recjax.codec.transform.prior import TransformPrior
from recjax.codec.transform.pyramid import blocks_of, count_units, grid_of, next_context
from recjax.codec.transform.rate_classes import activity_of
from recjax.codec.transform.sinh_prior import kl_bits, posterior_of_u
from recjax.codec.transform.stream import Parts, part_bits, write_stream
from recjax.codec.transform.symbols import numbers_of
from recjax.modalities import Grid
from recjax.modalities.grid import n_patches

PIXELS_A_CALL = 1 << 21
_MARGIN = 1.1
"""Bits of the highest level of blocks over its KL: all below depends on its few latents."""


class Latents(NamedTuple):
    """A coded image.

    Attributes:
      parts: what its stream holds.
      kl_bits: of the posteriors of its blocks.
      grids: the latents, lowest level first.
    """

    parts: Parts
    kl_bits: float
    grids: list[Float[np.ndarray, "height width depth"]]


def encode(
    grids: Sequence[Grid],
    prior: TransformPrior,
    effort: TransformEffort,
    key: jax.Array,
    prices: Sequence[float],
    progress: Callable[[float], None] | None,
) -> list[Payload]:
    """The streams of all signals; those of one shape are coded together."""
    coder = TrellisCoder(budget=prior.budget, extra_bits=effort.extra_bits)
    out: dict[int, Payload] = {}
    for lot in _lots(grids, prices, prior):
        fit = fit_transform(
            [grids[i] for i in lot], prior, steps=effort.fit_steps, price=prices[lot[0]], key=key
        )
        latents = code_levels(prior, fit, key, functools.partial(code_level, coder))
        out |= {i: _payload(prior, own) for i, own in zip(lot, latents, strict=True)}
        if progress:
            progress(len(out) / len(grids))
    return [out[i] for i in range(len(grids))]


def _lots(grids, prices, prior):
    """Numbers of signals in lots of one shape of whole cells, one multiplier and bounded size."""
    lots: dict[tuple, list[list[int]]] = {}
    for i, grid in enumerate(grids):
        cells = n_patches(grid.sides, prior.patch)
        pixels = math.prod(cells) * math.prod(prior.patch)
        own = lots.setdefault((cells, prices[i]), [[]])
        if own[-1] and (len(own[-1]) + 1) * pixels > PIXELS_A_CALL:
            own.append([])
        own[-1].append(i)
    return [lot for own in lots.values() for lot in own]


def code_levels(prior: TransformPrior, fit: Fit, key: jax.Array, code: Callable) -> list[Latents]:
    """Codes level after level of images of one shape, each with the posteriors that the samples above it leave.

    Args:
      code: from the prior and a :class:`Level` to index and values of the blocks of every image, as `code_level`.
    """
    context = fit.top
    grids, numbers = [], []
    for level in reversed(range(prior.class_level + 1, prior.config.levels)):
        step = prior.steps[level - prior.class_level - 1]
        mean = _finite(_posterior(fit, level, context)[0])
        numbers.append(numbers_of(mean, step))
        grids.append(numbers[-1].astype(np.float32) * step)
        context = next_context(prior.network, level - 1, context, jnp.asarray(grids[-1]))
    activity = _finite(_activity(fit, prior.class_level, context, prior.scales, prior.tails, key))
    classes = np.searchsorted(prior.thresholds, activity)
    factors, indices, spent = [[] for _ in classes], [[] for _ in classes], np.zeros(len(classes))
    for level in reversed(range(prior.class_level + 1)):
        guess = _posterior(fit, level, context)
        scale, tail = prior.scales[level][None, None, None], prior.tails[level][None, None, None]
        mean, std, bits = map(_finite, _of_u(guess[0], guess[1], scale, tail))
        for i, own in enumerate(classes):
            factors[i].append(_factor(prior, level, own, bits[i]))
        last = [own[-1] for own in factors]
        blocks = [blocks_of(prior, level, *own) for own in zip(classes, last, strict=True)]
        posteriors = [
            (m.reshape(-1)[own.latents], s.reshape(-1)[own.latents])
            for own, m, s in zip(blocks, mean, std, strict=True)
        ]
        latents = []
        for i, (index, values) in enumerate(
            code(prior, Level(level, classes, last, blocks, posteriors))
        ):
            latents.append(grid_of(prior, level, mean.shape[1:3], blocks[i], values))
            indices[i].append(index)
            spent[i] += float(bits[i].reshape(-1)[blocks[i].latents].sum())
        grids.append(np.stack(latents))
        if level:
            context = next_context(prior.network, level - 1, context, jnp.asarray(grids[-1]))
    return [
        Latents(Parts([own[i] for own in numbers], classes[i], factors[i], indices[i]), float(spent[i]),
                [grid[i] for grid in reversed(grids)])
        for i in range(len(classes))
    ]  # fmt: skip


def _finite(x):
    x = np.asarray(x)
    if not np.isfinite(x).all():
        raise ValueError("a posterior is not finite: the prior does not fit the image")
    return x


def _factor(prior, level, classes, bits):
    """The factor at which a level has the bits of its KL."""
    expected = count_units(prior, level, classes, FACTOR_UNIT) / UNIT
    margin = _MARGIN if level == prior.class_level else 1.0
    return int(
        np.clip(round(margin * FACTOR_UNIT * float(bits.sum()) / max(expected, 1.0)), 1, 256)
    )


def _payload(prior, latents):
    bits = part_bits(prior, latents.parts)
    names = [f"level {level}" for level in range(prior.config.levels)]
    return Payload(
        stream=write_stream(prior, latents.parts),
        exponent=0,
        stream_bits=sum(bits.values()),
        # quantised latents and classes have no KL: they count with the length of their code
        kl_bits={
            "numbers": bits["numbers"],
            "classes": bits["classes"],
            "blocks": latents.kl_bits,
        },
        latents=dict(zip(names, latents.grids, strict=True)),
    )


@functools.partial(jax.jit, static_argnames="level")
def _activity(fit, level, context, scales, tails, key):
    """Of the cells of one level with what is below it, at a sample of the posterior there."""
    model = fit.network.module()
    posteriors, _ = descend(model, level, fit.seen, context, key, fit.moves)
    return activity_of(posteriors, scales, tails, level)


@functools.partial(jax.jit, static_argnames="level")
def _posterior(fit, level, context):
    model = fit.network.module()
    return posterior(model, level, fit.seen[level], context, fit.moves[level])


@jax.jit
def _of_u(mean, log_std, scale, tail):
    """Mean, standard deviation and KL of what is coded."""
    own = posterior_of_u(mean, log_std, scale, tail)
    return *own, kl_bits(*own)
