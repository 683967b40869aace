"""Binary trees over the quantiles of the proposal: nodes, their random draws, and heap indices.

A node is an interval of quantiles and holds one draw from the proposal restricted to it. It is cut
at the draw (split on sample) or in the middle (dyadic split) into two children. Its heap index
(root 1, children 2 i and 2 i + 1) keys its randomness and is the message: a uint32[4], the most
significant word first.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from recjax import randomness, words
from recjax.distributions.base import concrete
from recjax.randomness import Stream, threefry2x32
from recjax.samplers._search import interval
from recjax.samplers._search.varying import varying
from recjax.words import Word

Split = Literal["sample", "dyadic"]
Heap = tuple[UInt32[Array, ""], UInt32[Array, ""], UInt32[Array, ""], UInt32[Array, ""]]

MAX_DEPTH = 127
"""The depth of the deepest nodes; the root has depth 1."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Node:
    """A node: its heap index and its interval [low, high) of quantiles."""

    heap: Heap
    low: Word
    high: Word

    def mass(self, dtype: Any) -> Float[Array, ""]:
        """The probability of the interval under the proposal."""
        return interval.mass(self.low, self.high, dtype)

    def point(self, key: Word) -> Word:
        """The quantile that the node draws, uniform on its interval.

        Args:
            key: the key of the candidates' stream.
        """
        draw = self.draws(key)
        return words.add(self.low, words.multiply_high(draw, words.subtract(self.high, self.low)))

    def draws(self, key: Word) -> Word:
        """64 random bits of the node."""
        upper = threefry2x32(key, self.heap[0], self.heap[1])
        return threefry2x32(upper, self.heap[2], self.heap[3])

    def cut(self, point: Word, split: Split) -> Word:
        """The quantile at which the children meet."""
        if split == "sample":
            return point
        return words.add(self.low, words.halved(words.subtract(self.high, self.low)))

    def child(self, right: Bool[Array, ""], cut: Word) -> "Node":
        """The child on one side of the cut."""
        a, b, c, d = self.heap
        bit = right.astype(jnp.uint32)
        heap = ((a << 1) | (b >> 31), (b << 1) | (c >> 31), (c << 1) | (d >> 31), (d << 1) | bit)
        return Node(heap, words.select(right, cut, self.low), words.select(right, self.high, cut))


def root() -> Node:
    """The node of all quantiles, with heap index 1."""
    zero = jnp.zeros((), jnp.uint32)
    return Node((zero, zero, zero, zero + 1), *interval.everything())


class _Descent(NamedTuple):
    """State of the loop that replays a path."""

    node: Node
    branches: Int[Array, ""]  # number of branches taken


def node_at(key: Word, index: UInt32[Array, "4"], split: Split) -> Node:
    """Returns the node of a heap index, by replaying the path to it.

    Args:
        key: the key of the candidates' stream.
        index: the heap index.
        split: where nodes are cut.
    """
    depth = depth_of(index)

    def descend(state):
        node, branches = state
        # the bits after the leading one are the branches, from the root down
        shift = (depth - 2 - branches).astype(jnp.uint32)
        word = index[3 - shift.astype(jnp.int32) // 32]
        right = ((word >> (shift % 32)) & 1) == 1
        return _Descent(node.child(right, node.cut(node.point(key), split)), branches + 1)

    start = varying(_Descent(root(), jnp.int32(0)), index[0], key[0])
    return jax.lax.while_loop(lambda state: state.branches < depth - 1, descend, start).node


def depth_of(index: UInt32[Array, "4"]) -> Int[Array, ""]:
    """Depth of a node, 1 for the root: the number of bits of its heap index."""
    length = 32 - jax.lax.clz(index).astype(jnp.int32)
    place = jnp.asarray([96, 64, 32, 0], jnp.int32)
    return jnp.max(jnp.where(index > 0, length + place, 0))


def sample_at(proposal: Any, quantile: Word) -> Float[Array, "*event"]:
    """The value of a scalar proposal at a quantile.

    Raises:
        ValueError: the proposal is not a scalar.
    """
    if proposal.event_size != 1:
        raise ValueError(
            f"proposal: tree coders code scalars, not events of shape {proposal.event_shape}"
        )
    return proposal.sample_from_quantile(*quantile)


def stream_words(key: Array, stream: Stream) -> Word:
    """The key of a stream."""
    first, second = randomness.stream_key(key, stream)
    return first, second


def candidate_key(key: Array) -> Word:
    """The key of the candidates' stream."""
    return stream_words(key, Stream.CANDIDATE)


def checked_heap(index: Any) -> UInt32[Array, "4"]:
    """A heap index: concrete values are checked, traced ones clamped to depths 1 to ``MAX_DEPTH``.

    Raises:
        ValueError: the index is not uint32[4], or a concrete one has depth 0 or 128.
    """
    if np.shape(index) != (4,) or jnp.result_type(index) != jnp.uint32:
        raise ValueError("index must be one heap index, uint32[4]; decode batches with jax.vmap")
    value = concrete(index)
    if value is None:
        index = index.at[0].set(index[0] & 0x7FFFFFFF)
        return index.at[3].set(jnp.where(jnp.any(index > 0), index[3], 1))
    if not value.any() or value[0] >> 31:
        raise ValueError(
            f"index must be a heap index of depth 1 to {MAX_DEPTH}, got {value.tolist()}"
        )
    return jnp.asarray(value)
