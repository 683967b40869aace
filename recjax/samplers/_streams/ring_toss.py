"""Indices of ring toss as one range-coded byte string.

First a flag for every sample, then the indices of flagged ones in a zeta code, then, candidate by candidate, for every
other sample that is still under way, whether it stops there: with the probability w, a whole number of shares out of
2^24, moved into 1 .. 2^24 - 1. Which inputs a candidate would stop is decided by comparing floating-point numbers.
Those samples are flagged for which it is so close on some candidate that another device may decide otherwise: what is
not flagged is read alike everywhere, although it is computed and not sent.
"""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, UInt32

from recjax.bits import range_coder, stream, zipf
from recjax.distributions.channel import Channel
from recjax.errors import FormatError
from recjax.samplers.ring_toss import RingToss, checked_channel, tosses

_ROUNDS = 64  # candidates at a time
_FEW, _MANY = 64, 2048  # samples at a time: two sizes, so that few programs are compiled
_FLAGGED = 1 << 13  # out of 2^24: flags cost 0.0007 bits a sample


def write(
    coder: RingToss, index: Int[np.ndarray, "n"], keys: Array, channel: Channel, rate_bits: float
) -> bytes:
    """The indices as bytes; the rate tunes the code of those that are flagged."""
    index = np.asarray(index)
    if index.shape != (len(keys),) or not np.issubdtype(index.dtype, np.integer):
        raise ValueError(f"index must hold whole numbers, as many as keys, got {list(index.shape)}")
    if np.any(index < 0) or np.any(index >= coder.limit):
        raise ValueError(f"index must be from 0 to {coder.limit - 1}")
    index = index.astype(np.int64)
    left, doubtful, rounds = np.arange(len(index)), np.zeros(len(index), bool), []
    for start in range(0, int(index.max(initial=-1)) + 1, _ROUNDS):
        left = left[index[left] >= start]
        count, doubt = _tosses(keys, left, start, checked_channel(channel), doubts=True)
        examined = start + np.arange(_ROUNDS) <= index[left, None]
        doubtful[left] |= (doubt & examined).any(axis=1)
        rounds.append((start, left, count))
    encoder = stream.queue.RangeEncoder()
    encoder.encode(
        doubtful.astype(np.int32),
        stream.PAIRS,
        _weights(np.full(len(index), 2**zipf.PRECISION - _FLAGGED)),
    )
    range_coder.put_indices(encoder, index[doubtful], *_zeta(doubtful, rate_bits))
    for start, lanes, count in rounds:
        for i in range(_ROUNDS):
            here = (index[lanes] >= start + i) & ~doubtful[lanes]
            if here.any():
                goes_on = index[lanes[here]] > start + i
                encoder.encode(goes_on.astype(np.int32), stream.PAIRS, _weights(count[here, i]))
    return stream.shortest(encoder)


def read(
    coder: RingToss, data: bytes, keys: Array, channel: Channel, rate_bits: float
) -> UInt32[np.ndarray, "n"]:
    """The indices that `write` wrote.

    Raises:
        FormatError: no such indices have the code ``data``.
    """
    decoder, index = stream.reader(data), np.zeros(len(keys), np.int64)
    try:
        flags = decoder.decode(
            stream.PAIRS, _weights(np.full(len(keys), 2**zipf.PRECISION - _FLAGGED))
        ).astype(bool)
        index[flags] = range_coder.take_indices(decoder, *_zeta(flags, rate_bits))
        left, start = np.flatnonzero(~flags), 0
        while left.size and start < coder.limit:
            count, _ = _tosses(keys, left, start, checked_channel(channel))
            going = np.ones(left.size, bool)
            for i in range(_ROUNDS):
                if going.any():
                    going[going] = decoder.decode(stream.PAIRS, _weights(count[going, i])).astype(
                        bool
                    )
                    index[left[going]] += 1
            left, start = left[going], start + _ROUNDS
    except (
        AssertionError
    ) as error:  # what the decoder raises for a point outside every symbol's interval
        raise FormatError("the index stream is damaged") from error
    if np.any(index >= coder.limit) or write(coder, index, keys, channel, rate_bits) != data:
        raise FormatError("the index stream is damaged or has bytes left over")
    return index.astype(np.uint32)


def _zeta(flags: Bool[np.ndarray, "n"], rate_bits: float):
    return np.full(flags.sum(), zipf.MAX_LOG2_SIZE), zipf.zeta_exponent(rate_bits)


def _weights(first: Int[np.ndarray, "n"]) -> np.ndarray:
    """The frequencies of two symbols from that of the first."""
    total = 2**zipf.PRECISION
    first = np.clip(first, 1, total - 1)
    return stream.weights(np.stack([first, total - first], axis=-1))


def _tosses(keys, lanes, start, channel, doubts=False):
    """w [lanes, rounds] and doubts for the candidates from ``start`` on."""
    parts = [_slab(keys, slab, start, channel, doubts) for slab in _slabs(lanes)]
    count, doubt = (np.concatenate(part)[: lanes.size] for part in zip(*parts, strict=True))
    return count, doubt


def _slabs(lanes) -> Iterator[np.ndarray]:
    """Lane numbers, the last slab filled up with its last lane."""
    size = _FEW if lanes.size <= _FEW else _MANY
    for first in range(0, lanes.size, size):
        slab = lanes[first : first + size]
        yield np.pad(slab, (0, size - slab.size), mode="edge")


@functools.partial(jax.jit, static_argnums=4)
def _slab(keys, lanes, start, channel, doubts):
    index = jnp.uint32(start) + jnp.arange(_ROUNDS, dtype=jnp.uint32)
    return jax.vmap(lambda key: tosses(key, index, channel, doubts))(keys[lanes])
