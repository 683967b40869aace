"""The stream of an image: numbers of the upper levels, classes of activity, bits and indices of the blocks."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from recjax.bits import stream
from recjax.bits.range_coder import put_indices, take_indices
from recjax.codec.transform.allocation import count_blocks
from recjax.codec.transform.prior import TransformPrior
from recjax.codec.transform.pyramid import count_units
from recjax.codec.transform.rate_classes import class_bits, least_bits, put_classes, take_classes
from recjax.codec.transform.symbols import number_bits, put_numbers, take_numbers
from recjax.errors import FormatError

_FACTORS = stream.model.Uniform(256)


class Parts(NamedTuple):
    """What a stream holds.

    Attributes:
      numbers: of every quantised level, from the top, ``[height, width, depth]``.
      classes: of the cells of the class level.
      factors: how much the other levels have of what is expected, from that one down, 1 to 256.
      indices: of their blocks.
    """

    numbers: list[Int[np.ndarray, "height width depth"]]
    classes: Int[np.ndarray, "rows columns"]
    factors: list[int]
    indices: list[Int[np.ndarray, "blocks"]]


def write_stream(prior: TransformPrior, parts: Parts) -> bytes:
    """The shortest bytes of these parts."""
    encoder = stream.queue.RangeEncoder()
    for numbers, frequencies in zip(parts.numbers, reversed(prior.numbers), strict=True):
        put_numbers(encoder, numbers, frequencies)
    put_classes(encoder, parts.classes, prior.frequencies)
    encoder.encode(np.array(parts.factors, np.int32) - 1, _FACTORS)
    # the trellis has no preference for small indices
    indices = np.concatenate(parts.indices)
    put_indices(encoder, indices, np.full(len(indices), prior.budget), 0)
    return stream.shortest(encoder)


def part_bits(prior: TransformPrior, parts: Parts) -> dict[str, float]:
    """Length of the code of every part, in bits."""
    numbers = zip(parts.numbers, reversed(prior.numbers), strict=True)
    return {
        "numbers": sum(number_bits(*pair) for pair in numbers),
        "classes": class_bits(parts.classes, prior.frequencies),
        "factors": 8.0 * len(parts.factors),
        "blocks": float(prior.budget * sum(map(len, parts.indices))),
    }


def read_stream(prior: TransformPrior, cells: tuple[int, int], payload: bytes) -> Parts:
    """The parts of a stream.

    Args:
      prior: of the stream.
      cells: rows and columns of cells of the top level.
      payload: the bytes. What they cannot hold is not allocated.

    Raises:
      FormatError: no image has this stream.
    """
    decoder, available, top = stream.reader(payload), 8 * len(payload) + 64, prior.config.levels - 1
    levels = reversed(range(prior.class_level + 1, prior.config.levels))
    shapes = [(cells[0] << (top - level), cells[1] << (top - level)) for level in levels]
    tables = list(zip(shapes, reversed(prior.numbers), strict=True))
    if (
        sum(least_bits(math.prod(shape), row[None]) for shape, own in tables for row in own)
        > available
    ):
        raise FormatError("the index stream is cut off")
    numbers = [take_numbers(decoder, *pair) for pair in tables]
    rows, columns = (n << (top - prior.class_level) for n in cells)
    if least_bits(rows * columns, prior.frequencies) > available:
        raise FormatError("the index stream is cut off")
    classes = take_classes(decoder, rows, columns, prior.frequencies)
    levels = prior.class_level + 1
    try:
        factors = [int(code) + 1 for code in decoder.decode(_FACTORS, levels)]
        counts = [
            count_blocks(count_units(prior, level, classes, factor), prior.budget)
            for level, factor in zip(reversed(range(levels)), factors, strict=True)
        ]
        if prior.budget * sum(counts) > available:
            raise FormatError("the index stream is cut off")
        indices = take_indices(decoder, np.full(sum(counts), prior.budget), 0)
    except (
        AssertionError
    ) as error:  # what the decoder raises for a point outside every symbol's interval
        raise FormatError("the index stream is damaged") from error
    parts = Parts(
        numbers, classes, factors, np.split(indices.astype(np.int32), np.cumsum(counts)[:-1])
    )
    if write_stream(prior, parts) != payload:
        raise FormatError("the index stream is damaged or has bytes left over")
    return parts
