"""Codes of candidate numbers."""

import abc
import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt32

from recjax.bits import range_coder, stream, zipf
from recjax.samplers.base import checked_index
from recjax.samplers.codelength import budget_exponent, rate_value, zeta_bits, zipf_bits
from recjax.samplers.index_code import IndexCode, checked_batch, refuse

_DIGIT_BITS = 16


@dataclasses.dataclass(frozen=True, eq=False)
class NumberCode(IndexCode):
    """Code of one candidate number per sample, written in a Zipf code of finite support.

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
    def table(self) -> tuple[int, int]:
        """log2 of the support of the Zipf code, and its exponent in units of 1/64."""

    def bits(self, key: Any, index: Any) -> Float[Array, ""]:
        return self.length(checked_index(index, np.asarray(self.last, np.uint32)))

    def put(self, encoder: Any, keys: Any, index: Any) -> None:
        log2_size, exponent = self.table()
        numbers = checked_batch(index, len(keys), self.last)
        range_coder.put_indices(encoder, numbers, np.full(len(keys), log2_size), exponent)

    def take(self, decoder: Any, keys: Any) -> UInt32[np.ndarray, "n"]:
        log2_size, exponent = self.table()
        numbers = range_coder.take_indices(decoder, np.full(len(keys), log2_size), exponent)
        refuse(numbers > self.last)  # the support may be larger
        return numbers.astype(np.uint32)


@dataclasses.dataclass(frozen=True, eq=False)
class ZetaCode(NumberCode):
    """Zeta code, for coders whose numbers have no small bound.

    Args:
        last: the largest number.
        proposal: its dtype is that of the lengths.
        rate_bits: the divergence in bits that the code is tuned for.
        spent_bits: the part of the rate that something beside the number pays for.
    """

    rate_bits: Any
    spent_bits: float = 0

    def length(self, number: UInt32[Array, ""]) -> Float[Array, ""]:
        rate = rate_value(self.rate_bits, self.proposal.dtype)
        return zeta_bits(number, jnp.maximum(rate - self.spent_bits, 0))

    def table(self) -> tuple[int, int]:
        rate_value(self.rate_bits, jnp.float32)  # refuses a bad rate
        rate = max(self.rate_bits - self.spent_bits, 0)
        return zipf.MAX_LOG2_SIZE, zipf.zeta_exponent(rate)


@dataclasses.dataclass(frozen=True, eq=False)
class ZipfCode(NumberCode):
    """Zipf code on 2^budget numbers whose exponent grows with the spare budget.

    Strings have the exponent rounded to 1/64, and numbers binned as in `recjax.bits.zipf`: they
    meet the sum of the lengths within 0.05 bits per sample.

    Args:
        last: the largest number.
        proposal: its dtype is that of the lengths.
        rate_bits: the divergence in bits that the code is tuned for.
        budget_bits: log2 of the number of candidates.
    """

    rate_bits: Any
    budget_bits: int

    def length(self, number: UInt32[Array, ""]) -> Float[Array, ""]:
        rate = rate_value(self.rate_bits, self.proposal.dtype)
        return zipf_bits(number, self.last + 1, budget_exponent(rate, self.budget_bits))

    def table(self) -> tuple[int, int]:
        exponent = budget_exponent(rate_value(self.rate_bits, jnp.float32), self.budget_bits)
        return checked_budget(self.budget_bits), round(64 * float(exponent))


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

    def table(self) -> tuple[int, int]:
        return checked_budget(self.budget_bits), 0


def checked_budget(budget_bits: int) -> int:
    """The budget of a coder whose indices are to be written.

    Raises:
        ValueError: the budget is 0 bits, which leaves nothing to write.
    """
    if not budget_bits:
        raise ValueError("coder: the indices of a budget of 0 bits have no code for many samples")
    return budget_bits


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
