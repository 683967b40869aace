"""Signals from the streams of a transform."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from recjax.codec.container import Header
from recjax.codec.transform.prior import TransformPrior
from recjax.codec.transform.pyramid import blocks_of, grid_of, samples, values_of
from recjax.codec.transform.stream import part_bits, read_stream
from recjax.errors import FormatError
from recjax.modalities import Grid
from recjax.modalities.grid import n_patches


def decode(prior: TransformPrior, files: Sequence[tuple[Header, bytes]]) -> list[Grid]:
    """The signals in streams.

    Raises:
      FormatError: a stream is damaged.
    """
    return [_decode(prior, header, stream) for header, stream in files]


def account(prior: TransformPrior, header: Header, stream: bytes) -> dict[str, dict[str, Any]]:
    """Blocks, and length of the code in bits, of every part of a stream.

    Raises:
      FormatError: the stream is damaged.
    """
    parts = read_stream(prior, n_patches(header.sides(prior), prior.patch), stream)
    blocks = {"blocks": sum(map(len, parts.indices))}
    return {
        name: {"blocks": blocks.get(name, 0), "index_bits": round(length, 2)}
        for name, length in part_bits(prior, parts).items()
    }


def _decode(prior, header, stream):
    if header.version == 1 or header.exponent:
        raise FormatError("a signal of a transform has format version 2 and exponent 0")
    sides = header.sides(prior)
    cells = n_patches(sides, prior.patch)
    parts = read_stream(prior, cells, stream)
    coder = header.block_coder(prior)
    grids = [
        numbers.astype(np.float32) * step
        for numbers, step in zip(parts.numbers, reversed(prior.steps), strict=True)
    ]
    levels = zip(reversed(range(prior.class_level + 1)), parts.factors, parts.indices, strict=True)
    for level, factor, index in levels:
        blocks = blocks_of(prior, level, parts.classes, factor)
        above = prior.config.levels - 1 - level
        values = samples(prior, coder, level, blocks, index)
        shape = (cells[0] << above, cells[1] << above)
        grids.append(grid_of(prior, level, shape, blocks, values))
    return Grid(values_of(prior, grids[::-1], sides), flag=header.flag)
