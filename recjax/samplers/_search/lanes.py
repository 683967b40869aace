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
from recjax.samplers.base import Code, Status


class Search(NamedTuple):
    """The parts of a search loop. ``rule`` is the coder's part, which is hashable.

    Attributes:
        encode: maps rule, key, target and proposal to a code: the search for one example.
        begin: maps rule, key, target and proposal to a state, whose ``status`` is negative until
            the search has ended.
        advance: maps rule, targets, proposals and states, with batch axes, to the states after some
            steps.
        finish: maps rule, proposal and state to a code.
        lanes: number of searches at a time on a CPU's core, whose states stay in the core's cache.
        device_lanes: number of searches at a time on an accelerator.
    """

    encode: Callable[..., Code]
    begin: Callable[..., Any]
    advance: Callable[..., Any]
    finish: Callable[..., Code]
    lanes: int
    device_lanes: int = 1 << 16


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
    begin, finish = (
        jax.vmap(functools.partial(part, rule)) for part in (search.begin, search.finish)
    )
    shapes = jax.eval_shape(
        lambda *batch: finish(batch[2], begin(*batch)), keys, targets, proposals
    )

    def load(example):
        # A lane without an example loads the last one, and counts as ended.
        keys_here, targets_here, proposals_here = jax.tree.map(
            lambda x: x.at[first + example].get(mode="clip"), (keys, targets, proposals)
        )
        states = begin(keys_here, targets_here, proposals_here)
        status = jnp.where(example < size, states.status, Status.DONE)
        return (targets_here, proposals_here), dataclasses.replace(states, status=status)

    def body(share):
        targets_here, proposals_here = share.pairs
        states = search.advance(rule, targets_here, proposals_here, share.states)
        ended = states.status >= 0
        # Codes of searches that go on are written to no place: beyond the end, and dropped.
        place = jnp.where(ended, share.example, size)
        found = finish(proposals_here, states)
        codes = jax.tree.map(lambda x, new: x.at[place].set(new, mode="drop"), share.codes, found)
        # Lanes whose search has ended load the next examples, in order.
        count = jnp.cumsum(ended, dtype=jnp.int32)
        example = jnp.where(ended, share.following + count - 1, share.example)
        pairs, fresh = load(example)
        states = jax.tree.map(functools.partial(choose, ended), fresh, states)
        return _Share(example, share.following + count[-1], pairs, states, codes)

    example = jnp.arange(lanes, dtype=jnp.int32)
    codes = jax.tree.map(lambda x: jnp.zeros((size, *x.shape[1:]), x.dtype), shapes)
    start = _Share(example, jnp.int32(lanes), *load(example), codes)
    return jax.lax.while_loop(lambda share: jnp.any(share.example < size), body, start).codes


def choose(which: Array, new: Array, old: Array) -> Array:
    """Rows of ``new`` where ``which`` is true, of ``old`` elsewhere."""
    return jnp.where(which.reshape(-1, *[1] * (new.ndim - 1)), new, old)
