"""A* coding."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from recjax.distributions.pair import Pair
from recjax.samplers._search import tree
from recjax.samplers._search.frontier import FrontierRule, Ruling
from recjax.samplers._search.queue import Entry
from recjax.samplers.base import check_range
from recjax.samplers.tree_coder import TreeCoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class AStarCoder(TreeCoder, FrontierRule):
    """A* coding: the arrival with the least T / r(X), found by branch and bound over a tree.

    An open node is taken while its bound, the largest r of its interval over its time, exceeds the
    best value found (Flamich, Markou and Hernandez-Lobato, *Fast relative entropy coding with A*
    coding*, ICML 2022). ``split="sample"`` is AS*, ``split="dyadic"`` AD*. Exact, except that a
    smaller ``max_depth`` gives the depth-limited variant, whose samples are biased where ``status``
    is ``MAX_DEPTH``. ``steps`` counts expanded nodes: O(D_inf) in the mean for unimodal ratios. For
    scalar pairs that bound r on intervals.

    The state of the search is the largest ln (r(X) / T) so far.

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

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("max_depth", self.max_depth, 1, tree.MAX_DEPTH)

    @property
    def rule(self) -> FrontierRule:
        return self

    def start(self, pair: Pair) -> Float[Array, ""]:
        return jnp.full((), -jnp.inf, pair.proposal.dtype)

    def priority(self, time: Float[Array, ""], log_bound: Float[Array, ""]) -> Float[Array, ""]:
        return log_bound - jnp.log(time)

    def examine(
        self, pair: Pair, state: Float[Array, ""], entry: Entry, log_ratio: Float[Array, ""]
    ) -> Ruling:
        promising = self.keeps(state, entry)
        value = log_ratio - jnp.log(entry.time)
        chosen = promising & (value > state)
        # a node that is not promising ends the search: no other open node has a larger bound
        return Ruling(jnp.where(chosen, value, state), chosen, promising, ~promising)

    def keeps(self, state: Float[Array, ""], entry: Entry) -> Bool[Array, ""]:
        return self.priority(entry.time, entry.log_bound) > state
