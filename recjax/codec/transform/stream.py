"""Frozen (FORMAT.md, transforms): the stream: symbols of upper levels, rate classes, blocks."""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from recjax.bits import stream
from recjax.bits.range_coder import put_indices, take_indices
from recjax.codec.header import Header
from recjax.codec.transform.layout import count_blocks, count_units
from recjax.codec.transform.prior import TransformPrior
from recjax.codec.transform.rate_classes import class_bits, least_bits, put_classes, take_classes
from recjax.codec.transform.symbols import put_symbols, symbol_bits, take_symbols
from recjax.errors import FormatError
from recjax.modalities.grid import n_patches

_FACTORS = stream.model.Uniform(256)


class Parts(NamedTuple):
    """The content of a stream.

    Attributes:
        symbols: symbols of every quantised level, from the top.
        classes: rate classes of the cells of the class level.
        rate_factors: rate of the other levels relative to the expected one, from the class level
            down, 1 to 256, in units of 1/32.
        indices: indices of the blocks of these levels.
    """

    symbols: list[Int[np.ndarray, "*_cells _depth"]]
    classes: Int[np.ndarray, "*_class_cells"]
    rate_factors: list[int]
    indices: list[Int[np.ndarray, "_blocks"]]


def write_stream(prior: TransformPrior, parts: Parts) -> bytes:
    """The shortest bytes of the parts."""
    encoder = stream.queue.RangeEncoder()
    for symbols, frequencies in zip(parts.symbols, reversed(prior.symbol_frequencies), strict=True):
        put_symbols(encoder, symbols, frequencies)
    put_classes(encoder, parts.classes, prior.frequencies)
    encoder.encode(np.array(parts.rate_factors, np.int32) - 1, _FACTORS)
    # the trellis has no preference for small indices
    indices = np.concatenate(parts.indices)
    put_indices(encoder, indices, np.full(len(indices), prior.budget), 0)
    return stream.shortest(encoder)


def part_bits(prior: TransformPrior, parts: Parts) -> dict[str, float]:
    """Length of the code of every part, in bits."""
    symbols = zip(parts.symbols, reversed(prior.symbol_frequencies), strict=True)
    return {
        "numbers": sum(symbol_bits(*pair) for pair in symbols),
        "classes": class_bits(parts.classes, prior.frequencies),
        "factors": 8.0 * len(parts.rate_factors),
        "blocks": float(prior.budget * sum(map(len, parts.indices))),
    }


def read_stream(prior: TransformPrior, cells: tuple[int, ...], payload: bytes) -> Parts:
    """The parts of a stream.

    Args:
        prior: prior of the file.
        cells: cells of the top level along every axis.
        payload: the bytes. Nothing that they cannot hold is allocated.

    Raises:
        FormatError: no signal has this stream.
    """
    decoder, available, config = stream.reader(payload), 8 * len(payload) + 64, prior.config
    quantised = reversed(range(prior.class_level + 1, config.levels))
    tables = [
        (config.cells(level, cells), frequencies)
        for level, frequencies in zip(quantised, reversed(prior.symbol_frequencies), strict=True)
    ]
    least = (
        least_bits(math.prod(shape), row[None])
        for shape, frequencies in tables
        for row in frequencies
    )
    if sum(least) > available:
        raise FormatError("the index stream is cut off")
    symbols = [take_symbols(decoder, *table) for table in tables]
    shape = config.cells(prior.class_level, cells)
    if least_bits(math.prod(shape), prior.frequencies) > available:
        raise FormatError("the index stream is cut off")
    classes = take_classes(decoder, shape, prior.frequencies)
    levels = prior.class_level + 1
    try:
        rate_factors = [int(code) + 1 for code in decoder.decode(_FACTORS, levels)]
        counts = [
            count_blocks(count_units(prior, level, classes, factor), prior.budget)
            for level, factor in zip(reversed(range(levels)), rate_factors, strict=True)
        ]
        if prior.budget * sum(counts) > available:
            raise FormatError("the index stream is cut off")
        indices = take_indices(decoder, np.full(sum(counts), prior.budget), 0)
    except AssertionError as error:  # the decoder's answer to a point outside every interval
        raise FormatError("the index stream is damaged") from error
    parts = Parts(
        symbols, classes, rate_factors, np.split(indices.astype(np.int32), np.cumsum(counts)[:-1])
    )
    if write_stream(prior, parts) != payload:
        raise FormatError("the index stream is damaged or has bytes left over")
    return parts


def account(prior: TransformPrior, header: Header, payload: bytes) -> dict[str, dict[str, Any]]:
    """Blocks, and length of the code in bits, of every part of a stream.

    Raises:
        FormatError: the stream is damaged.
    """
    parts = read_stream(prior, n_patches(header.sides(prior), prior.patch), payload)
    blocks = {"blocks": sum(map(len, parts.indices))}
    return {
        name: {"blocks": blocks.get(name, 0), "index_bits": round(length, 2)}
        for name, length in part_bits(prior, parts).items()
    }
