"""Coders whose index is the heap index of a node in a tree over the proposal's quantiles."""

import abc
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from recjax.bits.heap_path import LOG2_DEPTHS
from recjax.distributions.pair import check_pair
from recjax.samplers import tree
from recjax.samplers.base import Code, Coder, check_range
from recjax.samplers.codelength import depth_rate, rate_value, zeta_bits

_SLAB = 1 << 12  # lanes at a time in a batch


class TreeCoder(Coder):
    """A coder whose index is a heap index, uint32[4] (`recjax.samplers.tree`).

    The code for it is a zeta code for the depth and, for every branch, the share of the child in its parent's
    probability: all together -log2 P(B) bits for a node B.
    """

    split: ClassVar[tree.Split]
    max_steps: ClassVar[int]

    @staticmethod
    @abc.abstractmethod
    def search(rule: Any, key: Array, target: Any, proposal: Any) -> Code:
        """Searches for one example."""

    def search_lanes(self, keys: Array, targets: Any, proposals: Any) -> Code:
        """Searches for many examples, outside of transformations."""
        return _in_slabs(self, keys, targets, proposals)

    def __post_init__(self):
        if self.split not in ("sample", "dyadic"):
            raise ValueError(f"split must be 'sample' or 'dyadic', got {self.split!r}")
        check_range("max_steps", self.max_steps, 1, (1 << 31) - 1)

    def encode(self, key: Array, target: Any, proposal: Any) -> Code:
        self._check(target, proposal)
        return self.search(self, key, target, proposal)

    def encode_batch(self, keys: Array, targets: Any, proposal: Any) -> Code:
        if proposal.event_shape != targets.event_shape:
            proposal = jax.tree.map(lambda x: jnp.broadcast_to(x, (keys.shape[0], *jnp.shape(x))), proposal)
        self._check(targets, proposal)
        leaves = jax.tree.leaves((keys, targets, proposal))
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):  # under a transformation
            return jax.vmap(functools.partial(self.search, self))(keys, targets, proposal)
        return self.search_lanes(keys, targets, proposal)

    def decode(self, key: Array, index: Any, proposal: Any) -> Float[Array, "*event"]:
        return _decode(key, tree.checked_heap(index), proposal, self.split)

    def codelength(self, key: Array, index: Any, proposal: Any, *, rate_bits: Any = None) -> Float[Array, ""]:
        """Bits of a zeta code for the depth, tuned for ``rate_bits``, and of the branches to the node."""
        rate = rate_value(rate_bits, proposal.dtype)
        return _codelength(key, tree.checked_heap(index), rate, self.split)

    def _check(self, target, proposal):
        check_pair(target, proposal, bounded=True)


def _in_slabs(coder, keys, targets, proposals):
    """One slab of lanes after the other, so that few wait for the longest search."""

    def search(start):
        part = jax.tree.map(lambda x: x[start : start + _SLAB], (keys, targets, proposals))
        return _search_slab(coder, *part)

    slabs = [search(start) for start in range(0, len(keys), _SLAB)]
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *slabs)


@functools.partial(jax.jit, static_argnums=0)
def _search_slab(coder, keys, targets, proposals):
    return jax.vmap(functools.partial(coder.search, coder))(keys, targets, proposals)


@functools.partial(jax.jit, static_argnums=3)
def _decode(key, index, proposal, split):
    words = tree.candidate_key(key)
    return tree.sample_at(proposal, tree.node_at(words, index, split).point(words))


@functools.partial(jax.jit, static_argnums=3)
def _codelength(key, index, rate, split):
    node = tree.node_at(tree.candidate_key(key), index, split)
    depth = tree.depth_of(index)
    return zeta_bits((depth - 1).astype(jnp.uint32), depth_rate(rate), LOG2_DEPTHS) - jnp.log2(node.mass(rate.dtype))
