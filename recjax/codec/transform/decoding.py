"""Signals from the streams of a transform."""

import itertools
import math
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float

from recjax.codec.header import Header
from recjax.codec.transform import network as transform
from recjax.codec.transform.layout import blocks_of, latents_of, samples
from recjax.codec.transform.prior import TransformPrior
from recjax.codec.transform.stream import read_stream
from recjax.codec.transform.windows import window
from recjax.errors import FormatError
from recjax.modalities import Grid
from recjax.modalities.grid import n_patches

_TILE_VALUES = 1 << 16
"""Cells of the signal per tile, about: 256 x 256 pixels of an image."""


def decode(prior: TransformPrior, files: Sequence[tuple[Header, bytes]]) -> list[Grid]:
    """The signals in streams.

    Raises:
        FormatError: a stream is damaged.
    """
    return [_decode(prior, header, stream) for header, stream in files]


def values_of(
    prior: TransformPrior,
    latents: Sequence[Float[np.ndarray, "*_cells _depth"]],
    sides: Sequence[int],
) -> Float[np.ndarray, "*sides channels"]:
    """Values of a signal from the latents of its levels, lowest first; tile by tile.

    A cell needs only those next to it and the cells above these. So there are two programs: for a
    signal of one cell of the top level, and for a tile of more; tiles are filled up with cells
    beyond the edge, whose latents are 0.
    """
    config, cells = prior.config, latents[-1].shape[:-1]
    tile = _tile(config.cell, cells)
    out = np.empty((*(n * c for n, c in zip(cells, config.cell)), config.channels), np.float32)
    for start in itertools.product(*(range(0, n, t) for n, t in zip(cells, tile))):
        parts = [
            window(
                x,
                # with the cells next to the tile
                [n - 1 for n in config.cells(level, start)],
                [n + 2 for n in config.cells(level, tile)],
            )[None]
            for level, x in enumerate(latents)
        ]
        values = np.asarray(_decoded(prior.network, tuple(parts)))[0]
        place = out[tuple(slice(n * c, (n + t) * c) for n, t, c in zip(start, tile, config.cell))]
        place[:] = values[tuple(map(slice, place.shape))]
    return out[tuple(map(slice, sides))]


def _tile(cell, cells):
    """Cells of the top level per tile along every axis."""
    if math.prod(cells) == 1:
        return (1,) * len(cell)
    side = round(_TILE_VALUES ** (1 / len(cell)))
    return tuple(max(side // c, 2) for c in cell)


@jax.jit
def _decoded(network, latents):
    return transform.decode(network, latents)


def _decode(prior, header, stream):
    if header.version == 1 or header.exponent:
        raise FormatError("a signal of a transform has format version 2 or 3 and exponent 0")
    sides, config = header.sides(prior), prior.config
    cells = n_patches(sides, prior.patch)
    parts = read_stream(prior, cells, stream)
    coder = header.block_coder(prior)
    latents = [
        symbols.astype(np.float32) * step
        for symbols, step in zip(parts.symbols, reversed(prior.step_sizes), strict=True)
    ]
    levels = reversed(range(prior.class_level + 1))
    for level, factor, index in zip(levels, parts.rate_factors, parts.indices, strict=True):
        blocks = blocks_of(prior, level, parts.classes, factor)
        values = samples(prior, coder, level, blocks, index)
        latents.append(latents_of(prior, level, config.cells(level, cells), blocks, values))
    return Grid(values_of(prior, latents[::-1], sides), flag=header.flag)
