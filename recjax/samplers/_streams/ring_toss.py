"""Code of ring toss: for every candidate the probability that the search ends there.

A string begins with a flag for every sample. The indices of flagged samples follow in Elias delta.
Then, candidate by candidate, every other sample that has not ended says whether it ends there: with
the probability w, a whole number of shares out of 2^24, moved into 1 .. 2^24 - 1.

Which inputs a candidate ends the search for is decided by comparing floating-point numbers. Those
samples are flagged for which a comparison is so close on some candidate that another device may
decide otherwise: indices without a flag are read alike on every device, although w is computed and
not sent.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from recjax import randomness
from recjax.bits import stream
from recjax.bits.frequencies import PRECISION
from recjax.bits.number_models import EliasDelta
from recjax.distributions.channel import Channel
from recjax.randomness import Stream
from recjax.samplers.base import checked_index
from recjax.samplers.index_code import IndexCode, checked_batch, refuse

_ROUNDS = 64  # candidates at a time
_FEW, _MANY = 64, 2048  # samples at a time: two sizes, so that few programs are compiled
_FLAGGED = 1 << 13  # frequency of a flag out of 2^24: flags cost 0.0007 bits per sample
_DOUBT = 4e-6  # nats, absolute and relative, by which the thresholds of devices may differ
_ULPS = 8  # units in the last place by which the samples of devices may differ


@dataclasses.dataclass(frozen=True, eq=False)
class RingTossCode(IndexCode):
    """-log2 of the probability of an index given the shared randomness.

    Args:
        last: the largest index.
        channel: the proposal.
    """

    last: int
    channel: Channel

    def bits(self, key: Any, index: Any) -> Float[Array, ""]:
        index = checked_index(index, np.asarray(self.last, np.uint32))
        return _bits(key, index, self.channel)

    def put(self, encoder: Any, keys: Any, index: Any) -> None:
        index = checked_batch(index, len(keys), self.last)
        lanes, doubtful, rounds = np.arange(len(index)), np.zeros(len(index), bool), []
        for start in range(0, int(index.max(initial=-1)) + 1, _ROUNDS):
            lanes = lanes[index[lanes] >= start]
            count, doubt = _tosses(keys, lanes, start, self.channel, doubts=True)
            examined = start + np.arange(_ROUNDS) <= index[lanes, None]
            doubtful[lanes] |= (doubt & examined).any(axis=1)
            rounds.append((start, lanes, count))
        encoder.encode(doubtful.astype(np.int32), stream.PAIRS, _flag_weights(len(index)))
        EliasDelta().put(encoder, index[doubtful])
        for start, lanes, count in rounds:
            for i in range(_ROUNDS):
                # samples without a flag that have not ended before this candidate
                active = (index[lanes] >= start + i) & ~doubtful[lanes]
                if active.any():
                    goes_on = index[lanes[active]] > start + i
                    weights = _weights(count[active, i])
                    encoder.encode(goes_on.astype(np.int32), stream.PAIRS, weights)

    def take(self, decoder: Any, keys: Any) -> UInt32[np.ndarray, "n"]:
        index = np.zeros(len(keys), np.int64)
        flags = decoder.decode(stream.PAIRS, _flag_weights(len(index))).astype(bool)
        index[flags] = EliasDelta().take(decoder, int(flags.sum()))
        lanes, start = np.flatnonzero(~flags), 0
        while lanes.size and start <= self.last:
            count, _ = _tosses(keys, lanes, start, self.channel, doubts=False)
            active = np.ones(lanes.size, bool)
            for i in range(_ROUNDS):
                if active.any():
                    goes_on = decoder.decode(stream.PAIRS, _weights(count[active, i]))
                    active[active] = goes_on.astype(bool)
                    index[lanes[active]] += 1
            lanes, start = lanes[active], start + _ROUNDS
        refuse(index > self.last)
        return index.astype(np.uint32)


def checked_channel(proposal: Any) -> Channel:
    """The proposal.

    Raises:
        ValueError: it is not a ``Channel``.
    """
    if not isinstance(proposal, Channel):
        raise ValueError(f"proposal: ring toss needs a Channel, got a {type(proposal).__name__}")
    return proposal


def tosses(
    key: Array, index: UInt32[Array, "n"], channel: Channel, doubts: bool = False
) -> tuple[Int[Array, "n"], Bool[Array, "n"]]:
    """For each candidate w out of ``channel.total``, and whether another device may find another w.

    Args:
        key: the shared key.
        index: numbers of the candidates.
        channel: the proposal.
        doubts: whether the second result is needed; otherwise it is False.
    """
    candidate, accept = (
        randomness.stream_key(key, stream) for stream in (Stream.CANDIDATE, Stream.ACCEPT)
    )

    def one(i):
        y = channel.sample_from_bits(randomness.coordinate_bits(candidate, i, channel.event_size))
        gap = randomness.exponential(randomness.coordinate_bits(accept, i, 1)[0], channel.dtype)
        found = channel.acceptance(y, gap)
        if not doubts:
            return found, jnp.zeros((), bool)
        step = 1 + _DOUBT
        others = [
            channel.acceptance(x, g)
            for x in _neighbours(y)
            for g in (gap * step + _DOUBT, gap / step - _DOUBT)
        ]
        return found, jnp.any(jnp.stack(others) != found)

    return jax.vmap(one)(index)


def _neighbours(y: Array) -> list[Array]:
    """Samples that another device may find instead of y; integers are the same on all devices."""
    if jnp.issubdtype(y.dtype, jnp.integer):
        return [y]
    shift = _ULPS * jnp.finfo(y.dtype).eps * jnp.abs(y)
    return [y - shift, y + shift]


class _Sum(NamedTuple):
    """Length of an index under way."""

    start: UInt32[Array, ""]  # the next candidate
    bits: Float[Array, ""]  # for the candidates before it


@jax.jit
def _bits(key: Array, index: UInt32[Array, ""], channel: Channel) -> Float[Array, ""]:
    least = 1 / channel.total

    def step(state):
        places = state.start + jnp.arange(_ROUNDS, dtype=jnp.uint32)
        count, _ = tosses(key, places, channel)
        share = jnp.clip(count.astype(channel.dtype) / channel.total, least, 1 - least)
        # nothing for candidates after the one of the index
        each = jnp.where(
            places < index, -jnp.log1p(-share), jnp.where(places == index, -jnp.log(share), 0)
        )
        bits = jnp.sum(each) / jnp.log(jnp.asarray(2, share.dtype))
        return _Sum(state.start + _ROUNDS, state.bits + bits)

    # index & 0 varies over the mesh axes that the index varies over, as shard_map wants of a loop
    start = _Sum(jnp.zeros_like(index), (index & 0).astype(channel.dtype))
    return jax.lax.while_loop(lambda state: state.start <= index, step, start).bits


def _weights(first: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n 2"]:
    """Weights of two symbols from the frequency of the first, with which both can be written."""
    total = 2**PRECISION
    first = np.clip(first, 1, total - 1)
    return stream.weights(np.stack([first, total - first], axis=-1))


def _flag_weights(count: int) -> Float[np.ndarray, "n 2"]:
    return _weights(np.full(count, 2**PRECISION - _FLAGGED))


def _tosses(
    keys: Any, lanes: Int[np.ndarray, "n"], start: int, channel: Channel, doubts: bool
) -> tuple[Int[np.ndarray, "n rounds"], Bool[np.ndarray, "n rounds"]]:
    """w and doubts of the samples in ``lanes`` for the candidates from ``start`` on."""
    parts = [_slab(keys, slab, start, channel, doubts) for slab in _slabs(lanes)]
    count, doubt = (np.concatenate(part)[: lanes.size] for part in zip(*parts, strict=True))
    return count, doubt


def _slabs(lanes: Int[np.ndarray, "n"]) -> Iterator[Int[np.ndarray, "size"]]:
    """Lane numbers, some at a time. The last slab is padded with its last lane."""
    size = _FEW if lanes.size <= _FEW else _MANY
    for first in range(0, lanes.size, size):
        slab = lanes[first : first + size]
        yield np.pad(slab, (0, size - slab.size), mode="edge")


@functools.partial(jax.jit, static_argnums=4)
def _slab(
    keys: Array, lanes: Int[Array | np.ndarray, "size"], start: Any, channel: Channel, doubts: bool
) -> tuple[Int[Array, "size rounds"], Bool[Array, "size rounds"]]:
    index = jnp.uint32(start) + jnp.arange(_ROUNDS, dtype=jnp.uint32)
    return jax.vmap(lambda key: tosses(key, index, channel, doubts))(keys[lanes])
