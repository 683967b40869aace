"""The stream of staged coefficients. Frozen: FORMAT.md, section Staged coefficients.

Step, size of the cells and number of channels come first, then the loudness of every channel. The
coefficients follow stage by stage: symbols, intervals of large magnitudes, places in intervals, and
signs.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from recjax.bits import stream
from recjax.codec.staged import contexts, symbols
from recjax.codec.staged.lapped import n_frames
from recjax.codec.staged.lattice import SMALLEST, STAGES, Stage, features, rows_of_bins
from recjax.codec.staged.prior import StagedPrior
from recjax.errors import FormatError

STEPS = 1 << 12
"""Number of quantisation steps: 2^(i / 64 - 48)."""
CELLS = 4
MOST_CHANNELS = 8
LOUDNESS = 256
"""Loudness 0 is silence: no coefficient of the channel is coded."""
MOST_COEFFICIENTS = 1 << 24
"""Most coefficients of a stream: longer signals are in segments."""
_PAIR = stream.model.Uniform(2)


class Head(NamedTuple):
    """What the stream says before its coefficients.

    Attributes:
        step: number of the quantisation step.
        cell: log2 of the size of the cells over the smallest.
        loudness: loudness of every channel, 8 log2 of the mean magnitude plus 128.
    """

    step: int
    cell: int
    loudness: tuple[int, ...]

    @property
    def bins(self) -> int:
        """Size of the cells."""
        return SMALLEST << self.cell

    @property
    def step_size(self) -> float:
        """The quantisation step."""
        return 2.0 ** (self.step / 64 - 48)

    @property
    def heard(self) -> list[int]:
        """The channels that are not silent."""
        return [i for i, loudness in enumerate(self.loudness) if loudness]


Decide = Callable[[Stage, Int[np.ndarray, "channels frames bins"]], Any]
"""Function of a stage and the distributions of its coefficients that returns these."""


def walk(
    prior: StagedPrior, head: Head, length: int, decide: Decide
) -> tuple[Int[np.ndarray, "channels frames bins"], Int[np.ndarray, "channels frames bins"]]:
    """Visits all stages of the channels that are not silent.

    Args:
        prior: the prior.
        head: the head of the stream.
        length: values of a channel.
        decide: called with each stage and the distributions of its coefficients; returns these.

    Returns:
        The coefficients as multiples of the step, and the scales of their distributions.
    """
    shape = (len(head.heard), n_frames(length, head.bins), head.bins)
    found, scales = np.zeros(shape, np.int32), np.zeros(shape, np.uint8)
    activity = np.zeros(shape, np.int64)
    loudness, rows = np.array(head.loudness)[head.heard], rows_of_bins(head.bins)
    for stage, layers in zip(STAGES, prior.layers, strict=True):
        place = stage.place()
        if not found[place].size:  # all channels are silent, or there are few frames
            continue
        which = contexts.distributions(layers, features(stage, activity, loudness), rows)
        found[place] = decide(stage, which)
        scales[place] = which // contexts.SHAPES
        activity[place] = symbols.activities_of(np.abs(found[place]))
    return found, scales


def write(
    prior: StagedPrior, head: Head, length: int, decide: Decide
) -> tuple[bytes, Int[np.ndarray, "channels frames bins"]]:
    """The stream of the coefficients of the channels that are not silent, and these.

    Args:
        prior: the prior.
        head: the head of the stream.
        length: values of a channel.
        decide: as for `walk`.
    """
    encoder = _begun(head)

    def put(stage, which):
        values = decide(stage, which)
        _put(encoder, prior, which, values)
        return values

    found, _ = walk(prior, head, length, put)
    return stream.shortest(encoder), found


def _begun(head: Head) -> Any:
    """An encoder with the head of a stream."""
    encoder = stream.queue.RangeEncoder()
    numbers = [(head.step, STEPS), (head.cell, CELLS), (len(head.loudness) - 1, MOST_CHANNELS)]
    for value, size in [*numbers, *((loudness, LOUDNESS) for loudness in head.loudness)]:
        encoder.encode(value, stream.model.Uniform(size))
    return encoder


def _put(encoder, prior, which, values):
    """Encodes the coefficients of a stage."""
    which, values = which.ravel(), values.ravel()
    magnitude = np.abs(values)
    symbol = np.minimum(magnitude, symbols.ESCAPE).astype(np.int32)
    encoder.encode(symbol, stream.PAIRS, stream.weights(prior.frequencies[which]))
    large = magnitude >= symbols.ESCAPE
    if large.any():
        interval = symbols.intervals_of(magnitude[large])
        tails = stream.weights(prior.tails[which[large] // contexts.SHAPES])
        encoder.encode(interval.astype(np.int32), stream.PAIRS, tails)
        place = (magnitude[large] - symbols.EDGES[interval]).astype(np.int32)
        for size in np.unique(_sizes(interval)):
            those = _sizes(interval) == size
            encoder.encode(place[those], stream.model.Uniform(int(size)))
    negative = (values[magnitude > 0] < 0).astype(np.int32)
    if negative.size:
        encoder.encode(negative, _PAIR)


def _take(decoder, prior, which):
    """Decodes the coefficients of a stage."""
    shape, which = which.shape, which.ravel()
    weights = stream.weights(prior.frequencies[which])
    magnitude = decoder.decode(stream.PAIRS, weights).astype(np.int64)
    large = np.flatnonzero(magnitude == symbols.ESCAPE)
    if large.size:
        tails = stream.weights(prior.tails[which[large] // contexts.SHAPES])
        interval = decoder.decode(stream.PAIRS, tails)
        for size in np.unique(_sizes(interval)):
            those = _sizes(interval) == size
            place = decoder.decode(stream.model.Uniform(int(size)), int(those.sum()))
            magnitude[large[those]] = symbols.EDGES[interval[those]] + place
    nonzero = np.flatnonzero(magnitude)
    if nonzero.size:
        magnitude[nonzero] *= 1 - 2 * decoder.decode(_PAIR, nonzero.size).astype(np.int64)
    return magnitude.reshape(shape)


def read_head(decoder: Any) -> Head:
    """The head of a stream."""
    step, cell, channels = (
        int(decoder.decode(stream.model.Uniform(size))) for size in (STEPS, CELLS, MOST_CHANNELS)
    )
    loudness = decoder.decode(stream.model.Uniform(LOUDNESS), channels + 1)
    return Head(step, cell, tuple(int(x) for x in loudness))


def read(
    prior: StagedPrior, data: bytes, length: int
) -> tuple[Head, Int[np.ndarray, "channels frames bins"], Int[np.ndarray, "channels frames bins"]]:
    """Head, coefficients and scales of a stream.

    Args:
        prior: the prior.
        data: the stream.
        length: values of a channel.

    Raises:
        FormatError: the stream is damaged.
    """
    decoder = stream.reader(data)
    with stream.refusing("index stream"):
        head = read_head(decoder)
        # before anything is allocated: no coefficient is free
        coefficients = len(head.heard) * n_frames(length, head.bins) * head.bins
        if coefficients > MOST_COEFFICIENTS:
            raise FormatError(f"a stream has at most {MOST_COEFFICIENTS} coefficients")
        if coefficients * _least_bits(prior) > 8 * len(data) + 64:
            raise FormatError("the index stream is cut off")

        encoder = _begun(head)

        def decide(_, which):
            values = _take(decoder, prior, which)
            _put(encoder, prior, which, values)
            return values

        found, scales = walk(prior, head, length, decide)
    # a stream is valid only as the writer makes it
    if stream.shortest(encoder) != data:
        raise FormatError("the index stream is damaged or has bytes left over")
    return head, found, scales


def _sizes(interval: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    return symbols.EDGES[interval + 1] - symbols.EDGES[interval]


def _least_bits(prior: StagedPrior) -> float:
    return 24 - math.log2(prior.frequencies.max())
