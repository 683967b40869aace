"""Code of hybrid indices: the cells, all equally likely, and the rank."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, UInt32

from recjax.bits import stream
from recjax.samplers._streams.numbers import ZetaCode
from recjax.samplers.base import checked_index
from recjax.samplers.index_code import IndexCode, checked_batch


class HybridIndex(NamedTuple):
    """Index of hybrid coding.

    Attributes:
        cell: for each component a cell in the proposal's quantiles, from 0 to 2^cell_bits - 1.
        rank: the 0-based number of the candidate.
    """

    cell: UInt32[Array | np.ndarray, "*event"]
    rank: UInt32[Array | np.ndarray, ""]


@dataclasses.dataclass(frozen=True, eq=False)
class HybridCode(IndexCode):
    """``cell_bits`` per component, and the zeta code of the rank at a rate that is less by as much.

    Args:
        last: the largest cell of every component.
        cell_bits: log2 of the number of cells per component.
        rank: code of the rank.
    """

    last: UInt32[np.ndarray, "*event"]
    cell_bits: int
    rank: ZetaCode

    def bits(self, key: Any, index: Any) -> Float[Array, ""]:
        _, rank = checked_hybrid(index, self.last, self.rank.last)
        return self.rank.spent_bits + self.rank.length(rank)

    def settings(self, keys: Any) -> tuple[int, ...]:
        return (*self.rank.settings(keys), self.cell_bits, self.last.size)

    def put(self, encoder: Any, keys: Any, index: Any) -> None:
        cell, rank = index
        cell = checked_batch(cell, len(keys), self.last).ravel()
        if self.cell_bits:  # the range coder has no model of one symbol
            encoder.encode(cell.astype(np.int32), stream.model.Uniform(1 << self.cell_bits))
        self.rank.put(encoder, keys, rank)

    def take(self, decoder: Any, keys: Any) -> HybridIndex:
        shape = (len(keys), *self.last.shape)
        cell = np.zeros(shape, np.uint32)
        if self.cell_bits:
            model = stream.model.Uniform(1 << self.cell_bits)
            cell = decoder.decode(model, cell.size).reshape(shape).astype(np.uint32)
        return HybridIndex(cell, self.rank.take(decoder, keys))


def checked_hybrid(
    index: Any, last: UInt32[np.ndarray, "*event"], last_rank: int
) -> tuple[UInt32[Array, "*event"], UInt32[Array, ""]]:
    """A cell and a rank as uint32: concrete values are checked, traced ones clamped.

    Args:
        index: a pair of a cell and a rank.
        last: the largest cell of every component.
        last_rank: the largest rank.

    Raises:
        ValueError: the index is no such pair, or a concrete value is out of range.
    """
    if not isinstance(index, tuple) or len(index) != 2:
        raise ValueError("index must be a HybridIndex: a cell for every component, and a rank")
    cell, rank = index
    return checked_index(cell, last), checked_index(rank, np.asarray(last_rank, np.uint32))
