"""Code of heap indices: the depth of a node, and the branches on the path from the root to it."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from recjax.bits import heap_path, zipf
from recjax.bits.frequencies import PRECISION
from recjax.samplers._search import interval, tree
from recjax.samplers.codelength import depth_rate, rate_value, zeta_bits
from recjax.samplers.index_code import IndexCode, checked_batch, refuse
from recjax.words import Word

_BITS = 128  # of a heap index
_LARGEST = np.full(4, 0xFFFFFFFF, np.uint32)


@dataclasses.dataclass(frozen=True, eq=False)
class HeapCode(IndexCode):
    """Zeta code of the depth, and for every branch the child's share of its parent's probability.

    The shares multiply to -log2 P(B) bits for a node B.

    Args:
        split: where a node is cut.
        proposal: its dtype is that of the lengths.
        rate_bits: the divergence in bits that the code of the depth is tuned for.
    """

    split: tree.Split
    proposal: Any
    rate_bits: Any

    def bits(self, key: Any, index: Any) -> Float[Array, ""]:
        rate = rate_value(self.rate_bits, self.proposal.dtype)
        return _bits(key, tree.checked_heap(index), rate, self.split)

    def put(self, encoder: Any, keys: Any, index: Any) -> None:
        depths, branches = _paths(checked_batch(index, len(keys), _LARGEST))
        frequencies = np.zeros(branches.shape, np.int64)
        nodes = _roots(keys)
        for level in range(branches.shape[1]):
            frequencies[:, level], cut = _cut(self.split, nodes)
            nodes = _descend(nodes, cut, branches[:, level])
        heap_path.put_paths(encoder, depths, branches, frequencies, self._exponent())

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

        n, exponent = len(keys), self._exponent()
        depths, branches = heap_path.take_paths(decoder, n, exponent, next_frequencies)
        refuse(depths > tree.MAX_DEPTH)
        return _heaps(depths, branches)

    def _exponent(self) -> int:
        return zipf.zeta_exponent(float(depth_rate(rate_value(self.rate_bits, jnp.float32))))


@functools.partial(jax.jit, static_argnums=3)
def _bits(
    key: Array, index: UInt32[Array, "4"], rate: Float[Array, ""], split: tree.Split
) -> Float[Array, ""]:
    node = tree.node_at(tree.candidate_key(key), index, split)
    depth = tree.depth_of(index)
    depth_bits = zeta_bits((depth - 1).astype(jnp.uint32), depth_rate(rate), heap_path.LOG2_DEPTHS)
    return depth_bits - jnp.log2(node.mass(rate.dtype))


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
