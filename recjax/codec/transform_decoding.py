"""Images from the streams of a transform."""

import numpy as np

from recjax.bits import stream
from recjax.bits.container import Header
from recjax.bits.range_coder import put_indices, take_indices
from recjax.codec.activity import least_bits, put_classes, take_classes
from recjax.codec.allocation import count_blocks
from recjax.codec.pyramid import blocks_of, count_units, grid_of, pixels, samples
from recjax.codec.transform_prior import TransformPrior
from recjax.errors import FormatError
from recjax.modalities import Signal
from recjax.modalities.image import n_patches, to_gray
from recjax.samplers.trellis_coder import TrellisCoder


def decode_transform(prior: TransformPrior, header: Header, payload: bytes) -> Signal:
    """The image in a stream.

    Raises:
      FormatError: the stream is damaged.
    """
    shape = header.shape or prior.patch_shape[:2]
    cells = n_patches(shape, prior.patch_shape)
    classes, indices = read_stream(prior, header, payload)
    coder = TrellisCoder(budget=prior.budget, extra_bits=header.extra_bits)
    grids = []
    for level, index in zip(reversed(range(prior.config.levels)), indices, strict=True):
        blocks, side = blocks_of(prior, level, classes), 1 << (prior.config.levels - 1 - level)
        values = samples(prior, coder, level, blocks, index)
        grids.append(grid_of(prior, level, (cells[0] * side, cells[1] * side), blocks, values))
    image = pixels(prior, grids[::-1])[: shape[0], : shape[1]]
    return Signal(to_gray(image) if header.gray else image, "image", {"gray": header.gray})


def read_stream(prior: TransformPrior, header: Header, payload: bytes) -> tuple[np.ndarray, list[np.ndarray]]:
    """Classes of the cells, and indices of the blocks of every level from the top.

    Raises:
      FormatError: no image has this stream.
    """
    if header.version == 1:
        raise FormatError("no file of version 1 is of a transform")
    if header.exponent:
        raise FormatError("the indices of a transform are uniform, the exponent of their code must be 0")
    cells = n_patches(header.shape or prior.patch_shape[:2], prior.patch_shape)
    rows, columns = (n << (prior.config.levels - 1 - prior.class_level) for n in cells)
    available = 8 * len(payload) + 64  # the last bits of a code may go without saying
    if least_bits(rows * columns, prior.frequencies) > available:
        raise FormatError("the index stream is cut off")
    decoder = stream.reader(payload)
    classes = take_classes(decoder, rows, columns, prior.frequencies)
    levels = reversed(range(prior.config.levels))
    counts = [count_blocks(count_units(prior, level, classes), prior.budget) for level in levels]
    if prior.budget * sum(counts) > available:
        raise FormatError("the index stream is cut off")
    sizes = np.full(sum(counts), prior.budget)
    try:
        indices = take_indices(decoder, sizes, 0)
    except AssertionError as error:  # what the decoder raises for a point outside every symbol's interval
        raise FormatError("the index stream is damaged") from error
    encoder = stream.queue.RangeEncoder()
    put_classes(encoder, classes, prior.frequencies)
    put_indices(encoder, indices, sizes, 0)
    if stream.shortest(encoder) != payload:
        raise FormatError("the index stream is damaged or has bytes left over")
    return classes, np.split(indices.astype(np.int32), np.cumsum(counts)[:-1])
