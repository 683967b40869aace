"""The one loop of all global samplers: search the shared list of candidates X_0, X_1, ... drawn from the proposal.

Candidates are evaluated in chunks. A coder adds only its rule: what it looks at, how it judges a chunk, when it stops.
Rules treat candidates one by one in order and all sums are exact, so results do not depend on the chunk size.
"""

import dataclasses
import functools
from typing import Any, ClassVar, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree, UInt32

from recjax import randomness
from recjax.distributions.base import Distribution, any_violation
from recjax.distributions.pair import Pair, violations
from recjax.randomness import Stream
from recjax.samplers._search.varying import varying
from recjax.samplers.base import Code, Status

_RUNNING = -1
_CHUNK = 64  # candidates at a time in one search
_SLAB = 1 << 14  # lanes at a time in a batch


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Chunk:
    """The candidates that a rule looks at next.

    Attributes:
        index: their numbers in the search, which key their arrival times.
        log_ratio: ln r of each, -inf beyond the coder's last candidate.
        words: keys of the streams, by ``Stream``.
    """

    index: UInt32[Array, "n"]
    log_ratio: Float[Array, "n"]
    words: UInt32[Array, "streams 2"]

    def exponentials(self, stream: Stream) -> Float[Array, "n"]:
        """Independent unit exponentials, one a candidate."""
        bits = randomness.coordinate_bits(self.words[stream], self.index, 1)[:, 0]
        return jax.lax.optimization_barrier(randomness.exponential(bits, self.log_ratio.dtype))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a rule says about a chunk.

    Attributes:
        carry: the rule's state after the candidates it has dealt with.
        used: how many candidates of the chunk these are.
        stopped: whether the last of them ended the search.
        index: the candidate chosen so far.
    """

    carry: PyTree[Array]
    used: Int[Array, ""]
    stopped: Bool[Array, ""]
    index: UInt32[Array, "..."]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Progress:
    """A search under way: its streams' keys, candidates dealt with, the one chosen, and -1 or a final status."""

    words: UInt32[Array, "streams 2"]
    carry: PyTree[Array]
    steps: UInt32[Array, ""]
    index: UInt32[Array, "..."]
    status: Int[Array, ""]


class Rule(Protocol):
    """What the loop asks of a coder; frozen and hashable, because it is part of the compiled program."""

    bounded: ClassVar[bool]
    """Whether the density ratio has to be bounded."""

    widths: ClassVar[bool]
    """Whether the pair has to have width functions."""

    @property
    def limit(self) -> int:
        """The number of candidates, below 2^31."""
        ...

    @property
    def cap(self) -> int:
        """The most steps that a search may take."""
        ...

    @property
    def last_index(self) -> UInt32[np.ndarray, "..."]:
        """The largest index that may be sent."""
        ...

    def pair(self, target: Any, proposal: Distribution) -> Pair:
        """What the search knows about a target and its proposal."""
        ...

    def log_ratios(
        self,
        pair: Pair,
        carry: PyTree[Array],
        words: UInt32[Array, "streams 2"],
        index: UInt32[Array, "n"],
    ) -> Float[Array, "n"]:
        """ln r of some candidates."""
        ...

    def draw(
        self, words: UInt32[Array, "2"], index: UInt32[Array, "..."], proposal: Distribution
    ) -> Array:
        """The candidate that an index stands for; ``words`` is the key of the candidates' stream."""
        ...

    def width(self, size: int) -> int:
        """The number of candidates in a chunk when ``size`` are asked for."""
        ...

    def candidates(
        self, carry: PyTree[Array], steps: UInt32[Array, ""], size: int
    ) -> UInt32[Array, "n"]:
        """The numbers of the ``width(size)`` candidates to look at next, after ``steps`` of them."""
        ...

    def start(self, pair: Pair) -> PyTree[Array]:
        """The rule's state before the first candidate."""
        ...

    def examine(self, pair: Pair, carry: PyTree[Array], chunk: Chunk) -> Verdict:
        """Continues the search over a chunk."""
        ...

    def exhausted(self, carry: PyTree[Array]) -> Int[Array, ""]:
        """The status when all candidates are used up."""
        ...


@functools.partial(jax.jit, static_argnums=0)
def decode(
    rule: Rule, key: Array, index: UInt32[Array, "..."], proposal: Distribution
) -> Float[Array, "*event"]:
    """Regenerates one candidate."""
    return rule.draw(randomness.stream_key(key, Stream.CANDIDATE), index, proposal)


def candidate(
    words: UInt32[Array, "2"], index: UInt32[Array, ""], proposal: Distribution
) -> Float[Array, "*event"]:
    """A draw from the proposal, by its number."""
    return proposal.sample_from_bits(randomness.coordinate_bits(words, index, proposal.event_size))


@functools.partial(jax.jit, static_argnums=0)
def encode(
    rule: Rule,
    key: Array,
    target: Distribution,
    proposal: Distribution,
    own_key: Array | None = None,
) -> Code:
    """Searches for one example; the streams that a decoder does not need come from ``own_key``, if there is one."""
    progress = _begin(rule, key, key if own_key is None else own_key, target, proposal)
    progress = _advance(rule, _CHUNK, target, proposal, progress, None)
    return _finish(rule, key, proposal, progress)


def _begin(rule, key, own_key, target, proposal):
    pair = rule.pair(target, proposal)
    own = (randomness.stream_key(own_key, stream) for stream in (Stream.ARRIVAL, Stream.ACCEPT))
    words = jnp.stack([randomness.stream_key(key, Stream.CANDIDATE), *own])
    invalid = any_violation(violations(pair, rule.bounded, rule.widths))
    status = jnp.where(invalid, Status.INVALID, _RUNNING).astype(jnp.int32)
    first = jnp.zeros(rule.last_index.shape, jnp.uint32)
    progress = Progress(words, rule.start(pair), jnp.uint32(0), first, status)
    return varying(progress, words[0, 0], status)


def _advance(rule, size, target, proposal, progress, chunks):
    """Runs a search until it ends, or for a number of chunks."""
    pair = rule.pair(target, proposal)
    words = progress.words

    def step(state):
        progress, chunks = state
        index = rule.candidates(progress.carry, progress.steps, size)
        ratios = rule.log_ratios(pair, progress.carry, words, index)
        ratios = jnp.minimum(ratios, pair.log_ratio_max())  # against rounding
        ratios = jax.lax.optimization_barrier(jnp.where(index < rule.limit, ratios, -jnp.inf))
        verdict = rule.examine(pair, progress.carry, Chunk(index, ratios, words))
        steps = progress.steps + verdict.used.astype(jnp.uint32)
        status = jnp.where(steps < rule.cap, _RUNNING, rule.exhausted(verdict.carry))
        status = jnp.where(verdict.stopped & (steps <= rule.cap), Status.DONE, status).astype(
            jnp.int32
        )
        steps, index = jnp.minimum(steps, rule.cap), jnp.minimum(verdict.index, rule.last_index)
        progress = Progress(words, verdict.carry, steps, index, status)
        return progress, None if chunks is None else chunks - 1

    def unfinished(state):
        progress, chunks = state
        running = progress.status == _RUNNING
        return running if chunks is None else running & (chunks > 0)

    return jax.lax.while_loop(unfinished, step, (progress, chunks))[0]


def _finish(rule, key, proposal, progress):
    sample = decode(rule, key, progress.index, proposal)
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
    rule: Rule,
    keys: Array,
    targets: Distribution,
    proposals: Distribution,
    own_keys: Array | None = None,
) -> Code:
    """Searches for many examples, with leading batch axes; a loop on the host, not for use under transformations.

    All searches run for a few chunks, then those that have not ended for a few more, and so forth; the longer a
    search has run, the wider its chunks. Lanes are gathered into slabs of few different sizes, so that few programs
    are compiled; a slab is filled up with copies of one of its lanes.
    """
    progress = _begin_lanes(rule, keys, keys if own_keys is None else own_keys, targets, proposals)
    chunk, spent = 16, 0
    while (lanes := np.flatnonzero(np.asarray(progress.status) == _RUNNING)).size:
        for slab in _slabs(
            lanes, _SLAB * 16 // (rule.width(chunk) * max(proposals.event_size // len(keys), 1))
        ):
            part = _take((targets, proposals, progress), slab)
            progress = _put(
                progress, slab, _advance_lanes(rule, chunk, *part, max(_SLAB // slab.size, 1))
            )
        spent += chunk
        chunk = 16 if spent < 32 else 64 if spent < 512 else 256
    return _finish_lanes(rule, keys, proposals, progress)


def _slabs(lanes, largest):
    """Cuts lane numbers into slabs of 32, 256, 2048 or 16384 lanes, the last one filled up with its last lane."""
    size = _SLAB
    while lanes.size:
        while size > 32 and (size > largest or size >= 2 * lanes.size):
            size //= 8
        slab, lanes = lanes[:size], lanes[size:]
        yield np.pad(slab, (0, size - slab.size), mode="edge")
