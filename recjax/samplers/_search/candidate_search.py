"""The loop of global samplers over chunks of candidates, by the rule of a coder."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from recjax import randomness
from recjax.distributions.base import any_violation
from recjax.distributions.bound import above_bound
from recjax.distributions.pair import Pair, violations
from recjax.randomness import Stream
from recjax.samplers._search import lanes
from recjax.samplers._search.candidate_rule import CandidateRule, Chunk
from recjax.samplers._search.varying import varying
from recjax.samplers.base import Code, Status, sent_sample

_RUNNING = -1
_CHUNK = 64  # candidates at a time in one search
_LANE_CHUNK = 32  # of each search in a batch
_CPU_NUMBERS = 1 << 13  # random numbers at a time in a batch, on a core
_DEVICE_NUMBERS = 1 << 22  # and on an accelerator


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
    progress = jax.lax.while_loop(
        lambda progress: progress.status == _RUNNING,
        # the pair is made once, not in the loop: some compute a table of their bins
        functools.partial(_advance, rule, _CHUNK, rule.pair(target, proposal)),
        progress,
    )
    return _finish(rule, target, proposal, progress)


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


def _advance(rule: CandidateRule, size: int, pair: Pair, progress: Progress) -> Progress:
    """Takes a running search through the next chunk."""
    words = progress.words
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
    return Progress(
        words, verdict.state, steps, jnp.minimum(verdict.index, rule.last_index), status
    )


def _finish(rule: CandidateRule, target: Any, proposal: Any, progress: Progress) -> Code:
    sample = rule.draw(progress.words[Stream.CANDIDATE], progress.index, proposal)
    # once a search, because a test of every candidate would cost an eighth of it
    pair = rule.pair(target, proposal)
    above = above_bound(pair, rule.log_ratio(pair, sample, progress.index))
    status = jnp.where(above, Status.BOUND_TOO_SMALL, progress.status)
    status = jnp.where(progress.status == Status.DONE, status, progress.status).astype(jnp.int32)
    steps = progress.steps.astype(jnp.int32)
    return Code(progress.index, sent_sample(sample, status), steps, status)


def _encode_lane(
    rule: CandidateRule, keys: tuple[Array, Array], target: Any, proposal: Any
) -> Code:
    key, private_key = keys
    return encode(rule, key, target, proposal, private_key)


def _begin_lane(
    rule: CandidateRule, keys: tuple[Array, Array], target: Any, proposal: Any
) -> Progress:
    return _begin(rule, *keys, target, proposal)


def _advance_lanes(
    rule: CandidateRule, targets: Any, proposals: Any, progress: Progress
) -> Progress:
    """Takes the lanes of a batch, the last axis of states, through the next chunk."""

    def advance(target, proposal, progress):
        return _advance(rule, _LANE_CHUNK, rule.pair(target, proposal), progress)

    after = jax.vmap(advance, (0, 0, -1), -1)(targets, proposals, progress)
    # lanes without an example stay ended
    return jax.tree.map(functools.partial(jnp.where, progress.status == _RUNNING), after, progress)


def encode_lanes(
    rule: CandidateRule,
    keys: Array,
    targets: Any,
    proposals: Any,
    private_keys: Array | None = None,
) -> Code:
    """Searches for a batch of examples.

    Args:
        rule: the coder's part of the search.
        keys: one shared key per example.
        targets: targets with a leading batch axis.
        proposals: proposals with a leading batch axis.
        private_keys: as for `encode`, one per example.
    """
    private_keys = keys if private_keys is None else private_keys
    numbers = max(max(leaf.size for leaf in jax.tree.leaves(proposals)) // len(keys), 1)
    # fewer lanes where each has more numbers, so that those of a step fit into the cache
    width = rule.width(_LANE_CHUNK) * numbers
    search = lanes.Search(
        _encode_lane,
        _begin_lane,
        _advance_lanes,
        _finish,
        lanes=max(_CPU_NUMBERS // width, 32),
        device_lanes=max(_DEVICE_NUMBERS // width, 32),
    )
    return lanes.encode_lanes(search, rule, (keys, private_keys), targets, proposals)
