"""The loop of coders that keep several open nodes of a tree, each with its draw's arrival time.

The root's time is Exp(1), a child's its parent's plus Exp(1) / P(child): the arrivals of a Poisson
process with unit rate over the proposal, found by branching (Maddison et al., *A* sampling*, 2014,
in times T = exp(-G) instead of Gumbel variables G).
"""

import abc
import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from recjax import randomness
from recjax.distributions.base import any_violation
from recjax.distributions.bound import above_bound
from recjax.distributions.pair import Pair, pair_of, violations
from recjax.randomness import Stream
from recjax.samplers._search import lanes, tree
from recjax.samplers._search.fence import computed_once
from recjax.samplers._search.queue import Child, Entry, Queue, queue_of
from recjax.samplers._search.varying import varying
from recjax.samplers.base import Code, Status, sent_sample
from recjax.words import Word

CAPACITY = 64
"""Number of nodes that may be open at a time."""

_RUNNING = -1
_ROUND = 3  # steps that searches take before those that have ended make room


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
        queue: the open nodes.
        chosen: the node of the best draw so far.
        above: whether the best draw's ratio exceeds the bound of the pair.
        state: the coder's state.
        steps: nodes examined.
        clipped: whether the largest depth has cut off a node.
        status: -1, or the final status.
    """

    keys: tuple[Word, Word]
    queue: Queue
    chosen: tree.Node
    above: Bool[Array, ""]
    state: Any
    steps: Int[Array, ""]
    clipped: Bool[Array, ""]
    status: Int[Array, ""]


class FrontierRule(abc.ABC):
    """The part of a search that is a coder's: frozen and hashable. Its state is a pytree."""

    split: tree.Split
    max_steps: int
    max_depth: int
    capacities: ClassVar[tuple[int, ...]] = (8, CAPACITY)
    """Numbers of slots for open nodes. A search that fills the first begins again with the second.

    Steps are the faster, the fewer slots they go through, but each number has a program.
    """

    @property
    def loop(self) -> lanes.Search:
        """The loop that this rule is for."""
        return _loop(self.capacities)

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
    step = functools.partial(_step, rule, pair_of(target, proposal))
    code, wanted = None, True
    for capacity in rule.capacities:
        search = _begin(rule, capacity, key, target, proposal)
        # a search that is not wanted has ended before its first step
        search = dataclasses.replace(search, status=jnp.where(wanted, search.status, Status.DONE))
        search = jax.lax.while_loop(lambda search: search.status == _RUNNING, step, search)
        new = _finish(rule, target, proposal, search)
        choose = functools.partial(jnp.where, wanted)
        code = new if code is None else jax.tree.map(choose, new, code)
        wanted = code.status == Status.QUEUE_FULL
    return code


def _begin(rule: FrontierRule, capacity: int, key: Array, target: Any, proposal: Any) -> _Search:
    pair = pair_of(target, proposal)
    keys = tree.stream_words(key, Stream.CANDIDATE), tree.stream_words(key, Stream.ARRIVAL)
    invalid = any_violation(violations(pair, True))
    status = jnp.where(invalid, Status.INVALID, _RUNNING).astype(jnp.int32)
    root, zero = tree.root(), jnp.zeros((), proposal.dtype)
    first = _entry(pair, keys, root, zero)
    keys, first, status = computed_once((keys, first, status), status < _RUNNING)
    queue = queue_of(first, rule.priority(first.time, first.log_bound), capacity)
    no = jnp.zeros((), bool)
    search = _Search(keys, queue, root, no, rule.start(pair), jnp.int32(0), no, status)
    return varying(search, keys[0][0], status)


def _step(rule: FrontierRule, pair: Pair, search: _Search) -> _Search:
    """Closes the open node of the highest priority and opens its children."""
    slot, entry = search.queue.first(search.steps < 0)
    return _open(slot, *_visit(rule, pair, entry, search))


def _visit(
    rule: FrontierRule, pair: Pair, entry: Entry, search: _Search
) -> tuple[tuple[Child, Child], _Search]:
    """Examines a node: its children, and the search with its open nodes as they were."""
    never = search.steps < 0
    point = computed_once(entry.node.point(search.keys[0]), never)
    ratio = pair.log_ratio(tree.sample_at(pair.proposal, point))
    log_ratio = jnp.minimum(ratio, pair.log_ratio_max())  # against rounding
    ruling = computed_once(rule.examine(pair, search.state, entry, log_ratio), never)

    # The cap counts examined nodes only: a node that proves the end may come after it. A node
    # beyond the cap is not chosen, so that the sample is the best one within the cap.
    capped = ruling.examined & (search.steps >= rule.max_steps)
    better = ruling.chosen & ~capped
    chosen = jax.tree.map(lambda new, old: jnp.where(better, new, old), entry.node, search.chosen)
    above = jnp.where(better, above_bound(pair, ratio), search.above)
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
        promising = grows & rule.keeps(ruling.state, new)
        return Child(new, rule.priority(new.time, new.log_bound), promising & ~deepest), promising

    (left, left_promising), (right, right_promising) = child(False), child(True)
    # The depth matters only where it cuts off a child that may hold the sample.
    clipped = search.clipped | ((left_promising | right_promising) & deepest)
    status = jnp.where(ruling.stopped, _ended(clipped, above), _RUNNING)
    # The cap comes last: a node beyond it has not ended the search.
    status = jnp.where(capped, Status.MAX_STEPS, status).astype(jnp.int32)
    state = ruling.state
    after = _Search(search.keys, search.queue, chosen, above, state, steps, clipped, status)
    return computed_once((left, right), never), after


def _ended(clipped: Bool[Array, "*lanes"], above: Bool[Array, "*lanes"]) -> Int[Array, "*lanes"]:
    """The status of a search that has looked at all nodes that may hold the sample."""
    done = jnp.where(above, Status.BOUND_TOO_SMALL, Status.DONE)
    return jnp.where(clipped, Status.MAX_DEPTH, done).astype(jnp.int32)


def _open(slot: Int[Array, "*lanes"], children: tuple[Child, Child], search: _Search) -> _Search:
    """Puts the children of the node in a slot in its place."""
    queue, full = search.queue.replaced(slot, *children, search.steps < 0)
    # A search that ends has lost no open node: QUEUE_FULL and the final outcomes exclude each other
    status = jnp.where(full, Status.QUEUE_FULL, _RUNNING)
    status = jnp.where(queue.is_empty(), _ended(search.clipped, search.above), status)
    status = jnp.where(search.status == _RUNNING, status, search.status).astype(jnp.int32)
    return dataclasses.replace(search, queue=queue, status=status)


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

    def visit(target, proposal, entry, search):
        return _visit(rule, pair_of(target, proposal), entry, search)

    def step(_, before):
        slots, entries = before.queue.first(before.steps < 0)
        visits = jax.vmap(visit, (0, 0, -1, -1), -1)(targets, proposals, entries, before)
        after = _open(slots, *visits)
        # In a batch all lanes take every step: those that have ended stay as they are.
        running = before.status == _RUNNING
        return jax.tree.map(lambda new, old: jnp.where(running, new, old), after, before)

    return jax.lax.fori_loop(0, _ROUND, step, searches)


def _finish(rule: FrontierRule, target: Any, proposal: Any, search: _Search) -> Code:
    sample = tree.sample_at(proposal, search.chosen.point(search.keys[0]))
    sample = sent_sample(sample, search.status)
    return Code(jnp.stack(search.chosen.heap), sample, search.steps, search.status)


@functools.cache
def _loop(capacities: tuple[int, ...]) -> lanes.Search:
    """The loop of a batch with the first number of slots, and again with the next."""
    capacity, *more = capacities

    def begin(rule, key, target, proposal):
        return _begin(rule, capacity, key, target, proposal)

    again = _loop(tuple(more)) if more else None
    return lanes.Search(encode, begin, _advance, _finish, lanes=256, again=again)
