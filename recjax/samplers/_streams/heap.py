"""Code of heap indices: the number of branches on the path from the root to a node, and these."""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from recjax.bits import heap_path
from recjax.bits.frequencies import PRECISION
from recjax.bits.number_models import NumberModel, zeta_model
from recjax.samplers._search import interval, tree
from recjax.samplers._streams.numbers import RatedCode
from recjax.samplers.codelength import depth_rate, zeta_bits
from recjax.samplers.index_code import IndexCode, checked_batch, refuse
from recjax.words import Word

_BITS = 128  # of a heap index
_LARGEST = np.full(4, 0xFFFFFFFF, np.uint32)


@dataclasses.dataclass(frozen=True, eq=False)
class BranchesCode(RatedCode):
    """Zeta code of the number of branches on a path, for a rate of the whole index."""

    def rated_length(
        self, number: UInt32[Array, ""], rate_bits: Float[Array, ""]
    ) -> Float[Array, ""]:
        return zeta_bits(number, depth_rate(rate_bits), heap_path.LOG2_DEPTHS)

    def rated_model(self, rate_bits: float) -> NumberModel:
        return zeta_model(depth_rate(rate_bits, math.log2), heap_path.LOG2_DEPTHS)


@dataclasses.dataclass(frozen=True, eq=False)
class HeapCode(IndexCode):
    """Code of the number of branches, then of each branch by its share of the parent's probability.

    The shares multiply to P(B), for a node B: -log2 P(B) bits.

    Args:
        split: where a node is cut.
        number: code of the numbers of branches.
    """

    split: tree.Split
    number: BranchesCode

    def bits(self, key: Any, index: Any) -> Float[Array, ""]:
        index = tree.checked_heap(index)
        number = (tree.depth_of(index) - 1).astype(jnp.uint32)
        dtype = self.number.proposal.dtype
        return self.number.length(number) + _branch_bits(key, index, self.split, dtype)

    def settings(self, keys: Any) -> tuple[int, ...]:
        return (*self.number.settings(keys), int(self.split == "dyadic"))

    def put(self, encoder: Any, keys: Any, index: Any) -> None:
        depths, branches = _paths(checked_batch(index, len(keys), _LARGEST))
        frequencies = np.zeros(branches.shape, np.int64)
        nodes = _roots(keys)
        for level in range(branches.shape[1]):
            frequencies[:, level], cut = _cut(self.split, nodes)
            nodes = _descend(nodes, cut, branches[:, level])
        self.number.model().put(encoder, depths - 1)
        heap_path.put_branches(encoder, depths, branches, frequencies)

    def take(self, decoder: Any, keys: Any) -> UInt32[np.ndarray, "n 4"]:
        nodes, cut = _roots(keys), None

        def next_frequencies(
            level: int, branches: Bool[np.ndarray, "n level"]
        ) -> Int[np.ndarray, "n"]:
            nonlocal nodes, cut
            if level:
                nodes = _descend(nodes, cut, branches[:, -1])
            frequency, cut = _cut(self.split, nodes)
            return np.asarray(frequency, np.int64)

        depths = 1 + self.number.model().take(decoder, len(keys))
        # before the branches, whose number Elias delta does not bound
        refuse(depths > tree.MAX_DEPTH)
        branches, _ = heap_path.take_branches(decoder, depths, next_frequencies)
        return _heaps(depths, branches)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _branch_bits(
    key: Array, index: UInt32[Array, "4"], split: tree.Split, dtype: Any
) -> Float[Array, ""]:
    node = tree.node_at(tree.candidate_key(key), index, split)
    return -jnp.log2(node.mass(dtype))


def _paths(
    heaps: Int[np.ndarray, "n 4"],
) -> tuple[Int[np.ndarray, "n"], Bool[np.ndarray, "n levels"]]:
    """Depths of nodes, and whether each branch on the way to them goes right.

    Raises:
        ValueError: an index is 0, or its depth is beyond the deepest.
    """
    bits = np.unpackbits(heaps.astype(">u4").view(np.uint8), axis=1).astype(bool)
    if len(bad := np.flatnonzero(bits[:, 0] | ~bits.any(axis=1))):
        raise ValueError(
            f"index must hold heap indices of depth 1 to {tree.MAX_DEPTH}, number {bad[0]} is not"
        )
    # The leading 1 stands for the root, each bit after it for a branch.
    first = bits.argmax(axis=1)
    depths = _BITS - first
    levels = depths.max(initial=1) - 1
    # Columns of padding, so that shorter paths can be cut out as wide as the longest.
    padded = np.pad(bits, ((0, 0), (0, _BITS)))
    columns = first[:, None] + 1 + np.arange(levels)
    return depths, np.take_along_axis(padded, columns, axis=1)


def _heaps(
    depths: Int[np.ndarray, "n"], branches: Bool[np.ndarray, "n levels"]
) -> UInt32[np.ndarray, "n 4"]:
    """Heap indices from depths and branches; branches beyond a path's end are False."""
    bits = np.zeros((len(depths), _BITS), np.uint8)
    bits[np.arange(len(depths)), _BITS - depths] = 1
    columns = _BITS + 1 - depths[:, None] + np.arange(branches.shape[1])
    row, level = np.nonzero(branches & (columns < _BITS))
    bits[row, columns[row, level]] = 1
    return np.packbits(bits, axis=1).view(">u4").astype(np.uint32)


class _Nodes(NamedTuple):
    """A node for every sample."""

    keys: Word  # of the candidates' stream
    nodes: tree.Node


@jax.jit
def _roots(keys: Array) -> _Nodes:
    words = jax.vmap(tree.candidate_key)(keys)
    return _Nodes(words, jax.tree.map(lambda x: jnp.broadcast_to(x, len(keys)), tree.root()))


@functools.partial(jax.jit, static_argnums=0)
def _cut(split: tree.Split, state: _Nodes) -> tuple[UInt32[Array, "n"], Word]:
    """The left child's frequency out of 2^24, from integers alone, and where the children meet."""

    def one(key, node):
        cut = node.cut(node.point(key), split)
        return interval.left_frequency(node.low, cut, node.high, PRECISION), cut

    return jax.vmap(one)(*state)


@jax.jit
def _descend(state: _Nodes, cut: Word, right: Bool[Array | np.ndarray, "n"]) -> _Nodes:
    nodes = jax.vmap(lambda node, cut, right: node.child(right, cut))(state.nodes, cut, right)
    return _Nodes(state.keys, nodes)
