"""Rules of global samplers, which search the shared candidates X_0, X_1, ... of the proposal.

A rule says which candidates a coder looks at, how it judges a chunk of them, when it stops. Rules
treat candidates one by one in order and all sums are exact, so that results do not depend on the
chunk size.
"""

import abc
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num, UInt32

from recjax import randomness
from recjax.distributions.pair import Pair, pair_of
from recjax.randomness import Stream


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Chunk:
    """The candidates that a rule looks at next.

    Attributes:
        index: numbers of the candidates, which key their random numbers, uint32.
        log_ratio: ln r of each candidate; -inf outside the support of the target, and beyond the
            coder's last candidate, so that no rule may choose a candidate of -inf.
        words: keys of the streams `Stream.CANDIDATE`, `Stream.ARRIVAL` and `Stream.ACCEPT`, in
            this order.
    """

    index: UInt32[Array, "n"]
    log_ratio: Float[Array, "n"]
    words: UInt32[Array, "streams 2"]

    def exponentials(self, stream: Stream) -> Float[Array, "n"]:
        """Independent unit exponentials, one per candidate, the same at every call.

        Args:
            stream: `Stream.ARRIVAL` or `Stream.ACCEPT`, which are independent of each other and of
                the candidates.

        Raises:
            ValueError: the stream is another one.
        """
        if stream not in (Stream.ARRIVAL, Stream.ACCEPT):
            raise ValueError(f"stream must be ARRIVAL or ACCEPT, got {stream!r}")
        bits = randomness.coordinate_bits(self.words[stream], self.index, 1)[:, 0]
        # The barrier keeps the logarithm out of the fusions that use it: what it is fused with
        # changes its last bits, and must not depend on batching.
        return jax.lax.optimization_barrier(randomness.exponential(bits, self.log_ratio.dtype))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Verdict:
    """A rule's judgement of a chunk.

    Attributes:
        state: the rule's state after the candidates that it has dealt with.
        used: number of candidates of the chunk that it has dealt with, int32; at least 1 if the
            search goes on. The next chunk begins after them.
        stopped: whether the last of them ended the search, a Boolean scalar.
        index: number of the candidate chosen so far, uint32.
    """

    state: Any
    used: Int[Array, ""]
    stopped: Bool[Array, ""]
    index: UInt32[Array, "..."]


def used_until(stops: Bool[Array, "n"]) -> tuple[Int[Array, ""], Bool[Array, ""]]:
    """Candidates up to the first that stops the search, or all of them; and whether one stops it.

    >>> used, stopped = used_until(jnp.array([False, True, True]))
    >>> int(used), bool(stopped)
    (2, True)
    """
    stopped = stops.any()
    return jnp.where(stopped, jnp.argmax(stops) + 1, stops.size), stopped


class CandidateRule(abc.ABC):
    """The part of a search that is a coder's.

    A rule is frozen and hashable, because it is a part of the compiled program. Its state is a
    pytree of arrays.
    """

    bounded: ClassVar[bool]
    """Whether the density ratio has to be bounded."""

    widths: ClassVar[bool]
    """Whether the pair has to have width functions."""

    @property
    @abc.abstractmethod
    def limit(self) -> int:
        """Number of candidates, below 2^31."""

    @property
    def cap(self) -> int:
        """The most steps that a search may take."""
        return self.limit

    @property
    def last_index(self) -> UInt32[np.ndarray, "*shape"]:
        """The largest index that may be sent."""
        return np.asarray(self.limit - 1, np.uint32)

    def pair(self, target: Any, proposal: Any) -> Pair:
        """The density ratio that the search follows."""
        return pair_of(target, proposal).prepared()

    def draw(
        self, words: UInt32[Array, "2"], index: UInt32[Array, "*shape"], proposal: Any
    ) -> Float[Array, "*event"]:
        """The sample of an index; ``words`` is the key of the candidates' stream."""
        bits = randomness.coordinate_bits(words, index, proposal.event_size)
        return proposal.sample_from_bits(bits)

    def width(self, size: int) -> int:
        """Number of candidates in a chunk when ``size`` are asked for."""
        return size

    def candidates(self, state: Any, steps: UInt32[Array, ""], size: int) -> UInt32[Array, "n"]:
        """Numbers of the ``width(size)`` candidates to look at next, after ``steps`` of them."""
        return steps + jnp.arange(size, dtype=jnp.uint32)

    def log_ratios(
        self, pair: Pair, state: Any, words: UInt32[Array, "streams 2"], index: UInt32[Array, "n"]
    ) -> Float[Array, "n"]:
        """ln r of the candidates with these numbers."""
        return jax.vmap(
            lambda i: pair.log_ratio(self.draw(words[Stream.CANDIDATE], i, pair.proposal))
        )(index)

    def log_ratio(
        self, pair: Pair, sample: Num[Array, "*event"], index: UInt32[Array, "*shape"]
    ) -> Float[Array, ""]:
        """ln r of the sample that is sent, whose index is ``index``."""
        return pair.log_ratio(sample)

    @abc.abstractmethod
    def start(self, pair: Pair) -> Any:
        """The rule's state before the first candidate."""

    @abc.abstractmethod
    def examine(self, pair: Pair, state: Any, chunk: Chunk) -> Verdict:
        """Continues the search over a chunk."""

    @abc.abstractmethod
    def exhausted(self, state: Any) -> Int[Array, ""]:
        """The status when all candidates are used up."""
