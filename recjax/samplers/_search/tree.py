"""Binary trees over the quantiles of the proposal: nodes, their random draws, and how an index is replayed.

A node is an interval of quantiles and holds one draw from the proposal restricted to it. It is cut there (split on
sample) or in the middle (dyadic split) into two children. Its heap index (root 1, children 2 i and 2 i + 1) keys its
randomness and is what is sent: a uint32[4], the most significant word first.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from recjax import randomness, words
from recjax.distributions.base import Distribution
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

    def mass(self, dtype) -> Float[Array, ""]:
        """The probability of the interval under the proposal."""
        return interval.mass(self.low, self.high, dtype)

    def point(self, key: Word) -> Word:
        """The quantile that the node draws, uniform on its interval; ``key`` is that of the candidates' stream."""
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
        a, b, c, d = self.heap
        bit = right.astype(jnp.uint32)
        heap = ((a << 1) | (b >> 31), (b << 1) | (c >> 31), (c << 1) | (d >> 31), (d << 1) | bit)
        return Node(heap, words.select(right, cut, self.low), words.select(right, self.high, cut))


def root() -> Node:
    zero = jnp.zeros((), jnp.uint32)
    return Node((zero, zero, zero, zero + 1), *interval.whole())


def node_at(key: Word, index: UInt32[Array, "4"], split: Split) -> Node:
    """The node of a heap index, by replaying the path to it."""
    depth = depth_of(index)

    def descend(state):
        node, level = state
        shift = (depth - 2 - level).astype(jnp.uint32)
        word = index[3 - shift.astype(jnp.int32) // 32]
        right = ((word >> (shift % 32)) & 1) == 1
        return node.child(right, node.cut(node.point(key), split)), level + 1

    start = varying((root(), jnp.int32(0)), index[0], key[0])
    return jax.lax.while_loop(lambda state: state[1] < depth - 1, descend, start)[0]


def depth_of(index: UInt32[Array, "4"]) -> Int[Array, ""]:
    """1 for the root: the bits of a heap index."""
    length = 32 - jax.lax.clz(index).astype(jnp.int32)
    place = jnp.asarray([96, 64, 32, 0], jnp.int32)
    return jnp.max(jnp.where(index > 0, length + place, 0))


def sample_at(proposal: Distribution, quantile: Word) -> Float[Array, "*event"]:
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
    return stream_words(key, Stream.CANDIDATE)


def checked_heap(index) -> UInt32[Array, "4"]:
    """A heap index: concrete ones are checked, traced ones clamped to depths 1 to ``MAX_DEPTH``."""
    if np.shape(index) != (4,) or jnp.result_type(index) != jnp.uint32:
        raise ValueError("index must be one heap index, uint32[4]; decode batches with jax.vmap")
    try:
        value = np.asarray(index)
    except jax.errors.TracerArrayConversionError:
        index = index.at[0].set(index[0] & 0x7FFFFFFF)
        return index.at[3].set(jnp.where(jnp.any(index > 0), index[3], 1))
    if not value.any() or value[0] >> 31:
        raise ValueError(
            f"index must be a heap index of depth 1 to {MAX_DEPTH}, got {value.tolist()}"
        )
    return jnp.asarray(value)
