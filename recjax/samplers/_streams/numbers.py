"""Codes of candidate numbers."""

import abc
import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt32

from recjax.bits import stream, zipf
from recjax.bits.number_models import EliasDelta, NumberModel, UniformModel, ZipfModel, zeta_model
from recjax.samplers.base import checked_index
from recjax.samplers.codelength import (
    budget_exponent,
    model_bits,
    rate_value,
    zeta_bits,
    zipf_bits,
)
from recjax.samplers.index_code import IndexCode, checked_batch, refuse

_DIGIT_BITS = 16


@dataclasses.dataclass(frozen=True, eq=False)
class NumberCode(IndexCode):
    """Code of one candidate number per sample.

    Args:
        last: the largest number.
        proposal: its dtype is that of the lengths.
    """

    last: int
    proposal: Any

    @abc.abstractmethod
    def length(self, number: UInt32[Array, ""]) -> Float[Array, ""]:
        """Length of a number in bits."""

    @abc.abstractmethod
    def model(self) -> NumberModel:
        """The model of numbers in a string."""

    def bits(self, key: Any, index: Any) -> Float[Array, ""]:
        return self.length(checked_index(index, np.asarray(self.last, np.uint32)))

    def settings(self, keys: Any) -> tuple[int, ...]:
        return (*super().settings(keys), *self.model().settings)

    def put(self, encoder: Any, keys: Any, index: Any) -> None:
        self.model().put(encoder, checked_batch(index, len(keys), self.last))

    def take(self, decoder: Any, keys: Any) -> UInt32[np.ndarray, "n"]:
        numbers = self.model().take(decoder, len(keys))
        refuse(numbers > self.last)  # the support may be larger
        return numbers.astype(np.uint32)


@dataclasses.dataclass(frozen=True, eq=False)
class RatedCode(NumberCode):
    """Code of numbers that is tuned for a rate, or Elias delta if the rate is unknown.

    Args:
        last: the largest number.
        proposal: its dtype is that of the lengths.
        rate_bits: the divergence in bits that the code is tuned for, or None.
    """

    rate_bits: Any

    @abc.abstractmethod
    def rated_length(
        self, number: UInt32[Array, ""], rate_bits: Float[Array, ""]
    ) -> Float[Array, ""]:
        """Length of a number in bits, for a known rate."""

    @abc.abstractmethod
    def rated_model(self, rate_bits: float) -> NumberModel:
        """The model of numbers in a string, for a known rate."""

    def length(self, number: UInt32[Array, ""]) -> Float[Array, ""]:
        dtype = self.proposal.dtype
        if self.rate_bits is None:
            return model_bits(EliasDelta(), number, dtype)
        return self.rated_length(number, rate_value(self.rate_bits, dtype))

    def model(self) -> NumberModel:
        if self.rate_bits is None:
            return EliasDelta()
        rate_value(self.rate_bits, jnp.float32)  # refuses a bad rate
        return self.rated_model(float(self.rate_bits))


@dataclasses.dataclass(frozen=True, eq=False)
class ZetaCode(RatedCode):
    """Zeta code, for coders whose numbers have no small bound.

    Args:
        last: the largest number.
        proposal: its dtype is that of the lengths.
        rate_bits: the divergence in bits that the code is tuned for. None gives Elias delta.
        spent_bits: the part of the rate that something beside the number pays for.
    """

    spent_bits: float = 0

    def rated_length(
        self, number: UInt32[Array, ""], rate_bits: Float[Array, ""]
    ) -> Float[Array, ""]:
        return zeta_bits(number, jnp.maximum(rate_bits - self.spent_bits, 0))

    def rated_model(self, rate_bits: float) -> NumberModel:
        return zeta_model(max(rate_bits - self.spent_bits, 0))


@dataclasses.dataclass(frozen=True, eq=False)
class ZipfCode(RatedCode):
    """Zipf code on 2^budget numbers whose exponent grows with the spare budget.

    Strings have the exponent rounded to 1/64, and numbers binned as in `recjax.bits.zipf`: they
    meet the sum of the lengths within 0.05 bits per sample.

    Args:
        last: the largest number.
        proposal: its dtype is that of the lengths.
        rate_bits: the divergence in bits that the code is tuned for. None gives Elias delta.
        budget_bits: log2 of the number of candidates.
    """

    budget_bits: int

    def rated_length(
        self, number: UInt32[Array, ""], rate_bits: Float[Array, ""]
    ) -> Float[Array, ""]:
        return zipf_bits(number, self.last + 1, budget_exponent(rate_bits, self.budget_bits))

    def rated_model(self, rate_bits: float) -> NumberModel:
        parts = math.floor(256 * rate_bits + 0.5)
        return ZipfModel(self.budget_bits, zipf.budget_exponent(parts, self.budget_bits))


@dataclasses.dataclass(frozen=True, eq=False)
class UniformCode(NumberCode):
    """Numbers of equal length: ``budget_bits``.

    Args:
        last: the largest number.
        proposal: its dtype is that of the lengths.
        budget_bits: log2 of the number of candidates, rounded up.
    """

    budget_bits: int

    def length(self, number: UInt32[Array, ""]) -> Float[Array, ""]:
        return jnp.full((), self.budget_bits, self.proposal.dtype)

    def model(self) -> NumberModel:
        return UniformModel(self.budget_bits)


@dataclasses.dataclass(frozen=True, eq=False)
class ListCode(IndexCode):
    """Code of the list that each sample is from, all equally likely, and of its number in the list.

    Args:
        last: the largest index.
        count: the number of lists, at most 2^16 or a power of two up to 2^30.
        number: code of the numbers in a list.
    """

    last: UInt32[np.ndarray, "*shape"]
    count: int
    number: ZetaCode

    @abc.abstractmethod
    def split(self, index: Any) -> tuple[Any, Any]:
        """The list and the number in the list, of an index or of a batch of them."""

    @abc.abstractmethod
    def join(
        self, which: Int[np.ndarray, "n"], number: UInt32[np.ndarray, "n"]
    ) -> UInt32[np.ndarray, "n ..."]:
        """The indices of a batch, from lists and numbers."""

    def bits(self, key: Any, index: Any) -> Float[Array, ""]:
        _, number = self.split(checked_index(index, self.last))
        return self.number.spent_bits + self.number.length(number)

    def settings(self, keys: Any) -> tuple[int, ...]:
        return (*self.number.settings(keys), self.count)

    def put(self, encoder: Any, keys: Any, index: Any) -> None:
        which, number = self.split(checked_batch(index, len(keys), self.last))
        for shift, size in self._digits():
            digit = (which >> shift) % size
            encoder.encode(digit.astype(np.int32), stream.model.Uniform(size))
        self.number.put(encoder, keys, number)

    def take(self, decoder: Any, keys: Any) -> UInt32[np.ndarray, "n ..."]:
        which = np.zeros(len(keys), np.int64)
        for shift, size in self._digits():
            digit = decoder.decode(stream.model.Uniform(size), len(keys))
            which += digit.astype(np.int64) << shift
        return self.join(which, self.number.take(decoder, keys))

    def _digits(self) -> list[tuple[int, int]]:
        """Shifts and radices of the digits of a list's number.

        The range coder, with its frequencies of 24 bits, cannot tell 2^30 lists apart at once.
        """
        if self.count <= 1 << _DIGIT_BITS:
            return [(0, self.count)] if self.count > 1 else []
        return [(0, 1 << _DIGIT_BITS), (_DIGIT_BITS, self.count >> _DIGIT_BITS)]
