"""Indices of hybrid coding as one range-coded byte string: the cells, all equally likely, then the ranks."""

from typing import Any

import numpy as np
from jaxtyping import Array

from recjax.bits import range_coder, stream, zipf
from recjax.errors import FormatError
from recjax.samplers.hybrid import HybridCoder, HybridIndex


def write(
    coder: HybridCoder, index: HybridIndex, keys: Array, proposal: Any, rate_bits: float
) -> bytes:
    """The indices of a batch as bytes."""
    cell, rank = (np.asarray(part) for part in index)
    if not all(np.issubdtype(part.dtype, np.integer) for part in (cell, rank)):
        raise ValueError("index must hold whole numbers")
    if rank.shape != (len(keys),) or cell.shape != (*rank.shape, *proposal.event_shape):
        raise ValueError(
            f"index: cells {list(cell.shape)} and ranks {list(rank.shape)} do not fit keys and proposal"
        )
    for part, limit in ((cell, 1 << coder.cell_bits), (rank, coder.limit)):
        if np.any(part < 0) or np.any(part >= limit):
            raise ValueError(f"index must be from 0 to {limit - 1}")
    encoder = stream.queue.RangeEncoder()
    if coder.cell_bits:
        encoder.encode(cell.ravel().astype(np.int32), stream.model.Uniform(1 << coder.cell_bits))
    range_coder.put_indices(
        encoder, rank.astype(np.int64), *_zeta(coder, rank.size, proposal, rate_bits)
    )
    return stream.shortest(encoder)


def read(
    coder: HybridCoder, data: bytes, keys: Array, proposal: Any, rate_bits: float
) -> HybridIndex:
    """The indices that `write` wrote.

    Raises:
        FormatError: no such indices have the code ``data``.
    """
    decoder, shape = stream.reader(data), (len(keys), *proposal.event_shape)
    cell = np.zeros(shape, np.uint32)
    try:
        if coder.cell_bits:
            model = stream.model.Uniform(1 << coder.cell_bits)
            cell = decoder.decode(model, cell.size).reshape(shape).astype(np.uint32)
        rank = range_coder.take_indices(decoder, *_zeta(coder, len(keys), proposal, rate_bits))
    except (
        AssertionError
    ) as error:  # what the decoder raises for a point outside every symbol's interval
        raise FormatError("the index stream is damaged") from error
    index = HybridIndex(cell, rank.astype(np.uint32))
    if np.any(rank >= coder.limit) or write(coder, index, keys, proposal, rate_bits) != data:
        raise FormatError("the index stream is damaged or has bytes left over")
    return index


def _zeta(coder, count, proposal, rate_bits):
    rate = max(rate_bits - coder.cell_bits * proposal.event_size, 0)
    return np.full(count, zipf.MAX_LOG2_SIZE), zipf.zeta_exponent(rate)
