"""Batches of tree searches: as soon as one ends, the next example takes its lane."""

import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Int

from recjax import parallel
from recjax.samplers._search.fence import computed_once
from recjax.samplers.base import Code, Status


class Search(NamedTuple):
    """The parts of a search loop. ``rule`` is the coder's part, which is hashable.

    Attributes:
        encode: maps rule, key, target and proposal to a code: the search for one example.
        begin: maps rule, key, target and proposal to a state, whose ``status`` is negative until
            the search has ended.
        advance: maps rule, targets, proposals and states, with batch axes, to the states after some
            steps. The batch is the first axis of the distributions and the last one of the states.
        finish: maps rule, target, proposal and state to a code.
        lanes: number of searches at a time on a CPU's core, whose states stay in the core's cache.
        device_lanes: number of searches at a time on an accelerator.
        again: the loop in which examples whose status is `Status.QUEUE_FULL` are searched for once
            more, or None.
    """

    encode: Callable[..., Code]
    begin: Callable[..., Any]
    advance: Callable[..., Any]
    finish: Callable[..., Code]
    lanes: int
    device_lanes: int = 1 << 16
    again: "Search | None" = None


def encode_lanes(search: Search, rule: Any, keys: Array, targets: Any, proposals: Any) -> Code:
    """Searches for a batch of examples.

    If they are concrete, every core of the CPU searches for an equal share of the examples: one
    program's kernels are too small to be spread over cores. If they are traced, it is one loop.

    In single precision an example takes 8 bytes for its key, 4 for every parameter of the two
    distributions, 28 for its code, and 28 again while the shares are joined; a lane of a search
    along one path takes 0.5 kB, one with a queue of open nodes 6 kB. There are ``search.lanes``
    lanes on every core, and ``search.device_lanes`` on an accelerator.

    Args:
        search: the loop.
        rule: the coder's part of the search.
        keys: one key per example, or a tree of keys as ``search.begin`` takes them.
        targets: targets with a leading batch axis.
        proposals: proposals with a leading batch axis.
    """
    examples = keys, targets, proposals
    n = len(jax.tree.leaves(keys)[0])

    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(examples)):

        def loop(lanes):
            return functools.partial(_search_share, search, rule, min(lanes, n), n, jnp.int32(0))

        # the platform that the program is lowered for, which need not be that of this process
        return jax.lax.platform_dependent(
            *examples, cpu=loop(search.lanes), default=loop(search.device_lanes)
        )
    threads = min(parallel.cores(), -(-n // search.lanes))
    size = -(-n // threads)

    def share(first):
        lanes_here = min(search.lanes, size)
        codes = _search_share(search, rule, lanes_here, size, jnp.int32(first), *examples)
        # without this wait one thread would start all shares, which then run one after the other
        return jax.block_until_ready(codes)

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        codes = list(pool.map(share, range(0, n, size)))
    # the last share may reach beyond the last example
    return jax.tree.map(lambda *shares: jnp.concatenate(shares)[:n], *codes)


class _Share(NamedTuple):
    """State of the search for a share of the examples."""

    example: Int[Array, "lanes"]  # each lane's example; `size` or more for a lane without one
    following: Int[Array, ""]  # the next example to be loaded
    pairs: tuple[Any, Any]  # targets and proposals of the lanes
    states: Any  # states of the lanes' searches
    codes: Code  # results of all examples of the share


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _search_share(
    search: Search,
    rule: Any,
    lanes: int,
    size: int,
    first: Int[Array, ""],
    keys: Array,
    targets: Any,
    proposals: Any,
) -> Code:
    """Codes of ``size`` examples from ``first`` on, meaningless beyond the last example."""
    batch = keys, targets, proposals
    shapes = jax.eval_shape(jax.vmap(functools.partial(search.encode, rule)), *batch)
    codes = jax.tree.map(lambda x: jnp.zeros((size, *x.shape[1:]), x.dtype), shapes)
    order = jnp.arange(size, dtype=jnp.int32)
    codes = _search_some(search, rule, lanes, order, first, batch, codes)
    if search.again is not None:
        (order,) = jnp.nonzero(codes.status == Status.QUEUE_FULL, size=size, fill_value=size)
        # few examples are left, and each takes more memory
        lanes = max(lanes // 8, 1)
        codes = _search_some(search.again, rule, lanes, order, first, batch, codes)
    return codes


def _search_some(
    search: Search,
    rule: Any,
    lanes: int,
    order: Int[Array, "size"],
    first: Int[Array, ""],
    batch: tuple[Array, Any, Any],
    codes: Code,
) -> Code:
    """Searches for the examples ``first + order``, and writes their codes at ``order``.

    Args:
        search: the loop.
        rule: the coder's part of the search.
        lanes: number of searches at a time.
        order: numbers of examples; from the first that is as large as their count on, none counts.
        first: the first example of the share.
        batch: keys, targets and proposals of all examples.
        codes: codes of the share.
    """
    size, count = len(order), jnp.sum(order < len(order), dtype=jnp.int32)
    begin = jax.vmap(functools.partial(search.begin, rule), out_axes=-1)
    finish = jax.vmap(functools.partial(search.finish, rule), (0, 0, -1))

    def load(place):
        # A lane without an example loads the last one, and counts as ended.
        example = order.at[place].get(mode="fill", fill_value=size)
        here = jax.tree.map(lambda x: x.at[first + example].get(mode="clip"), batch)
        states = begin(*here)
        status = jnp.where(example < size, states.status, Status.DONE)
        return example, here[1:], dataclasses.replace(states, status=status)

    def body(share):
        never = share.following < 0
        states = search.advance(rule, *share.pairs, share.states)
        ended = states.status >= 0
        # Codes of searches that go on are written to no place: beyond the end, and dropped.
        place = jnp.where(ended, share.example, size)
        found = computed_once(finish(*share.pairs, states), never)
        codes = jax.tree.map(lambda x, new: x.at[place].set(new, mode="drop"), share.codes, found)
        # Lanes whose search has ended load the next examples, in order.
        rank = jnp.cumsum(ended, dtype=jnp.int32)
        example, pairs, fresh = computed_once(load(share.following + rank - 1), never)
        # other lanes keep their example, and their pair with it
        rows = functools.partial(_choose, ended)
        return _Share(
            jnp.where(ended, example, share.example),
            share.following + rank[-1],
            jax.tree.map(rows, pairs, share.pairs),
            jax.tree.map(functools.partial(jnp.where, ended), fresh, states),
            codes,
        )

    def unfinished(share):
        return (share.following < count) | jnp.any(share.example < size)

    # All lanes begin as ones whose search has ended. Their first steps are for nothing, but loading
    # examples before the loop, too, would make a larger program.
    blank = functools.partial(jax.tree.map, lambda x: jnp.zeros(x.shape, x.dtype))
    example, pairs, states = blank(jax.eval_shape(load, jnp.zeros(lanes, jnp.int32)))
    start = _Share(example + size, jnp.int32(0), pairs, states, codes)
    return jax.lax.while_loop(unfinished, body, start).codes


def _choose(which: Array, new: Array, old: Array) -> Array:
    """Rows of ``new`` where ``which`` is true, of ``old`` elsewhere."""
    return jnp.where(which.reshape(-1, *[1] * (new.ndim - 1)), new, old)
