"""The loop of global samplers over chunks of candidates, by the rule of a coder."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, UInt32

from recjax import randomness
from recjax.distributions.base import any_violation
from recjax.distributions.pair import violations
from recjax.randomness import Stream
from recjax.samplers._search import lanes
from recjax.samplers._search.candidate_rule import CandidateRule, Chunk
from recjax.samplers._search.varying import varying
from recjax.samplers.base import Code, Status

_RUNNING = -1
_CHUNK = 64  # candidates at a time in one search
_SLAB = 1 << 14  # lanes at a time in a batch
_CPU_NUMBERS, _DEVICE_NUMBERS = 1 << 16, 1 << 24  # of candidates at a time in a compiled loop


@functools.partial(jax.jit, static_argnums=0)
def decode(
    rule: CandidateRule, key: Array, index: UInt32[Array, "*shape"], proposal: Any
) -> Float[Array, "*event"]:
    """Regenerates one candidate."""
    return rule.draw(randomness.stream_key(key, Stream.CANDIDATE), index, proposal)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Progress:
    """A search under way.

    Attributes:
        words: keys of the streams, by ``Stream``.
        state: the rule's state.
        steps: candidates dealt with.
        index: the candidate chosen so far.
        status: -1, or the final status.
    """

    words: UInt32[Array, "streams 2"]
    state: Any
    steps: UInt32[Array, ""]
    index: UInt32[Array, "..."]
    status: Int[Array, ""]


@functools.partial(jax.jit, static_argnums=0)
def encode(
    rule: CandidateRule,
    key: Array,
    target: Any,
    proposal: Any,
    private_key: Array | None = None,
) -> Code:
    """Searches for one example.

    Args:
        rule: the coder's part of the search.
        key: the shared key.
        target: the target.
        proposal: the proposal.
        private_key: key of the streams that the decoder does not need; None for the shared key.
    """
    progress = _begin(rule, key, key if private_key is None else private_key, target, proposal)
    progress = _advance(rule, _CHUNK, target, proposal, progress, None)
    return _finish(rule, key, proposal, progress)


def _begin(
    rule: CandidateRule, key: Array, private_key: Array, target: Any, proposal: Any
) -> Progress:
    pair = rule.pair(target, proposal)
    private = [
        randomness.stream_key(private_key, stream) for stream in (Stream.ARRIVAL, Stream.ACCEPT)
    ]
    words = jnp.stack([randomness.stream_key(key, Stream.CANDIDATE), *private])
    invalid = any_violation(violations(pair, rule.bounded, rule.widths))
    status = jnp.where(invalid, Status.INVALID, _RUNNING).astype(jnp.int32)
    first = jnp.zeros(rule.last_index.shape, jnp.uint32)
    progress = Progress(words, rule.start(pair), jnp.uint32(0), first, status)
    return varying(progress, words[0, 0], status)


class _Run(NamedTuple):
    """State of the loop over chunks."""

    progress: Progress
    chunks: Int[Array, ""] | None  # chunks left before the loop pauses; None: it runs to the end


def _advance(
    rule: CandidateRule,
    size: int,
    target: Any,
    proposal: Any,
    progress: Progress,
    chunks: Any,
) -> Progress:
    """Runs a search until it ends, or for a number of chunks."""
    pair = rule.pair(target, proposal)
    words = progress.words

    def step(run):
        progress = run.progress
        index = rule.candidates(progress.state, progress.steps, size)
        ratios = rule.log_ratios(pair, progress.state, words, index)
        ratios = jnp.minimum(ratios, pair.log_ratio_max())  # against rounding
        # The last chunk may reach beyond the list: no rule chooses a candidate of ratio 0. The
        # barrier computes ratios once, and with the same bits whatever the rule does with them.
        ratios = jax.lax.optimization_barrier(jnp.where(index < rule.limit, ratios, -jnp.inf))
        verdict = rule.examine(pair, progress.state, Chunk(index, ratios, words))
        steps = progress.steps + verdict.used.astype(jnp.uint32)
        status = jnp.where(steps < rule.cap, _RUNNING, rule.exhausted(verdict.state))
        # A search that ends within a chunk beyond the cap has not ended within the cap.
        done = verdict.stopped & (steps <= rule.cap)
        status = jnp.where(done, Status.DONE, status).astype(jnp.int32)
        # The same chunk may have gone beyond the cap and the last index.
        steps = jnp.minimum(steps, rule.cap)
        index = jnp.minimum(verdict.index, rule.last_index)
        progress = Progress(words, verdict.state, steps, index, status)
        return _Run(progress, None if run.chunks is None else run.chunks - 1)

    def unfinished(run):
        running = run.progress.status == _RUNNING
        return running if run.chunks is None else running & (run.chunks > 0)

    return jax.lax.while_loop(unfinished, step, _Run(progress, chunks)).progress


def _finish(rule: CandidateRule, key: Array, proposal: Any, progress: Progress) -> Code:
    sample = decode(rule, key, progress.index, proposal)
    return Code(progress.index, sample, progress.steps.astype(jnp.int32), progress.status)


def _begin_pair(
    rule: CandidateRule, keys: tuple[Array, Array], target: Any, proposal: Any
) -> Progress:
    return _begin(rule, *keys, target, proposal)


def _advance_round(rule: CandidateRule, targets: Any, proposals: Any, progress: Progress):
    advance = functools.partial(_advance, rule, _CHUNK)
    return jax.vmap(advance, (0, 0, 0, None))(targets, proposals, progress, 1)


def _finish_drawn(rule: CandidateRule, proposal: Any, progress: Progress) -> Code:
    sample = rule.draw(progress.words[Stream.CANDIDATE], progress.index, proposal)
    return Code(progress.index, sample, progress.steps.astype(jnp.int32), progress.status)


_begin_lanes = jax.jit(jax.vmap(_begin, in_axes=(None, 0, 0, 0, 0)), static_argnums=0)
_advance_lanes = jax.jit(
    jax.vmap(_advance, in_axes=(None, None, 0, 0, 0, None)), static_argnums=(0, 1)
)
_finish_lanes = jax.jit(jax.vmap(_finish, in_axes=(None, 0, 0, 0)), static_argnums=0)
_take = jax.jit(lambda tree, lanes: jax.tree.map(lambda x: x[lanes], tree))
_put = jax.jit(
    lambda tree, lanes, part: jax.tree.map(lambda x, y: x.at[lanes].set(y), tree, part),
    donate_argnums=0,
)


def encode_lanes(
    rule: CandidateRule,
    keys: Array,
    targets: Any,
    proposals: Any,
    private_keys: Array | None = None,
) -> Code:
    """Searches for a batch of examples: a loop on the host if they are concrete.

    Traced examples are searched for by the loop of `lanes`, without syncs of the host. In the loop
    on the host all searches run for a few chunks, then those that have not ended for a few more, and so on; the
    longer a search has run, the wider its chunks. Lanes are gathered into slabs of few different
    sizes, so that few programs are compiled.

    Args:
        rule: the coder's part of the search.
        keys: one shared key per example.
        targets: targets with a leading batch axis.
        proposals: proposals with a leading batch axis.
        private_keys: as for `encode`, one per example.
    """
    private_keys = keys if private_keys is None else private_keys
    event_size = max(proposals.event_size // len(keys), 1)
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((keys, targets, proposals))):
        width = rule.width(_CHUNK) * event_size
        search = lanes.Search(
            encode,
            _begin_pair,
            _advance_round,
            _finish_drawn,
            lanes=max(_CPU_NUMBERS // width, 32),
            device_lanes=max(_DEVICE_NUMBERS // width, 32),
        )
        return lanes.encode_lanes(search, rule, (keys, private_keys), targets, proposals)
    progress = _begin_lanes(rule, keys, private_keys, targets, proposals)
    chunk, spent = 16, 0
    while (running := np.flatnonzero(np.asarray(progress.status) == _RUNNING)).size:
        # fewer lanes at a time where each has more numbers, so that a slab fits into the cache
        for slab in _slabs(running, _SLAB * 16 // (rule.width(chunk) * event_size)):
            part = _take((targets, proposals, progress), slab)
            progress = _put(
                progress, slab, _advance_lanes(rule, chunk, *part, max(_SLAB // slab.size, 1))
            )
        spent += chunk
        chunk = 16 if spent < 32 else 64 if spent < 512 else 256
    return _finish_lanes(rule, keys, proposals, progress)


def _slabs(lanes: Int[np.ndarray, "n"], largest: int) -> Iterator[Int[np.ndarray, "size"]]:
    """Cuts lane numbers into slabs of 32, 256, 2048 or 16384 lanes.

    The last slab is padded with its last lane: equal lanes give equal results, so that it does not
    matter which of them is kept.
    """
    size = _SLAB
    while lanes.size:
        while size > 32 and (size > largest or size >= 2 * lanes.size):
            size //= 8
        slab, lanes = lanes[:size], lanes[size:]
        yield np.pad(slab, (0, size - slab.size), mode="edge")
