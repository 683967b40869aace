"""Greedy Poisson rejection sampling by branch and bound."""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from recjax import randomness
from recjax.distributions.pair import Pair
from recjax.samplers._search import tree
from recjax.samplers._search.frontier import CAPACITY, FrontierRule, Ruling
from recjax.samplers._search.path import Decision, PathRule, Visit
from recjax.samplers._search.queue import Entry
from recjax.samplers._search.stretch import Level, ground, raised, stretch_bounds
from recjax.samplers.tree_coder import TreeCoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class BranchAndBoundGPRS(TreeCoder):
    """Greedy Poisson rejection sampling over a tree: the first arrival with T < sigma(r(X)).

    Split on sample: a node B at depth D holds the D-th arrival on the way to the mode of a unimodal
    ratio. Its time exceeds the parent's by Exp(1) / P(B), its place is a draw from P restricted to
    B. What can still be accepted after X lies on the mode's side of X, so that one path is followed
    (Flamich, *Greedy Poisson rejection sampling*, NeurIPS 2023; thesis, theorem 5.2.5). E[steps],
    the mean depth, is at most (D_KL + 2 + (1 + gamma) log2 e) / (log2 e - 1) < 2.26 D_KL + 9.66
    with D_KL in bits, whatever D_inf is.

    Dyadic split: intervals are halved again and again, and nodes examined in the order of their
    times; nodes on whose interval sigma(r) does not reach their time are left out. ``steps`` counts
    the nodes examined. Ratios need not be unimodal if the pair bounds them on intervals.

    Exact, for scalar pairs with width functions.

    Args:
        split: where a node is cut: at its "sample", or in the middle of its quantiles ("dyadic").
        max_steps: cap on the nodes examined. When split on sample 127 is a cap too, the depth of
            the deepest nodes.

    >>> import jax, recjax
    >>> q, p = recjax.Normal(1.0, 0.25), recjax.Normal(0.0, 1.0)
    >>> coder, key = recjax.BranchAndBoundGPRS(), jax.random.key(7)
    >>> code = coder.encode(key, q, p)
    >>> bool(coder.decode(key, code.index, p) == code.sample)
    True
    """

    split: tree.Split = "sample"
    max_steps: int = 1 << 14

    @property
    def rule(self) -> PathRule | FrontierRule:
        rule = _OnPath if self.split == "sample" else _InTimeOrder
        return rule(max_steps=self.max_steps)


class _PathState(NamedTuple):
    """State of the search along a path."""

    time: Float[Array, ""]  # arrival time of the last draw
    rejected: Float[Array, ""]  # the largest ln r of a rejected draw
    level: Level  # a level up to it, the last one at which sigma was needed exactly


@dataclasses.dataclass(frozen=True, kw_only=True)
class _OnPath(PathRule):
    max_steps: int
    split: ClassVar[tree.Split] = "sample"
    uses_bounds: ClassVar[bool] = True

    def start(self, pair: Pair) -> _PathState:
        dtype = pair.proposal.dtype
        return _PathState(jnp.zeros((), dtype), jnp.full((), -jnp.inf, dtype), ground(dtype))

    def decide(self, pair: Pair, state: _PathState, visit: Visit) -> Decision:
        time, seen, sure, right = _arrive(pair, state, visit)
        new = raised(pair, state.level, visit.log_ratio)
        accepted = ~seen & (sure | (new.stretched > time))
        undecided = jnp.zeros_like(accepted)
        return Decision(_PathState(time, visit.log_ratio, new), accepted, undecided, right)

    def decide_by_bounds(self, pair: Pair, state: _PathState, visit: Visit) -> Decision:
        time, seen, sure, right = _arrive(pair, state, visit)
        bounds = stretch_bounds(pair, state.level, visit.log_ratio)
        below, above = (bound / time for bound in bounds)
        accepted = ~seen & (sure | (below > 1))
        # written so that bounds that are NaN decide nothing
        undecided = ~accepted & ~seen & ~(above <= 1)
        rejected = jnp.maximum(state.rejected, visit.log_ratio)
        return Decision(_PathState(time, rejected, state.level), accepted, undecided, right)


class _Arrival(NamedTuple):
    """What a decision at a node begins with."""

    time: Float[Array, ""]  # arrival time of the node's draw
    seen: Bool[Array, ""]  # whether the draw is rejected because a larger ratio has been before
    sure: Bool[Array, ""]  # whether sigma reaches the time without being computed
    right: Bool[Array, ""]  # whether the mode lies to the right of the draw


def _arrive(pair: Pair, state: _PathState, visit: Visit) -> _Arrival:
    log_h, top, dtype = visit.log_ratio, pair.log_ratio_max(), state.time.dtype
    gap = randomness.exponential(visit.draws[0], dtype) / visit.node.mass(dtype)
    time = state.time + gap
    right = (visit.x < pair.mode()).reshape(())
    # sigma grows: what is below a rejected level is rejected at any later time
    seen = log_h <= state.rejected
    # sigma(h) >= h, and sigma is infinite at the maximum
    sure = (log_h >= top) | (log_h >= jnp.log(time))
    return _Arrival(time, seen, sure, right)


class _TimeOrderState(NamedTuple):
    """State of the search in the order of times."""

    rejected: Float[Array, ""]  # the largest ln h at which sigma is known not to reach the time
    level: Level  # the last such level


@dataclasses.dataclass(frozen=True, kw_only=True)
class _InTimeOrder(FrontierRule):
    max_steps: int
    max_depth: int = tree.MAX_DEPTH
    split: ClassVar[tree.Split] = "dyadic"
    # the stretch function takes most of a step and of the program
    capacities: ClassVar[tuple[int, ...]] = (CAPACITY,)

    def start(self, pair: Pair) -> _TimeOrderState:
        dtype = pair.proposal.dtype
        return _TimeOrderState(jnp.full((), -jnp.inf, dtype), ground(dtype))

    def priority(self, time: Float[Array, ""], log_bound: Float[Array, ""]) -> Float[Array, ""]:
        # a node outside the support of the target is never taken
        return jnp.where(log_bound > -jnp.inf, -time, -jnp.inf)

    def keeps(self, state: _TimeOrderState, entry: Entry) -> Bool[Array, ""]:
        return entry.log_bound > state.rejected

    def examine(
        self, pair: Pair, state: _TimeOrderState, entry: Entry, log_ratio: Float[Array, ""]
    ) -> Ruling:
        state, examined = _reaches(pair, state, entry.log_bound, entry.time)
        after, accepted = _reaches(pair, state, log_ratio, entry.time)
        accepted &= examined
        return Ruling(after, accepted, examined, accepted)


def _reaches(
    pair: Pair, state: _TimeOrderState, log_h: Float[Array, ""], time: Float[Array, ""]
) -> tuple[_TimeOrderState, Bool[Array, ""]]:
    """The state after a test at level h, and whether sigma(h) > time."""
    seen = log_h <= state.rejected
    new = raised(pair, state.level, jnp.minimum(log_h, pair.log_ratio_max()))
    # sigma(h) >= h, and sigma is infinite at the maximum
    sure = (log_h >= pair.log_ratio_max()) | (log_h >= jnp.log(time))
    reaches = ~seen & (sure | (new.stretched > time))
    # a level that reaches the time, or lies below one that does not, tells nothing new
    same = seen | reaches
    level = jax.tree.map(lambda old, new: jnp.where(same, old, new), state.level, new)
    return _TimeOrderState(jnp.where(same, state.rejected, log_h), level), reaches
