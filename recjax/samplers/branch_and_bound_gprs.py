"""Greedy Poisson rejection sampling by branch and bound."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from recjax import randomness
from recjax.samplers._search import frontier, lanes, path, tree
from recjax.samplers._search.frontier import Ruling
from recjax.samplers._search.path import Decision
from recjax.samplers._search.stretch import ground, raised, stretch_bounds
from recjax.samplers.base import Code
from recjax.samplers.tree_coder import TreeCoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class BranchAndBoundGPRS(TreeCoder):
    """Greedy Poisson rejection sampling that searches a tree for the first arrival with T < sigma(r(X)).

    Split on sample: a node B at depth D holds the D-th arrival on the way to the mode of a unimodal ratio: its time
    exceeds the parent's by Exp(1) / P(B), its place is a draw from P restricted to B. What can still be accepted after
    X lies on the mode's side of X, so that one path is followed (Flamich, *Greedy Poisson rejection sampling*,
    NeurIPS 2023; thesis, theorem 5.2.5). E[steps], the mean depth, is at most
    (D_KL + 2 + (1 + gamma) log2 e) / (log2 e - 1) < 2.26 D_KL + 9.66 with D_KL in bits, whatever D_inf is.

    Dyadic split: nodes are halves of halves, examined in the order of their times; those on whose interval sigma(r)
    does not reach their time are left out. ``steps`` counts the nodes examined. Ratios need not be unimodal if the
    pair bounds them on intervals.

    Exact, for scalar pairs with width functions.

    Args:
        split: where a node is cut: at its "sample", or in the middle of its quantiles ("dyadic").
        max_steps: cap on the nodes examined; also 127 when split on sample, the depth of the deepest nodes.

    >>> import jax, recjax
    >>> q, p = recjax.Normal(1.0, 0.25), recjax.Normal(0.0, 1.0)
    >>> coder, key = recjax.BranchAndBoundGPRS(), jax.random.key(7)
    >>> code = coder.encode(key, q, p)
    >>> bool(coder.decode(key, code.index, p) == code.sample)
    True
    """

    split: tree.Split = "sample"
    max_steps: int = 1 << 14

    def search(self, key: Array, target: Any, proposal: Any) -> Code:
        if self.split == "sample":
            return path.encode(_OnPath(max_steps=self.max_steps), key, target, proposal)
        return frontier.encode(_InTimeOrder(max_steps=self.max_steps), key, target, proposal)

    def search_lanes(self, keys: Array, targets: Any, proposals: Any) -> Code:
        if self.split == "sample":
            rule, search = _OnPath(max_steps=self.max_steps), path.SEARCH
        else:
            rule, search = _InTimeOrder(max_steps=self.max_steps), frontier.SEARCH
        return lanes.encode_lanes(search, rule, keys, targets, proposals)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _OnPath(path.PathRule):
    max_steps: int
    split = "sample"

    def start(self, pair):
        dtype = pair.proposal.dtype
        return jnp.zeros((), dtype), jnp.full((), -jnp.inf, dtype), ground(dtype)

    def decide(self, pair, carry, visit, exact):
        time, rejected, level = carry
        log_h, top = visit.log_ratio, pair.log_ratio_max()
        arrival = randomness.exponential(visit.draws[0], time.dtype) / visit.node.mass(time.dtype)
        time = time + arrival
        right = (visit.x < pair.mode()).reshape(())
        # sigma grows: what is below a rejected level is rejected at any later time
        seen = log_h <= rejected
        # sigma(h) >= h, and sigma is infinite at the maximum
        sure = (log_h >= top) | (log_h >= jnp.log(time))
        if exact:
            new = raised(pair, level, log_h)
            accepted = ~seen & (sure | (new.stretched > time))
            return Decision((time, log_h, new), accepted, jnp.zeros_like(accepted), right)
        below, above = (bound / time for bound in stretch_bounds(pair, level, log_h))
        accepted = ~seen & (sure | (below > 1))
        undecided = ~accepted & ~seen & ~(above <= 1)
        return Decision((time, jnp.maximum(rejected, log_h), level), accepted, undecided, right)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _InTimeOrder(frontier.FrontierRule):
    max_steps: int
    max_depth: int = tree.MAX_DEPTH
    split = "dyadic"

    def start(self, pair):
        return jnp.full((), -jnp.inf, pair.proposal.dtype), ground(pair.proposal.dtype)

    def priority(self, time, log_bound):
        return jnp.where(log_bound > -jnp.inf, -time, -jnp.inf)

    def keeps(self, carry, entry):
        return entry.log_bound > carry[0]

    def rule(self, pair, carry, entry, log_ratio):
        carry, examined = _reaches(pair, carry, entry.log_bound, entry.time)
        after, accepted = _reaches(pair, carry, log_ratio, entry.time)
        accepted &= examined
        return Ruling(after, accepted, examined, accepted)


def _reaches(pair, carry, log_h, time):
    """Whether sigma(h) > time; the highest level known not to reach is kept, with sigma there."""
    rejected, level = carry
    seen = log_h <= rejected
    new = raised(pair, level, jnp.minimum(log_h, pair.log_ratio_max()))
    reaches = ~seen & (
        (log_h >= pair.log_ratio_max()) | (log_h >= jnp.log(time)) | (new.stretched > time)
    )
    keep = seen | reaches
    level = jax.tree.map(lambda old, new: jnp.where(keep, old, new), level, new)
    return (jnp.where(keep, rejected, log_h), level), reaches
