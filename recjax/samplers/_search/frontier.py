"""The loop of coders that keep several open nodes of a tree, each with the arrival time of its draw.

The root's time is Exp(1), a child's its parent's plus Exp(1) / P(child): the arrivals of a Poisson process with unit
rate over the proposal, found by branching (Maddison et al., *A* sampling*, 2014, in times T = exp(-G) instead of
Gumbel variables G).
"""

import abc
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from recjax import randomness
from recjax.distributions.base import Distribution, any_violation
from recjax.distributions.pair import Pair, pair_of, violations
from recjax.randomness import Stream
from recjax.samplers._search import lanes, tree
from recjax.samplers._search.varying import varying
from recjax.samplers.base import Code, Status
from recjax.words import Word

CAPACITY = 64
"""Nodes that may be open at a time."""

_RUNNING = -1
_ROUND = 2  # steps that searches take before those that have ended make room


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Entry:
    """An open node, its arrival time and the largest ln r in its interval."""

    node: tree.Node
    time: Float[Array, ""]
    log_bound: Float[Array, ""]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Ruling:
    """What a coder makes of an open node: the best so far, worth a look at all, the last one."""

    carry: PyTree[Array]
    chosen: Bool[Array, ""]
    examined: Bool[Array, ""]
    stopped: Bool[Array, ""]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Search:
    keys: tuple[Word, Word]
    frontier: Entry
    priority: Float[Array, "capacity"]
    chosen: tree.Node
    carry: PyTree[Array]
    steps: Int[Array, ""]
    clipped: Bool[Array, ""]
    status: Int[Array, ""]


class FrontierRule(abc.ABC):
    """What the loop asks of a coder."""

    split: tree.Split
    max_steps: int
    max_depth: int

    @abc.abstractmethod
    def start(self, pair: Pair) -> PyTree[Array]:
        """The coder's state at the root."""

    @abc.abstractmethod
    def priority(self, time: Float[Array, ""], log_bound: Float[Array, ""]) -> Float[Array, ""]:
        """Open nodes are taken from the largest one down."""

    @abc.abstractmethod
    def rule(
        self, pair: Pair, carry: PyTree[Array], entry: Entry, log_ratio: Float[Array, ""]
    ) -> Ruling:
        """Judges the open node of the highest priority, whose draw has ``log_ratio``."""

    @abc.abstractmethod
    def keeps(self, carry: PyTree[Array], entry: Entry) -> Bool[Array, ""]:
        """Whether a new node may hold the sample."""


@functools.partial(jax.jit, static_argnums=0)
def encode(rule: FrontierRule, key: Array, target: Any, proposal: Distribution) -> Code:
    """Searches for one example."""
    search = _begin(rule, key, target, proposal)
    body = functools.partial(_step, rule, pair_of(target, proposal))
    return _finish(
        rule, proposal, jax.lax.while_loop(lambda search: search.status == _RUNNING, body, search)
    )


def _begin(rule, key, target, proposal):
    pair = pair_of(target, proposal)
    keys = tree.stream_words(key, Stream.CANDIDATE), tree.stream_words(key, Stream.ARRIVAL)
    status = jnp.where(any_violation(violations(pair, True)), Status.INVALID, _RUNNING).astype(
        jnp.int32
    )
    root, zero = tree.root(), jnp.zeros((), proposal.dtype)
    first = _entry(pair, keys, root, zero)
    frontier = jax.tree.map(lambda x: jnp.broadcast_to(x, (CAPACITY,)), first)
    priority = (
        jnp.full(CAPACITY, -jnp.inf, proposal.dtype)
        .at[0]
        .set(rule.priority(first.time, first.log_bound))
    )
    search = _Search(
        keys, frontier, priority, root, rule.start(pair), jnp.int32(0), jnp.zeros((), bool), status
    )
    return varying(search, keys[0][0], status)


def _step(rule, pair, search):
    slot = jnp.argmax(search.priority)
    entry = jax.tree.map(lambda x: x[slot], search.frontier)
    point = entry.node.point(search.keys[0])
    log_ratio = jnp.minimum(
        pair.log_ratio(tree.sample_at(pair.proposal, point)), pair.log_ratio_max()
    )
    ruling = rule.rule(pair, search.carry, entry, log_ratio)
    capped = ruling.examined & (search.steps >= rule.max_steps)
    better = ruling.chosen & ~capped
    chosen = jax.tree.map(lambda new, old: jnp.where(better, new, old), entry.node, search.chosen)
    steps = search.steps + (ruling.examined & ~capped).astype(jnp.int32)

    # the left child takes the place of its parent, the right one that of a closed node
    cut = entry.node.cut(point, rule.split)
    word, bit = divmod(rule.max_depth - 1, 32)  # the leading bit of nodes at the largest depth
    deep = entry.node.heap[3 - word] >> bit > 0
    grows = ruling.examined & ~ruling.stopped

    def child(right):
        new = _entry(pair, search.keys, entry.node.child(jnp.asarray(right), cut), entry.time)
        return new, grows & rule.keeps(ruling.carry, new)

    (left, left_kept), (right, right_kept) = child(False), child(True)
    lost = (left_kept | right_kept) & deep
    places = jnp.arange(CAPACITY)
    here = (places == slot) & left_kept & ~deep
    priority = jnp.where(places == slot, -jnp.inf, search.priority)
    priority = jnp.where(here, rule.priority(left.time, left.log_bound), priority)
    place = jnp.argmin(priority)
    there = (places == place) & right_kept & ~deep
    full = right_kept & ~deep & (priority[place] > -jnp.inf)
    priority = jnp.where(there, rule.priority(right.time, right.log_bound), priority)
    frontier = jax.tree.map(
        lambda old, left, right: jnp.where(there, right, jnp.where(here, left, old)),
        search.frontier,
        left,
        right,
    )

    clipped = search.clipped | lost
    ended = ruling.stopped | ~jnp.any(priority > -jnp.inf)
    status = jnp.where(full, Status.QUEUE_FULL, _RUNNING)
    status = jnp.where(ended, jnp.where(clipped, Status.MAX_DEPTH, Status.DONE), status)
    status = jnp.where(capped, Status.MAX_STEPS, status).astype(jnp.int32)
    return _Search(search.keys, frontier, priority, chosen, ruling.carry, steps, clipped, status)


def _entry(pair, keys, node, parent_time):
    """A node with its time; an empty interval has none."""
    dtype = pair.proposal.dtype
    time = parent_time + randomness.exponential(node.draws(keys[1])[0], dtype) / node.mass(dtype)
    low, high = (tree.sample_at(pair.proposal, quantile) for quantile in (node.low, node.high))
    return Entry(node, time, jnp.minimum(pair.log_ratio_max_on(low, high), pair.log_ratio_max()))


def _advance(rule, targets, proposals, searches):
    """Some steps, for a batch."""

    def step(target, proposal, search):
        after = _step(rule, pair_of(target, proposal), search)
        return jax.tree.map(
            lambda new, old: jnp.where(search.status == _RUNNING, new, old), after, search
        )

    return jax.lax.fori_loop(
        0, _ROUND, lambda _, searches: jax.vmap(step)(targets, proposals, searches), searches
    )


def _finish(rule, proposal, search):
    sample = tree.sample_at(proposal, search.chosen.point(search.keys[0]))
    return Code(jnp.stack(search.chosen.heap), sample, search.steps, search.status)


SEARCH = lanes.Search(_begin, _advance, _finish, lanes=256)
