"""The loop of coders that follow one path down a tree."""

import abc
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from recjax.distributions.base import any_violation
from recjax.distributions.bound import above_bound
from recjax.distributions.pair import Pair, pair_of, violations
from recjax.randomness import Stream
from recjax.samplers._search import lanes, tree
from recjax.samplers._search.fence import computed_once
from recjax.samplers._search.varying import varying
from recjax.samplers.base import Code, Status, sent_sample
from recjax.words import Word

_RUNNING, _UNDECIDED = -1, -2
_ROUND = 3  # levels that searches descend before those that have ended make room
_EXACT = 16  # in a batch, one lane in 16 can take its exact decision at a time


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Visit:
    """A node and its draw, as a coder sees them.

    Attributes:
        node: the node.
        cut: the quantile at which its children meet.
        x: the draw.
        log_ratio: ln r(x).
        draws: two more uniform words of the node.
    """

    node: tree.Node
    cut: Word
    x: Float[Array, "*event"]
    log_ratio: Float[Array, ""]
    draws: Word


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Decision:
    """A coder's decision at a node: accept its draw, or go on to a child.

    Attributes:
        state: the coder's state after the node.
        accepted: whether the draw is the sample.
        undecided: whether `PathRule.decide` is needed; then the other fields do not count.
        right: whether the search goes on to the right child.
    """

    state: Any
    accepted: Bool[Array, ""]
    undecided: Bool[Array, ""]
    right: Bool[Array, ""]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Walk:
    """A search under way.

    Attributes:
        keys: keys of the candidates' and the arrivals' streams.
        node: the node to visit next; of a search that has ended, the last one visited.
        state: the coder's state.
        steps: nodes visited.
        status: -1, -2 if the exact decision at the node is due, or the final status.
    """

    keys: tuple[Word, Word]
    node: tree.Node
    state: Any
    steps: Int[Array, ""]
    status: Int[Array, ""]


class PathRule(abc.ABC):
    """The part of a search that is a coder's: frozen and hashable. Its state is a pytree."""

    split: tree.Split
    max_steps: int
    uses_bounds: ClassVar[bool] = False
    """Whether `decide_by_bounds` comes first and leaves some nodes to `decide`."""

    @property
    def loop(self) -> lanes.Search:
        """The loop that this rule is for."""
        return SEARCH

    @abc.abstractmethod
    def start(self, pair: Pair) -> Any:
        """The coder's state at the root."""

    @abc.abstractmethod
    def decide(self, pair: Pair, state: Any, visit: Visit) -> Decision:
        """Decides at a node."""

    def decide_by_bounds(self, pair: Pair, state: Any, visit: Visit) -> Decision:
        """Decides at a node from bounds that are cheap, or leaves it undecided."""
        return self.decide(pair, state, visit)


@functools.partial(jax.jit, static_argnums=0)
def encode(rule: PathRule, key: Array, target: Any, proposal: Any) -> Code:
    """Searches for one example."""

    def body(walk):
        walk = _first_step(rule, target, proposal, walk)
        # a second step that no walk takes would double the program
        if not rule.uses_bounds:
            return walk
        exact = functools.partial(_step_exactly, rule, target, proposal)
        # at most one round; shard_map accepts a loop where it rejects a conditional
        return jax.lax.while_loop(lambda walk: walk.status == _UNDECIDED, exact, walk)

    walk = _begin(rule, key, target, proposal)
    walk = jax.lax.while_loop(lambda walk: walk.status == _RUNNING, body, walk)
    return _finish(rule, target, proposal, walk)


def _begin(rule: PathRule, key: Array, target: Any, proposal: Any) -> Walk:
    pair = pair_of(target, proposal)
    keys = tree.stream_words(key, Stream.CANDIDATE), tree.stream_words(key, Stream.ARRIVAL)
    invalid = any_violation(violations(pair, True))
    status = jnp.where(invalid, Status.INVALID, _RUNNING).astype(jnp.int32)
    walk = Walk(keys, tree.root(), rule.start(pair), jnp.int32(0), status)
    return varying(walk, keys[0][0], status)


def _first_step(rule: PathRule, target: Any, proposal: Any, walk: Walk) -> Walk:
    """Visits the node of a running walk; bounds may leave the decision to `_step_exactly`."""
    decide = rule.decide_by_bounds if rule.uses_bounds else rule.decide
    return _step(rule, decide, _RUNNING, target, proposal, walk)


def _step_exactly(rule: PathRule, target: Any, proposal: Any, walk: Walk) -> Walk:
    """Visits the node of an undecided walk."""
    return _step(rule, rule.decide, _UNDECIDED, target, proposal, walk)


def _step(
    rule: PathRule,
    decide: Callable[[Pair, Any, Visit], Decision],
    turn: int,
    target: Any,
    proposal: Any,
    walk: Walk,
) -> Walk:
    """Visits a walk's node if the status of the walk is ``turn``."""
    pair, node = pair_of(target, proposal), walk.node
    never = walk.steps < 0
    point, draws = computed_once((node.point(walk.keys[0]), node.draws(walk.keys[1])), never)
    x = tree.sample_at(proposal, point)
    ratio = pair.log_ratio(x)
    log_ratio = jnp.minimum(ratio, pair.log_ratio_max())  # against rounding
    visit = Visit(node, node.cut(point, rule.split), x, log_ratio, draws)
    decision = computed_once(decide(pair, walk.state, visit), never)
    steps = walk.steps + 1
    status = jnp.where(steps >= min(rule.max_steps, tree.MAX_DEPTH), Status.MAX_STEPS, _RUNNING)
    done = jnp.where(above_bound(pair, ratio), Status.BOUND_TOO_SMALL, Status.DONE)
    status = jnp.where(decision.accepted, done, status).astype(jnp.int32)
    # A search that ends stays at its node, which holds the sample.
    moves = status == _RUNNING
    child = node.child(decision.right, visit.cut)
    node = jax.tree.map(lambda new, old: jnp.where(moves, new, old), child, node)
    after = Walk(walk.keys, node, decision.state, steps, status)
    # An undecided walk waits at the same node, as if it had not been visited.
    waiting = dataclasses.replace(walk, status=jnp.full_like(walk.status, _UNDECIDED))
    after = jax.tree.map(lambda a, b: jnp.where(decision.undecided, a, b), waiting, after)
    # In a batch all lanes take every step: those whose turn it is not stay as they are.
    active = walk.status == turn
    return jax.tree.map(lambda new, old: jnp.where(active, new, old), after, walk)


def _finish(rule: PathRule, target: Any, proposal: Any, walk: Walk) -> Code:
    sample = tree.sample_at(proposal, walk.node.point(walk.keys[0]))
    sample = sent_sample(sample, walk.status)
    return Code(jnp.stack(walk.node.heap), sample, walk.steps, walk.status)


def _advance(rule: PathRule, targets: Any, proposals: Any, walks: Walk) -> Walk:
    """Takes a batch a few levels down."""
    step = jax.vmap(functools.partial(_first_step, rule), (0, 0, -1), -1)
    walks = jax.lax.fori_loop(0, _ROUND, lambda _, walks: step(targets, proposals, walks), walks)
    return _decide_exactly(rule, (targets, proposals), walks) if rule.uses_bounds else walks


def _decide_exactly(rule: PathRule, pairs: tuple[Any, Any], walks: Walk) -> Walk:
    """Takes the exact step of undecided lanes, for one sixteenth of all lanes at a time.

    Undecided lanes wait until they fill that share, or until no other lane is running.
    """
    count = walks.status.size
    size = -(-count // _EXACT)
    step = jax.vmap(functools.partial(_step_exactly, rule))

    def due(walks):
        waiting = walks.status == _UNDECIDED
        idle = ~jnp.any(walks.status == _RUNNING)
        return (jnp.sum(waiting, dtype=jnp.int32) >= size) | jnp.any(waiting) & idle

    def body(walks):
        # Places without an undecided lane hold the number `count`. Reading clips it to the last
        # lane, whose result is computed for nothing; writing drops it.
        chosen = jnp.flatnonzero(walks.status == _UNDECIDED, size=size, fill_value=count)
        part = jax.tree.map(lambda x: x.at[chosen].get(mode="clip"), (*pairs, walks))
        return jax.tree.map(lambda x, new: x.at[chosen].set(new, mode="drop"), walks, step(*part))

    return jax.lax.while_loop(due, body, walks)


SEARCH = lanes.Search(encode, _begin, _advance, _finish, lanes=512)
