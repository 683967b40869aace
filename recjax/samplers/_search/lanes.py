"""Batches of searches: some are under way at a time, and the next example takes the place of one that has ended."""

import concurrent.futures
import dataclasses
import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from recjax.distributions.base import Distribution
from recjax.samplers.base import Code, Status

_DEVICE_LANES = 1 << 16


class Search(NamedTuple):
    """The parts of a search; ``rule``, the coder's own part, is hashable.

    Attributes:
        begin: maps rule, key, target and proposal to a state, whose ``status`` is negative until it has ended.
        advance: maps rule, targets, proposals and states, with batch axes, to the states some steps on.
        finish: maps rule, proposal and state to a code.
        lanes: searches under way at a time, whose state stays in a core's cache.
    """

    begin: Callable[..., Any]
    advance: Callable[..., Any]
    finish: Callable[..., Code]
    lanes: int


def encode_lanes(
    search: Search, rule: Any, keys: Array, targets: Any, proposals: Distribution
) -> Code:
    """Searches for many examples, with leading batch axes; not for use under transformations.

    On CPUs every core has a share of the examples to itself: one program's kernels are too small to share.

    In single precision an example takes 8 bytes for its key, 4 for every parameter of the two distributions, 28 for its
    code, and 28 again while the shares are joined; a lane of a search along one path takes 0.5 kB, one with a queue of
    open nodes 6 kB. There are ``search.lanes`` lanes on every core, and 65,536 on an accelerator.
    """
    on_cpu = jax.default_backend() == "cpu"
    lanes = search.lanes if on_cpu else _DEVICE_LANES
    threads = min(os.cpu_count() or 1, -(-len(keys) // lanes)) if on_cpu else 1
    size = -(-len(keys) // threads)

    def share(first):
        codes = _search_share(
            search, rule, min(lanes, size), size, jnp.int32(first), keys, targets, proposals
        )
        return jax.block_until_ready(
            codes
        )  # or one thread would start all of them, one after the other

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        codes = list(pool.map(share, range(0, len(keys), size)))
    return jax.tree.map(lambda *parts: jnp.concatenate(parts)[: len(keys)], *codes)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _search_share(search, rule, lanes, size, first, keys, targets, proposals):
    """Codes of ``size`` examples from number ``first`` on; beyond the last example they have no meaning."""
    begin, finish = (
        jax.vmap(functools.partial(part, rule)) for part in (search.begin, search.finish)
    )
    shapes = jax.eval_shape(
        lambda *batch: finish(batch[2], begin(*batch)), keys, targets, proposals
    )

    def load(example):
        some = jax.tree.map(
            lambda x: x.at[first + example].get(mode="clip"), (keys, targets, proposals)
        )
        states = begin(*some)
        # lanes without an example have ended
        states = dataclasses.replace(
            states, status=jnp.where(example < size, states.status, Status.DONE)
        )
        return (some[1], some[2]), states

    def body(carry):
        example, following, pairs, states, codes = carry
        target, proposal = pairs
        states = search.advance(rule, target, proposal, states)
        ended = states.status >= 0
        place = jnp.where(ended, example, size)
        found = finish(proposal, states)
        codes = jax.tree.map(lambda x, new: x.at[place].set(new, mode="drop"), codes, found)
        count = jnp.cumsum(ended, dtype=jnp.int32)
        example = jnp.where(ended, following + count - 1, example)
        pairs, fresh = load(example)
        states = jax.tree.map(functools.partial(_choose, ended), fresh, states)
        return example, following + count[-1], pairs, states, codes

    example = jnp.arange(lanes, dtype=jnp.int32)
    codes = jax.tree.map(lambda x: jnp.zeros((size, *x.shape[1:]), x.dtype), shapes)
    carry = example, jnp.int32(lanes), *load(example), codes
    return jax.lax.while_loop(lambda carry: jnp.any(carry[0] < size), body, carry)[-1]


def _choose(which, new, old):
    return jnp.where(which.reshape(-1, *[1] * (new.ndim - 1)), new, old)
