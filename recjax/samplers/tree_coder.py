"""Coders whose index is the heap index of a node in a tree over the proposal's quantiles."""

import abc
import functools
from typing import Any, ClassVar

import jax
from jaxtyping import Array, Float, UInt32

from recjax.samplers._search import lanes, tree
from recjax.samplers._search.frontier import FrontierRule
from recjax.samplers._search.path import PathRule
from recjax.samplers._streams.heap import BranchesCode, HeapCode
from recjax.samplers.base import Code, Coder, check_range
from recjax.samplers.index_code import IndexCode


class TreeCoder(Coder):
    """A coder whose index is a heap index, uint32[4] (`recjax.samplers._search.tree`).

    The code of a node B is a zeta code of its depth, and for every branch the child's share of its
    parent's probability: together -log2 P(B) bits.
    """

    split: ClassVar[tree.Split]
    max_steps: ClassVar[int]

    def __post_init__(self) -> None:
        if self.split not in ("sample", "dyadic"):
            raise ValueError(f"split must be 'sample' or 'dyadic', got {self.split!r}")
        check_range("max_steps", self.max_steps, 1, (1 << 31) - 1)

    @property
    @abc.abstractmethod
    def rule(self) -> PathRule | FrontierRule:
        """The part of the search that is the coder's; its class has the loop."""

    def search(self, key: Array, target: Any, proposal: Any) -> Code:
        return self.rule.loop.encode(self.rule, key, target, proposal)

    def search_lanes(self, keys: Array, targets: Any, proposals: Any) -> Code:
        return lanes.encode_lanes(self.rule.loop, self.rule, keys, targets, proposals)

    def decode(self, key: Array, index: Any, proposal: Any) -> Float[Array, "*event"]:
        return _decode(key, tree.checked_heap(index), proposal, self.split)

    def index_code(self, proposal: Any, rate_bits: Any) -> IndexCode:
        number = BranchesCode(tree.MAX_DEPTH - 1, proposal, rate_bits)
        return HeapCode(self.split, number)


@functools.partial(jax.jit, static_argnums=3)
def _decode(
    key: Array, index: UInt32[Array, "4"], proposal: Any, split: tree.Split
) -> Float[Array, "*event"]:
    words = tree.candidate_key(key)
    return tree.sample_at(proposal, tree.node_at(words, index, split).point(words))
