"""The loop of coders that follow one path down a tree, for one example or for thousands of lanes."""

import abc
import concurrent.futures
import dataclasses
import functools
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from recjax import randomness
from recjax.distributions.base import Distribution, any_violation
from recjax.distributions.pair import Pair, pair_of, violations
from recjax.randomness import Stream
from recjax.samplers import interval, tree
from recjax.samplers.base import Code, Status

_RUNNING, _UNDECIDED = -1, -2
_SLABS = (128, 512, 2048, 8192, 32768)  # lanes at a time in a batch
_ROUND = 3  # levels that lanes descend before those that have ended are left out


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
    cut: interval.Word
    x: Float[Array, "*event"]
    log_ratio: Float[Array, ""]
    draws: interval.Word


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

    keys: tuple[interval.Word, interval.Word]
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
    return _finish(rule, proposal, jax.lax.while_loop(lambda walk: walk.status == _RUNNING, body, walk))


def _begin(rule, key, target, proposal):
    pair = pair_of(target, proposal)
    words = (randomness.stream_key(key, stream) for stream in (Stream.CANDIDATE, Stream.ARRIVAL))
    keys = tuple((word[0], word[1]) for word in words)
    status = jnp.where(any_violation(violations(pair, True)), Status.INVALID, _RUNNING).astype(jnp.int32)
    walk = Walk(keys, tree.root(), rule.start(pair), jnp.int32(0), status)
    # A zero that varies over every mesh axis an argument varies over, as shard_map wants of a loop's first state.
    zero = (keys[0][0].astype(jnp.int32) & 0) + (status & 0)
    return jax.tree.map(lambda x: x | (zero == 1) if x.dtype == bool else x + zero.astype(x.dtype), walk)


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


def encode_lanes(rule: PathRule, keys: Array, targets: Any, proposals: Distribution) -> Code:
    """Searches for many examples, with leading batch axes; a loop on the host, not for use under transformations.

    Slabs of lanes descend a few levels, those that are undecided take the exact step, and those that have not ended
    are gathered and go on. On CPUs every core has slabs of its own: one slab's kernels are too small to share.
    """
    on_cpu = jax.default_backend() == "cpu"
    size = _SLABS[-1] if on_cpu else len(keys)

    def search(start):
        return _search_slab(rule, *jax.tree.map(lambda x: x[start : start + size], (keys, targets, proposals)))

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() if on_cpu else 1) as pool:
        codes = list(pool.map(search, range(0, len(keys), size)))
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *codes)


def _search_slab(rule, keys, targets, proposals):
    walks = _begin_lanes(rule, keys, targets, proposals)
    while (status := np.asarray(walks.status)).min() < 0:
        for waiting, exact, steps in ((_UNDECIDED, True, 1), (_RUNNING, False, _ROUND)):
            lanes = np.flatnonzero(status == waiting)
            # few different sizes, so that few programs are compiled; a part is filled up with its last lane
            size = next((size for size in _SLABS if size >= lanes.size), status.size)
            if lanes.size == 0:
                continue
            lanes = np.pad(lanes, (0, max(size - lanes.size, 0)), mode="edge")
            part = _take((targets, proposals, walks), lanes)
            walks = _put(walks, lanes, _advance_lanes(rule, exact, steps, *part))
    return _finish_lanes(rule, proposals, walks)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _advance_lanes(rule, exact, steps, targets, proposals, walks):
    step = jax.vmap(functools.partial(_step, rule, exact))
    return jax.lax.fori_loop(0, steps, lambda _, walks: step(targets, proposals, walks), walks)


_begin_lanes = jax.jit(jax.vmap(_begin, in_axes=(None, 0, 0, 0)), static_argnums=0)
_finish_lanes = jax.jit(jax.vmap(_finish, in_axes=(None, 0, 0)), static_argnums=0)
_take = jax.jit(lambda tree, lanes: jax.tree.map(lambda x: x[lanes], tree))
_put = jax.jit(lambda tree, lanes, part: jax.tree.map(lambda x, y: x.at[lanes].set(y), tree, part), donate_argnums=0)
