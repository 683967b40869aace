"""The loop of coders that follow one path down a tree."""

import abc
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from recjax.distributions.base import Distribution, any_violation
from recjax.distributions.pair import Pair, pair_of, violations
from recjax.randomness import Stream
from recjax.samplers._search import lanes, tree
from recjax.samplers._search.varying import varying
from recjax.samplers.base import Code, Status
from recjax.words import Word

_RUNNING, _UNDECIDED = -1, -2
_ROUND = 3  # levels that searches descend before those that have ended make room
_EXACT = 16  # one search in so many takes the exact step at a time


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Visit:
    """A node and its draw, as a coder sees them.

    Attributes:
        node: the node.
        cut: where its children would meet.
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
    """What a coder does at a node: accept its draw, or go on to a child; or it needs the exact computation first."""

    carry: PyTree[Array]
    accepted: Bool[Array, ""]
    undecided: Bool[Array, ""]
    right: Bool[Array, ""]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Walk:
    """A search under way; its node is the one to visit next, or the last one of a search that has ended."""

    keys: tuple[Word, Word]
    node: tree.Node
    carry: PyTree[Array]
    steps: Int[Array, ""]
    status: Int[Array, ""]


class PathRule(abc.ABC):
    """What the loop asks of a coder."""

    split: tree.Split
    max_steps: int

    @abc.abstractmethod
    def start(self, pair: Pair) -> PyTree[Array]:
        """The coder's state at the root."""

    @abc.abstractmethod
    def decide(self, pair: Pair, carry: PyTree[Array], visit: Visit, exact: bool) -> Decision:
        """What to do at a node. Unless ``exact``, it may be left undecided, with the state as it was."""


@functools.partial(jax.jit, static_argnums=0)
def encode(rule: PathRule, key: Array, target: Any, proposal: Distribution) -> Code:
    """Searches for one example."""

    def body(walk):
        walk = _step(rule, False, target, proposal, walk)
        exact = functools.partial(_step, rule, True, target, proposal)
        # at most once; shard_map accepts a loop where it rejects a conditional
        return jax.lax.while_loop(lambda walk: walk.status == _UNDECIDED, exact, walk)

    walk = _begin(rule, key, target, proposal)
    return _finish(
        rule, proposal, jax.lax.while_loop(lambda walk: walk.status == _RUNNING, body, walk)
    )


def _begin(rule, key, target, proposal):
    pair = pair_of(target, proposal)
    keys = tree.stream_words(key, Stream.CANDIDATE), tree.stream_words(key, Stream.ARRIVAL)
    status = jnp.where(any_violation(violations(pair, True)), Status.INVALID, _RUNNING).astype(
        jnp.int32
    )
    walk = Walk(keys, tree.root(), rule.start(pair), jnp.int32(0), status)
    return varying(walk, keys[0][0], status)


def _step(rule, exact, target, proposal, walk):
    """Visits a walk's node, unless the walk has ended."""
    pair, node = pair_of(target, proposal), walk.node
    point = node.point(walk.keys[0])
    x = tree.sample_at(proposal, point)
    log_ratio = jnp.minimum(pair.log_ratio(x), pair.log_ratio_max())  # against rounding
    visit = Visit(node, node.cut(point, rule.split), x, log_ratio, node.draws(walk.keys[1]))
    decision = rule.decide(pair, walk.carry, visit, exact)
    steps = walk.steps + 1
    status = jnp.where(steps >= min(rule.max_steps, tree.MAX_DEPTH), Status.MAX_STEPS, _RUNNING)
    status = jnp.where(decision.accepted, Status.DONE, status).astype(jnp.int32)
    moves = status == _RUNNING
    child = node.child(decision.right, visit.cut)
    node = jax.tree.map(lambda new, old: jnp.where(moves, new, old), child, node)
    after = Walk(walk.keys, node, decision.carry, steps, status)
    waiting = dataclasses.replace(walk, status=jnp.full_like(walk.status, _UNDECIDED))
    after = jax.tree.map(lambda a, b: jnp.where(decision.undecided, a, b), waiting, after)
    active = walk.status == (_UNDECIDED if exact else _RUNNING)
    return jax.tree.map(lambda new, old: jnp.where(active, new, old), after, walk)


def _finish(rule, proposal, walk):
    sample = tree.sample_at(proposal, walk.node.point(walk.keys[0]))
    return Code(jnp.stack(walk.node.heap), sample, walk.steps, walk.status)


def _advance(rule, targets, proposals, walks):
    """Some levels down, for a batch."""
    step = jax.vmap(functools.partial(_step, rule, False))
    walks = jax.lax.fori_loop(0, _ROUND, lambda _, walks: step(targets, proposals, walks), walks)
    return _decide_exactly(rule, (targets, proposals), walks)


def _decide_exactly(rule, pairs, walks):
    """The exact step for undecided lanes, put off until they are many or nothing else is left to do."""
    count = walks.status.size
    size = -(-count // _EXACT)
    step = jax.vmap(functools.partial(_step, rule, True))

    def due(walks):
        waiting = walks.status == _UNDECIDED
        idle = ~jnp.any(walks.status == _RUNNING)
        return (jnp.sum(waiting, dtype=jnp.int32) >= size) | jnp.any(waiting) & idle

    def body(walks):
        chosen = jnp.flatnonzero(walks.status == _UNDECIDED, size=size, fill_value=count)
        part = jax.tree.map(lambda x: x.at[chosen].get(mode="clip"), (*pairs, walks))
        return jax.tree.map(lambda x, new: x.at[chosen].set(new, mode="drop"), walks, step(*part))

    return jax.lax.while_loop(due, body, walks)


SEARCH = lanes.Search(_begin, _advance, _finish, lanes=512)
