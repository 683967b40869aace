"""Coders whose index is the heap index of a node in a tree over the proposal's quantiles."""

import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from recjax.bits.heap_path import LOG2_DEPTHS
from recjax.samplers._search import tree
from recjax.samplers.base import Coder, check_range
from recjax.samplers.codelength import depth_rate, rate_value, zeta_bits


class TreeCoder(Coder):
    """A coder whose index is a heap index, uint32[4] (`recjax.samplers._search.tree`).

    The code for it is a zeta code for the depth and, for every branch, the share of the child in its parent's
    probability: all together -log2 P(B) bits for a node B.
    """

    split: ClassVar[tree.Split]
    max_steps: ClassVar[int]

    def __post_init__(self) -> None:
        if self.split not in ("sample", "dyadic"):
            raise ValueError(f"split must be 'sample' or 'dyadic', got {self.split!r}")
        check_range("max_steps", self.max_steps, 1, (1 << 31) - 1)

    def decode(self, key: Array, index: Any, proposal: Any) -> Float[Array, "*event"]:
        return _decode(key, tree.checked_heap(index), proposal, self.split)

    def codelength(
        self, key: Array, index: Any, proposal: Any, *, rate_bits: Any = None
    ) -> Float[Array, ""]:
        """Bits of a zeta code for the depth, tuned for ``rate_bits``, and of the branches to the node."""
        rate = rate_value(rate_bits, proposal.dtype)
        return _codelength(key, tree.checked_heap(index), rate, self.split)


@functools.partial(jax.jit, static_argnums=3)
def _decode(key, index, proposal, split):
    words = tree.candidate_key(key)
    return tree.sample_at(proposal, tree.node_at(words, index, split).point(words))


@functools.partial(jax.jit, static_argnums=3)
def _codelength(key, index, rate, split):
    node = tree.node_at(tree.candidate_key(key), index, split)
    depth = tree.depth_of(index)
    return zeta_bits((depth - 1).astype(jnp.uint32), depth_rate(rate), LOG2_DEPTHS) - jnp.log2(
        node.mass(rate.dtype)
    )
