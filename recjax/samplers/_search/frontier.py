"""The loop of coders that keep several open nodes of a tree, each with its draw's arrival time.

The root's time is Exp(1), a child's its parent's plus Exp(1) / P(child): the arrivals of a Poisson
process with unit rate over the proposal, found by branching (Maddison et al., *A* sampling*, 2014,
in times T = exp(-G) instead of Gumbel variables G).
"""

import abc
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from recjax import randomness
from recjax.distributions.base import any_violation
from recjax.distributions.pair import Pair, pair_of, violations
from recjax.randomness import Stream
from recjax.samplers._search import lanes, tree
from recjax.samplers._search.fence import computed_once
from recjax.samplers._search.varying import varying
from recjax.samplers.base import Code, Status
from recjax.words import Word

CAPACITY = 64
"""Number of nodes that may be open at a time."""

_RUNNING = -1
_ROUND = 2  # steps that searches take before those that have ended make room


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Entry:
    """An open node.

    Attributes:
        node: the node.
        time: the arrival time of its draw.
        log_bound: an upper bound of ln r in its interval.
    """

    node: tree.Node
    time: Float[Array, ""]
    log_bound: Float[Array, ""]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Ruling:
    """A coder's judgement of an open node.

    Attributes:
        state: the coder's state after the node.
        chosen: whether its draw is the best so far.
        examined: whether the node counts as a step and its children may be opened.
        stopped: whether the search ends.
    """

    state: Any
    chosen: Bool[Array, ""]
    examined: Bool[Array, ""]
    stopped: Bool[Array, ""]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Search:
    """A search under way.

    Attributes:
        keys: keys of the candidates' and the arrivals' streams.
        frontier: the open nodes, in slots.
        priority: priority of each slot, -inf for a slot that is free.
        chosen: the node of the best draw so far.
        state: the coder's state.
        steps: nodes examined.
        clipped: whether the largest depth has cut off a node.
        status: -1, or the final status.
    """

    keys: tuple[Word, Word]
    frontier: Entry
    priority: Float[Array, "capacity"]
    chosen: tree.Node
    state: Any
    steps: Int[Array, ""]
    clipped: Bool[Array, ""]
    status: Int[Array, ""]


class FrontierRule(abc.ABC):
    """The part of a search that is a coder's: frozen and hashable. Its state is a pytree."""

    split: tree.Split
    max_steps: int
    max_depth: int

    @property
    def loop(self) -> lanes.Search:
        """The loop that this rule is for."""
        return SEARCH

    @abc.abstractmethod
    def start(self, pair: Pair) -> Any:
        """The coder's state at the root."""

    @abc.abstractmethod
    def priority(self, time: Float[Array, ""], log_bound: Float[Array, ""]) -> Float[Array, ""]:
        """Priority of an open node: nodes are taken from the largest one down."""

    @abc.abstractmethod
    def examine(self, pair: Pair, state: Any, entry: Entry, log_ratio: Float[Array, ""]) -> Ruling:
        """Judges the open node of the highest priority, whose draw has ``log_ratio``."""

    @abc.abstractmethod
    def keeps(self, state: Any, entry: Entry) -> Bool[Array, ""]:
        """Whether a new node may hold the sample."""


@functools.partial(jax.jit, static_argnums=0)
def encode(rule: FrontierRule, key: Array, target: Any, proposal: Any) -> Code:
    """Searches for one example."""
    search = _begin(rule, key, target, proposal)
    body = functools.partial(_step, rule, pair_of(target, proposal))
    search = jax.lax.while_loop(lambda search: search.status == _RUNNING, body, search)
    return _finish(rule, proposal, search)


def _begin(rule: FrontierRule, key: Array, target: Any, proposal: Any) -> _Search:
    pair = pair_of(target, proposal)
    keys = tree.stream_words(key, Stream.CANDIDATE), tree.stream_words(key, Stream.ARRIVAL)
    invalid = any_violation(violations(pair, True))
    status = jnp.where(invalid, Status.INVALID, _RUNNING).astype(jnp.int32)
    root, zero = tree.root(), jnp.zeros((), proposal.dtype)
    first = _entry(pair, keys, root, zero)
    # Every slot holds a copy of the root, but only the first one is open.
    frontier = jax.tree.map(lambda x: jnp.broadcast_to(x, (CAPACITY,)), first)
    free = jnp.full(CAPACITY, -jnp.inf, proposal.dtype)
    priority = free.at[0].set(rule.priority(first.time, first.log_bound))
    unclipped = jnp.zeros((), bool)
    search = _Search(
        keys, frontier, priority, root, rule.start(pair), jnp.int32(0), unclipped, status
    )
    return varying(search, keys[0][0], status)


def _step(rule: FrontierRule, pair: Pair, search: _Search) -> _Search:
    """Closes the open node of the highest priority and opens its children."""
    slot = jnp.argmax(search.priority)
    never = search.steps < 0
    slot, entry = computed_once((slot, jax.tree.map(lambda x: x[slot], search.frontier)), never)
    point = computed_once(entry.node.point(search.keys[0]), never)
    log_ratio = pair.log_ratio(tree.sample_at(pair.proposal, point))
    log_ratio = jnp.minimum(log_ratio, pair.log_ratio_max())  # against rounding
    ruling = computed_once(rule.examine(pair, search.state, entry, log_ratio), never)

    # The cap counts examined nodes only: a node that proves the end may come after it. A node
    # beyond the cap is not chosen, so that the sample is the best one within the cap.
    capped = ruling.examined & (search.steps >= rule.max_steps)
    better = ruling.chosen & ~capped
    chosen = jax.tree.map(lambda new, old: jnp.where(better, new, old), entry.node, search.chosen)
    steps = search.steps + (ruling.examined & ~capped).astype(jnp.int32)

    # The children of a node at the largest depth are not opened. Such a node is known by the
    # leading bit of its heap index.
    cut = entry.node.cut(point, rule.split)
    word, bit = divmod(rule.max_depth - 1, 32)
    deepest = entry.node.heap[3 - word] >> bit > 0
    grows = ruling.examined & ~ruling.stopped

    def child(right):
        """A child, and whether it may hold the sample."""
        new = _entry(pair, search.keys, entry.node.child(jnp.asarray(right), cut), entry.time)
        return new, grows & rule.keeps(ruling.state, new)

    (left, left_kept), (right, right_kept) = computed_once((child(False), child(True)), never)
    # The depth matters only where it cuts off a child that may hold the sample.
    clipped = search.clipped | ((left_kept | right_kept) & deepest)

    # The node is closed, and its slot is free. A left child that is kept takes that slot.
    slots = jnp.arange(CAPACITY)
    left_slot = (slots == slot) & left_kept & ~deepest
    priority = jnp.where(slots == slot, -jnp.inf, search.priority)
    priority = jnp.where(left_slot, rule.priority(left.time, left.log_bound), priority)
    # A right child that is kept takes the slot of the lowest priority, which is -inf if any slot is
    # free. If none is, the search ends below, because an open node would be lost.
    place = jnp.argmin(priority)
    right_slot = (slots == place) & right_kept & ~deepest
    full = right_kept & ~deepest & (priority[place] > -jnp.inf)
    priority = jnp.where(right_slot, rule.priority(right.time, right.log_bound), priority)
    # Masks over all slots, because indexed updates become slow scatters under vmap.
    frontier = jax.tree.map(
        lambda old, left, right: jnp.where(right_slot, right, jnp.where(left_slot, left, old)),
        search.frontier,
        left,
        right,
    )

    # A search that ends has lost no open node: QUEUE_FULL and the two final outcomes exclude each
    # other. The cap comes last: a node beyond it has not ended the search.
    ended = ruling.stopped | ~jnp.any(priority > -jnp.inf)
    status = jnp.where(full, Status.QUEUE_FULL, _RUNNING)
    status = jnp.where(ended, jnp.where(clipped, Status.MAX_DEPTH, Status.DONE), status)
    status = jnp.where(capped, Status.MAX_STEPS, status).astype(jnp.int32)
    return _Search(search.keys, frontier, priority, chosen, ruling.state, steps, clipped, status)


def _entry(
    pair: Pair, keys: tuple[Word, Word], node: tree.Node, parent_time: Float[Array, ""]
) -> Entry:
    """A node with its arrival time, which is infinite for an empty interval."""
    dtype = pair.proposal.dtype
    time = parent_time + randomness.exponential(node.draws(keys[1])[0], dtype) / node.mass(dtype)
    low, high = (tree.sample_at(pair.proposal, quantile) for quantile in (node.low, node.high))
    return Entry(node, time, jnp.minimum(pair.log_ratio_max_on(low, high), pair.log_ratio_max()))


def _advance(rule: FrontierRule, targets: Any, proposals: Any, searches: _Search) -> _Search:
    """Takes a few steps of a batch."""

    def step(target, proposal, search):
        after = _step(rule, pair_of(target, proposal), search)
        # In a batch all lanes take every step: those that have ended stay as they are.
        running = search.status == _RUNNING
        return jax.tree.map(lambda new, old: jnp.where(running, new, old), after, search)

    def steps(_, searches):
        return jax.vmap(step)(targets, proposals, searches)

    return jax.lax.fori_loop(0, _ROUND, steps, searches)


def _finish(rule: FrontierRule, proposal: Any, search: _Search) -> Code:
    sample = tree.sample_at(proposal, search.chosen.point(search.keys[0]))
    return Code(jnp.stack(search.chosen.heap), sample, search.steps, search.status)


SEARCH = lanes.Search(encode, _begin, _advance, _finish, lanes=256)
