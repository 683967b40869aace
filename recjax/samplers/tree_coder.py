"""Coders whose index is the heap index of a node in a tree over the proposal's quantiles."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from recjax.distributions.pair import check_pair
from recjax.samplers import path_search, tree
from recjax.samplers.base import Code, Coder, check_range
from recjax.samplers.codelength import rate_value, zeta_bits


@dataclasses.dataclass(frozen=True, kw_only=True)
class PathCoder(Coder, path_search.PathRule):
    """A coder that follows one path down a tree, towards the mode of a unimodal density ratio.

    The index is a heap index, uint32[4] (`recjax.samplers.tree`); ``steps`` is its depth. In exact samplers the code
    for it is a zeta code for the depth and, for every branch, the share of the child in its parent's probability:
    all together -log2 P(B) bits for a node B.

    Args:
        max_steps: cap on the nodes examined, at most 127.
    """

    max_steps: int = tree.MAX_DEPTH

    def __post_init__(self):
        if self.split not in ("sample", "dyadic"):
            raise ValueError(f"split must be 'sample' or 'dyadic', got {self.split!r}")
        check_range("max_steps", self.max_steps, 1, tree.MAX_DEPTH)

    def encode(self, key: Array, target: Any, proposal: Any) -> Code:
        self._check(target, proposal)
        return path_search.encode(self, key, target, proposal)

    def encode_batch(self, keys: Array, targets: Any, proposal: Any) -> Code:
        if proposal.event_shape != targets.event_shape:
            proposal = jax.tree.map(lambda x: jnp.broadcast_to(x, (keys.shape[0], *jnp.shape(x))), proposal)
        self._check(targets, proposal)
        try:
            return path_search.encode_lanes(self, keys, targets, proposal)
        except jax.errors.TracerArrayConversionError:  # under a transformation
            return jax.vmap(functools.partial(path_search.encode, self))(keys, targets, proposal)

    def decode(self, key: Array, index: Any, proposal: Any) -> Float[Array, "*event"]:
        return _decode(key, tree.checked_heap(index), proposal, self.split)

    def codelength(self, key: Array, index: Any, proposal: Any, *, rate_bits: Any = None) -> Float[Array, ""]:
        """Bits of a zeta code for the depth, tuned for ``rate_bits``, and of the branches to the node."""
        return _codelength(key, tree.checked_heap(index), rate_value(rate_bits, proposal.dtype), self.split)

    def _check(self, target, proposal):
        check_pair(target, proposal, bounded=True)


@functools.partial(jax.jit, static_argnums=3)
def _decode(key, index, proposal, split):
    words = tree.candidate_key(key)
    return tree.sample_at(proposal, tree.node_at(words, index, split).point(words))


@functools.partial(jax.jit, static_argnums=3)
def _codelength(key, index, rate, split):
    node = tree.node_at(tree.candidate_key(key), index, split)
    depth = tree.depth_of(index)
    return zeta_bits((depth - 1).astype(jnp.uint32), jnp.log2(2.26 * rate + 9.66)) - jnp.log2(node.mass(rate.dtype))
