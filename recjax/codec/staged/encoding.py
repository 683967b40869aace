"""Signals to streams of staged coefficients. Free to change.

Symbols are chosen stage by stage: of the nearest multiple of the step, the one below and 0 the one
of the least squared error plus Lagrange multiplier times bits.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from recjax.codec.payload import Payload
from recjax.codec.staged import contexts, lapped, symbols
from recjax.codec.staged.channels import separated
from recjax.codec.staged.efforts import StagedEffort
from recjax.codec.staged.lattice import SMALLEST, Stage
from recjax.codec.staged.prior import StagedPrior
from recjax.codec.staged.stream import CELLS, LOUDNESS, STEPS, Head, write
from recjax.modalities import Grid

_SIGN_BITS = 1.0


def encode(
    grids: Sequence[Grid],
    prior: StagedPrior,
    settings: StagedEffort,
    prices: Sequence[float],
    progress: Callable[[float], None] | None,
) -> list[Payload]:
    """Codes signals one after the other; see `recjax.codec.kinds.Kind`."""
    out = []
    for i, (grid, price) in enumerate(zip(grids, prices, strict=True)):
        # a step whose square is proportional to the price of a bit
        step = math.sqrt(12 * prior.beta * price)
        cells = range(CELLS) if settings.all_cells else [_cell(grid, step)]
        tried = [_encoded(grid, prior, settings, step, cell) for cell in cells]
        out.append(min(tried, key=lambda payload: len(payload.stream)))
        if progress is not None:
            progress((i + 1) / len(grids))
    return out


def _cell(grid: Grid, step: float) -> int:
    """The size of cells whose coefficients would have the fewest binary digits."""
    values = separated(grid.values)
    digits = [
        np.log2(1 + np.abs(lapped.coefficients(values, SMALLEST << cell)) / np.float32(step)).sum()
        for cell in range(CELLS)
    ]
    return int(np.argmin(digits))


def _encoded(grid, prior, settings, step, cell) -> Payload:
    values = separated(grid.values)
    number = round(64 * (math.log2(step) + 48))
    head = Head(min(max(number, 0), STEPS - 1), cell, ())
    y = lapped.coefficients(values, head.bins) / np.float32(head.step_size)
    head = head._replace(loudness=loudness_of(y))
    y = y[head.heard]
    magnitude = np.abs(y)

    def decide(stage: Stage, which: Int[np.ndarray, "channels frames bins"]):
        sizes = chosen(prior, magnitude[stage.place()], which, settings.lagrangian)
        return np.where(y[stage.place()] < 0, -sizes, sizes)

    data, found = write(prior, head, len(grid.values), decide)
    bits = 8.0 * len(data)
    return Payload(data, 0, bits, {"coefficients": bits}, {"coefficients": found})


def loudness_of(y: Float[np.ndarray, "channels frames bins"]) -> tuple[int, ...]:
    """Loudness of channels; 0 where every coefficient is rounded to 0."""
    out = []
    for channel in np.abs(y):
        loud = 128 + round(8 * math.log2(max(float(channel.mean(dtype=np.float64)), 2.0**-15)))
        out.append(min(max(loud, 1), LOUDNESS - 1) if channel.max() >= 0.5 else 0)
    return tuple(out)


def chosen(
    prior: StagedPrior,
    magnitude: Float[np.ndarray, "channels frames bins"],
    which: Int[np.ndarray, "channels frames bins"],
    lagrangian: float,
) -> Int[np.ndarray, "channels frames bins"]:
    """The magnitudes to be coded."""
    nearest = np.minimum(np.floor(magnitude + 0.5), symbols.LARGEST).astype(np.int64)
    if not lagrangian:
        return nearest
    best, least = nearest, None
    for candidate in (nearest, np.maximum(nearest - 1, 0), np.zeros_like(nearest)):
        error = magnitude - prior.reconstructed(candidate, which // contexts.SHAPES)
        bits = prior.bits[which, np.minimum(candidate, symbols.ESCAPE)]
        cost = error * error + lagrangian * (bits + _SIGN_BITS * (candidate > 0))
        if least is None:
            least = cost
            continue
        # an escape is followed by more bits: large magnitudes are not compared
        better = (cost < least) & (nearest < symbols.ESCAPE)
        best, least = np.where(better, candidate, best), np.where(better, cost, least)
    return best
