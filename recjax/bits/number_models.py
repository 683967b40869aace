"""Models of numbers 0, 1, 2, ... in range-coded strings. Frozen: FORMAT.md, section Strings.

A model is known to sender and receiver. `UniformModel` and `ZipfModel` are for numbers below a
power of two, `EliasDelta` is for numbers of which nothing is known.
"""

import abc
import dataclasses

import numpy as np
from jaxtyping import Float, Int

from recjax.bits import stream, zipf
from recjax.bits.frequencies import PRECISION
from recjax.bits.range_coder import put_indices, put_places, take_indices, take_places
from recjax.errors import FormatError

_POWERS = 1 << np.arange(32)  # ranks at which octaves begin
# The frequency of an octave is that of the gamma code of its ranks' number of digits.
_SHARES = [1 << PRECISION - (2 * digits.bit_length() - 1) for digits in range(1, 33)]
# The last symbol is never written: it stands for all ranks of more digits.
_OCTAVES = stream.model.Categorical(
    stream.weights(np.array([*_SHARES, (1 << PRECISION) - sum(_SHARES)])), perfect=False
)


class NumberModel(abc.ABC):
    """A model of numbers in a range-coded string."""

    @property
    @abc.abstractmethod
    def settings(self) -> tuple[int, int]:
        """log2 of the support and an exponent, by which models differ."""

    @property
    @abc.abstractmethod
    def bins(self) -> tuple[Int[np.ndarray, " bins"], Float[np.ndarray, " bins"]]:
        """First number of every bin, and the bits that numbers in the bin take."""

    @abc.abstractmethod
    def put(self, encoder, numbers: Int[np.ndarray, " n"]) -> None:
        """Encodes numbers as a part of a string.

        Raises:
            ValueError: a number is outside the model's support.
        """

    @abc.abstractmethod
    def take(self, decoder, count: int) -> Int[np.ndarray, " n"]:
        """Decodes the numbers that `put` encoded, as int64.

        Raises:
            FormatError: no numbers have this code.
            AssertionError: the decoder is at a point outside every symbol's interval.
        """


@dataclasses.dataclass(frozen=True)
class UniformModel(NumberModel):
    """Numbers that are equally likely.

    Args:
        log2_size: log2 of the support, 0 .. 31.

    >>> encoder = stream.queue.RangeEncoder()
    >>> UniformModel(12).put(encoder, np.array([0, 4095]))
    >>> UniformModel(12).take(stream.reader(stream.shortest(encoder)), 2)
    array([   0, 4095])
    """

    log2_size: int

    @property
    def settings(self) -> tuple[int, int]:
        return self.log2_size, 0

    @property
    def bins(self) -> tuple[Int[np.ndarray, " bins"], Float[np.ndarray, " bins"]]:
        return np.array([0]), np.array([float(self.log2_size)])

    def put(self, encoder, numbers: Int[np.ndarray, " n"]) -> None:
        if np.any(numbers < 0) or np.any(numbers >> self.log2_size):
            raise ValueError(f"numbers must be from 0 to 2^{self.log2_size} - 1")
        put_places(encoder, numbers, np.full(len(numbers), 1 << self.log2_size))

    def take(self, decoder, count: int) -> Int[np.ndarray, " n"]:
        return take_places(decoder, np.full(count, 1 << self.log2_size))


@dataclasses.dataclass(frozen=True)
class ZipfModel(NumberModel):
    """The truncated Zipf code of `recjax.bits.zipf`.

    Args:
        log2_size: log2 of the support, 0 .. 31; a support of one number takes no bits.
        exponent: exponent in units of 1/64, 0 .. 255.

    >>> encoder = stream.queue.RangeEncoder()
    >>> ZipfModel(16, 57).put(encoder, np.array([0, 5, 9999]))
    >>> ZipfModel(16, 57).take(stream.reader(stream.shortest(encoder)), 3)
    array([   0,    5, 9999])
    """

    log2_size: int
    exponent: int

    @property
    def settings(self) -> tuple[int, int]:
        return self.log2_size, self.exponent

    @property
    def bins(self) -> tuple[Int[np.ndarray, " bins"], Float[np.ndarray, " bins"]]:
        if not self.log2_size:
            return np.array([0]), np.array([0.0])
        edges = np.array(zipf.bin_edges(self.log2_size)[:-1])
        return edges, zipf.bin_bits(self.log2_size, self.exponent)

    def put(self, encoder, numbers: Int[np.ndarray, " n"]) -> None:
        if self.log2_size:
            put_indices(encoder, numbers, np.full(len(numbers), self.log2_size), self.exponent)

    def take(self, decoder, count: int) -> Int[np.ndarray, " n"]:
        if not self.log2_size:
            return np.zeros(count, np.int64)
        return take_indices(decoder, np.full(count, self.log2_size), self.exponent)


@dataclasses.dataclass(frozen=True)
class EliasDelta(NumberModel):
    """The Elias delta code of numbers + 1, as a model of the range coder.

    A rank, number + 1, of `N` binary digits has the probability `2^-L` of its codeword of `L` bits
    (`recjax.bits.elias`): `N` has that of its gamma code, and the digits after the leading 1 are
    equally likely. Ranks below 2^32 can be written.

    >>> encoder = stream.queue.RangeEncoder()
    >>> EliasDelta().put(encoder, np.array([0, 1, 8, 10**9]))
    >>> data = stream.shortest(encoder)
    >>> len(data), EliasDelta().take(stream.reader(data), 4)  # 1 + 4 + 8 + 38 bits
    (7, array([         0,          1,          8, 1000000000]))
    """

    @property
    def settings(self) -> tuple[int, int]:
        return len(_POWERS), 0

    @property
    def bins(self) -> tuple[Int[np.ndarray, " bins"], Float[np.ndarray, " bins"]]:
        return _POWERS - 1, PRECISION - np.log2(_SHARES) + np.arange(len(_POWERS))

    def put(self, encoder, numbers: Int[np.ndarray, " n"]) -> None:
        ranks = np.asarray(numbers, np.int64) + 1
        octaves = np.searchsorted(_POWERS, ranks, side="right") - 1
        if np.any(octaves < 0) or np.any(ranks >> 32):
            raise ValueError("numbers must be from 0 to 2^32 - 2")
        encoder.encode(octaves.astype(np.int32), _OCTAVES)
        put_places(encoder, ranks - _POWERS[octaves], _POWERS[octaves])

    def take(self, decoder, count: int) -> Int[np.ndarray, " n"]:
        octaves = decoder.decode(_OCTAVES, count)
        if np.any(octaves >= len(_POWERS)):
            raise FormatError("the string holds a number of more than 32 binary digits")
        powers = _POWERS[octaves]
        return powers + take_places(decoder, powers) - 1


def zeta_model(rate_bits: float, log2_size: int = zipf.MAX_LOG2_SIZE) -> ZipfModel:
    """The zeta code of a rate.

    Args:
        rate_bits: expected divergence of the targets from the proposal, in bits.
        log2_size: log2 of the support.

    Raises:
        ValueError: the rate is negative or not finite.
    """
    return ZipfModel(log2_size, zipf.zeta_exponent(rate_bits))
