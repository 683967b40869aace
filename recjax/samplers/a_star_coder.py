"""A* coding."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from recjax.samplers._search import frontier, lanes, tree
from recjax.samplers._search.frontier import Ruling
from recjax.samplers.base import Code, check_range
from recjax.samplers.tree_coder import TreeCoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class AStarCoder(TreeCoder, frontier.FrontierRule):
    """A* coding: the arrival with the least T / r(X), found by branch and bound over a tree.

    An open node is taken while its bound, the largest r of its interval over its time, exceeds the best value found
    (Flamich, Markou and Hernandez-Lobato, *Fast relative entropy coding with A* coding*, ICML 2022). Exact unless
    limited by ``max_depth``. ``split="sample"`` is AS*, ``split="dyadic"`` AD*; with ``max_depth`` the depth-limited
    variant, whose samples are biased where ``status`` is ``MAX_DEPTH``. ``steps`` counts expanded nodes, O(D_inf) in
    the mean for unimodal ratios. For scalar pairs that bound r on intervals.

    Args:
        split: where a node is cut: at its "sample", or in the middle of its quantiles ("dyadic").
        max_depth: depth of the deepest nodes, at most 127.
        max_steps: cap on the nodes examined.

    >>> import jax, recjax
    >>> q, p = recjax.Normal(1.0, 0.25), recjax.Normal(0.0, 1.0)
    >>> coder, key = recjax.AStarCoder(split="dyadic"), jax.random.key(7)
    >>> code = coder.encode(key, q, p)
    >>> bool(coder.decode(key, code.index, p) == code.sample)
    True
    """

    split: tree.Split = "sample"
    max_depth: int = tree.MAX_DEPTH
    max_steps: int = 1 << 14

    def search(self, key: Array, target: Any, proposal: Any) -> Code:
        return frontier.encode(self, key, target, proposal)

    def search_lanes(self, keys: Array, targets: Any, proposals: Any) -> Code:
        return lanes.encode_lanes(frontier.SEARCH, self, keys, targets, proposals)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("max_depth", self.max_depth, 1, tree.MAX_DEPTH)

    def start(self, pair):
        return jnp.full((), -jnp.inf, pair.proposal.dtype)

    def priority(self, time, log_bound):
        return log_bound - jnp.log(time)

    def rule(self, pair, carry, entry, log_ratio):
        promising = self.keeps(carry, entry)
        value = log_ratio - jnp.log(entry.time)
        chosen = promising & (value > carry)
        return Ruling(jnp.where(chosen, value, carry), chosen, promising, ~promising)

    def keeps(self, carry, entry):
        return self.priority(entry.time, entry.log_bound) > carry
