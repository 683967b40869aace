"""The two ways of coding the blocks of a vector: ordered random coding, and a trellis."""

import abc
import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt32

from recjax.blocks import vector_layout, vector_search, vector_trellis, vector_trellis_layout
from recjax.blocks.vector_layout import Layout
from recjax.blocks.vector_scores import Search, Shape, shape_of
from recjax.blocks.vector_trellis_layout import StepBits
from recjax.randomness import SharedKey, key_words
from recjax.words import Word

_GAINS = 1 << 25  # most scores that the search through a trellis keeps
_LEAST_WINDOW = 64  # steps


class Method(abc.ABC):
    """Way of coding the blocks of a layout: frozen and hashable."""

    @abc.abstractmethod
    def shape(self, layout: Layout, d: int) -> Shape:
        """Static sizes of the search in a vector of ``d`` coordinates."""

    @abc.abstractmethod
    def search(self, search: Search) -> tuple[UInt32[Array, "indices"], Float[Array, "indices"]]:
        """Finds the index of every block, and its effective number of samples."""

    @abc.abstractmethod
    def capacity(self, layout: Layout) -> Int[Array, ""] | int:
        """Bits of all indices."""

    @abc.abstractmethod
    def rows(
        self, call: Word, layout: Layout, index: UInt32[Array, "indices"]
    ) -> UInt32[Array, "blocks"]:
        """The rows that indices stand for."""


class Plan(NamedTuple):
    """What sender and receiver derive from the divergence.

    Attributes:
        method: the method, with its static numbers.
        layout: the layout, whose numbers may be traced.
        indices: number of indices.
        index_bits: log2 of the number of values of an index.
    """

    method: Method
    layout: Layout
    indices: int
    index_bits: int


@dataclasses.dataclass(frozen=True)
class Ordered(Method):
    """Ordered random coding of every block."""

    block_bits: int

    def shape(self, layout: Layout, d: int) -> Shape:
        return shape_of(layout, d)

    def search(self, search: Search) -> tuple[Array, Array]:
        return vector_search.best_rows(search, self.block_bits)

    def capacity(self, layout: Layout) -> Int[Array, ""] | int:
        return layout.blocks * layout.log2_candidates

    def rows(self, call: Word, layout: Layout, index: Array) -> Array:
        return vector_layout.ordered_rows(call, layout, index)


@dataclasses.dataclass(frozen=True)
class Trellis(Method):
    """The best path through a trellis of all blocks."""

    bits: StepBits

    def shape(self, layout: Layout, d: int) -> Shape:
        return shape_of(layout, d, max(_GAINS >> self.bits.register, _LEAST_WINDOW))

    def search(self, search: Search) -> tuple[Array, Array]:
        return vector_trellis.best_path(search, self.bits)

    def capacity(self, layout: Layout) -> Int[Array, ""] | int:
        return layout.blocks // 2 * self.bits.block

    def rows(self, call: Word, layout: Layout, index: Array) -> Array:
        return vector_trellis_layout.registers(call, layout, self.bits, index)


def ordered(d: int, parts: Int[np.ndarray, "*sums"], block_bits: int, extra_bits: int):
    """The plan of ordered random coding, see `recjax.blocks.vector_layout.layout_of`."""
    layout = vector_layout.layout_of(d, parts, block_bits, extra_bits)
    if layout is None:
        return None
    return Plan(Ordered(block_bits), layout, layout.blocks, layout.log2_candidates)


def trellis(d: int, parts: Int[np.ndarray, "*sums"], block_bits: int, extra_bits: int):
    """The plan of a trellis, for the same blocks."""
    layout = vector_layout.layout_of(d, parts, block_bits, extra_bits)
    if layout is None:
        return None
    bits = vector_trellis_layout.step_bits(layout.log2_candidates, extra_bits)
    steps = vector_trellis_layout.layout_of_steps(layout, d, parts)
    return Plan(Trellis(bits), steps, layout.blocks, bits.block)


METHODS = {"ordered": ordered, "trellis": trellis}
"""Plans by the name of the method."""


def search_of(
    method: Method,
    key: SharedKey,
    call: UInt32[Array, ""],
    layout: Layout,
    mean: Float[Array, "d"],
    std: Float[Array, "d"],
    table: Float[Array, "N columns"] | None,
    shape: Shape,
) -> tuple[UInt32[Array, "indices"], Float[Array, "indices"]]:
    """Finds the indices of a vector.

    Args:
        method: the method.
        key: the shared key.
        call: number of the call.
        layout: the layout.
        mean: means of the target relative to N(0, 1).
        std: standard deviations of the target.
        table: the first columns of all rows, or None: what is missing is drawn anew.
        shape: sizes of the search.

    Returns:
        The index of every block, and its effective number of samples.
    """

    # one example after the other: the shape of a product, and with it an index, is that of one call
    @jax.custom_batching.sequential_vmap
    def one(key, call, *args):
        words = vector_layout.call_key(key, call)
        return method.search(Search(key, words, *args, shape))

    return one(key_words(key), call, jax.tree.map(jnp.asarray, layout), mean, std, table)
