"""Indices of dithered quantisation as one range-coded byte string.

Every index has a table of its own: the density of the proposal at the points of its lattice, as whole numbers. They
follow from the dither and the proposal by exactly rounded operations in double precision (sums, products, quotients)
and from there on by integers, those of `Categorical`: every machine has the same table.
"""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Int

from recjax.bits import stream, zipf
from recjax.distributions.categorical import Categorical
from recjax.errors import FormatError
from recjax.samplers.dithered import DitheredQuantizer, dither, nats, reach

_MOST = 1 << 12  # points of a table
_ROWS = 1 << 11  # tables at a time


def write(
    coder: DitheredQuantizer,
    index: Int[np.ndarray, "n ..."],
    keys: Array,
    proposal: Any,
    rate_bits: float,
) -> bytes:
    """The indices of a batch as bytes; the rate is not used.

    Raises:
        ValueError: an index is beyond what its table holds, as no target within the proposal's reach has.
    """
    index = np.asarray(index)
    if index.shape != (len(keys), *proposal.event_shape) or not np.issubdtype(
        index.dtype, np.integer
    ):
        raise ValueError(
            f"index must hold whole numbers, for every key {list(proposal.event_shape)}"
        )
    encoder, flat = stream.queue.RangeEncoder(), index.ravel().astype(np.int64)
    first, count, tables = _tables(coder.step, keys, proposal)
    place = flat - first
    if np.any(place < 0) or np.any(place >= count):
        raise ValueError("index: a sample is beyond the reach of the proposal")
    for rows, frequencies in tables:
        model = stream.model.Categorical(perfect=False)
        encoder.encode(place[rows].astype(np.int32), model, stream.weights(frequencies))
    return stream.shortest(encoder)


def read(
    coder: DitheredQuantizer, data: bytes, keys: Array, proposal: Any, rate_bits: float
) -> Int[np.ndarray, "n ..."]:
    """The indices that `write` wrote.

    Raises:
        FormatError: no such indices have the code ``data``.
    """
    decoder = stream.reader(data)
    first, count, tables = _tables(coder.step, keys, proposal)
    place = np.zeros_like(first)
    try:
        for rows, frequencies in tables:
            place[rows] = decoder.decode(
                stream.model.Categorical(perfect=False), stream.weights(frequencies)
            )
    except (
        AssertionError
    ) as error:  # what the decoder raises for a point outside every symbol's interval
        raise FormatError("the index stream is damaged") from error
    index = (first + place).astype(np.int32).reshape(len(keys), *proposal.event_shape)
    if np.any(place >= count) or write(coder, index, keys, proposal, rate_bits) != data:
        raise FormatError("the index stream is damaged or has bytes left over")
    return index


def _tables(step, keys, proposal):
    """For every component of every sample the first index and the number of points; and tables, some rows at a time."""
    u = np.asarray(_dithers(keys, proposal), np.float64)
    law = jax.tree.map(
        lambda x: np.broadcast_to(np.asarray(x, np.float64), u.shape).ravel(), proposal
    )
    low, high = reach(law)
    u = u.ravel()
    # and one on either side that is all but impossible, for samples that rounding has moved out
    first, last = np.ceil(low / step - u) - 1, np.floor(high / step - u) + 1
    count = (last - first).astype(np.int64) + 1
    width = int(count.max(initial=1))
    if width > _MOST:
        raise ValueError(
            f"step {step} is too small for the proposal: {width} values, of {_MOST} at most"
        )

    def tables():
        for start in range(0, u.size, _ROWS):
            rows = slice(start, start + _ROWS)
            k = first[rows, None] + np.arange(width)
            part = jax.tree.map(lambda x, rows=rows: x[rows, None], law)
            inside = (k > first[rows, None]) & (k < last[rows, None])
            logits = np.where(inside, nats(part, (k + u[rows, None]) * step), -np.inf)
            yield rows, _frequencies(logits)

    return first.astype(np.int64), count, tables()


_dithers = jax.jit(jax.vmap(dither, in_axes=(0, None)))


def _frequencies(logits):
    """Positive integers that sum to 2^24 in every row."""
    weights = np.asarray(Categorical(logits.astype(np.float32)).weights(), np.int64)
    found = 1 + weights * (2**zipf.PRECISION - logits.shape[1]) // weights.sum(1, keepdims=True)
    found[np.arange(len(found)), weights.argmax(1)] += 2**zipf.PRECISION - found.sum(1)
    return found
