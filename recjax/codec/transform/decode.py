"""Images from the streams of a transform."""

import numpy as np

from recjax.blocks.trellis import TrellisCoder
from recjax.codec.container import Header
from recjax.codec.transform.prior import TransformPrior
from recjax.codec.transform.pyramid import blocks_of, grid_of, image_of, samples
from recjax.codec.transform.stream import read_stream
from recjax.errors import FormatError
from recjax.modalities import Signal
from recjax.modalities.image.pixels import n_patches


def decode_transform(prior: TransformPrior, header: Header, payload: bytes) -> Signal:
    """The image in a stream.

    Raises:
      FormatError: the stream is damaged.
    """
    if header.version == 1 or header.exponent:
        raise FormatError("an image of a transform has format version 2 and exponent 0")
    shape = header.shape or prior.patch_shape[:2]
    cells = n_patches(shape, prior.patch_shape)
    parts = read_stream(prior, cells, payload)
    coder = TrellisCoder(budget=prior.budget, extra_bits=header.extra_bits)
    grids = [
        numbers.astype(np.float32) * step
        for numbers, step in zip(parts.numbers, reversed(prior.steps), strict=True)
    ]
    levels = zip(reversed(range(prior.class_level + 1)), parts.factors, parts.indices, strict=True)
    for level, factor, index in levels:
        blocks, above = (
            blocks_of(prior, level, parts.classes, factor),
            prior.config.levels - 1 - level,
        )
        values = samples(prior, coder, level, blocks, index)
        grids.append(grid_of(prior, level, (cells[0] << above, cells[1] << above), blocks, values))
    return image_of(prior, grids[::-1], shape, header.gray)
