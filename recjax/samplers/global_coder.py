"""Coders whose index is a candidate number in the shared list of draws from the proposal."""

import abc
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from recjax.distributions.pair import Pair, pair_of
from recjax.randomness import Stream
from recjax.samplers._search import candidate_search
from recjax.samplers.base import Code, Coder, Status, check_range, checked_index
from recjax.samplers.codelength import budget_exponent, rate_value, zeta_bits, zipf_bits


class GlobalCoder(Coder):
    """A coder whose index is the 0-based number of a candidate (uint32); itself the driver's ``Rule``."""

    @property
    @abc.abstractmethod
    def limit(self) -> int: ...

    @property
    def cap(self) -> int:
        return self.limit

    @property
    def last_index(self) -> UInt32[np.ndarray, "..."]:
        return np.asarray(self.limit - 1, np.uint32)

    def pair(self, target: Any, proposal: Any) -> Pair:
        return pair_of(target, proposal)

    def log_ratios(self, pair: Pair, carry: Any, words: Array, index: Array) -> Array:
        return jax.vmap(
            lambda i: pair.log_ratio(self.draw(words[Stream.CANDIDATE], i, pair.proposal))
        )(index)

    def draw(self, words: Array, index: Array, proposal: Any) -> Array:
        return candidate_search.candidate(words, index, proposal)

    def width(self, size: int) -> int:
        return size

    def candidates(self, carry: Any, steps: Array, size: int) -> Array:
        return steps + jnp.arange(size, dtype=jnp.uint32)

    @abc.abstractmethod
    def start(self, pair: Pair) -> Any: ...

    @abc.abstractmethod
    def examine(
        self, pair: Pair, carry: Any, chunk: candidate_search.Chunk
    ) -> candidate_search.Verdict: ...

    @abc.abstractmethod
    def exhausted(self, carry: Any) -> Array: ...

    def search(self, key: Array, target: Any, proposal: Any) -> Code:
        return candidate_search.encode(self, key, target, proposal)

    def search_lanes(self, keys: Array, targets: Any, proposals: Any) -> Code:
        return candidate_search.encode_lanes(self, keys, targets, proposals)

    def decode(self, key: Array, index: Any, proposal: Any) -> Float[Array, "*event"]:
        return candidate_search.decode(self, key, checked_index(index, self.limit), proposal)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExactCoder(GlobalCoder):
    """A coder whose samples follow the target exactly, for bounded density ratios.

    Args:
        max_steps: cap on the candidates examined.
    """

    max_steps: int = 1 << 24

    def __post_init__(self) -> None:
        check_range("max_steps", self.max_steps, 1, (1 << 31) - 1)

    @property
    def limit(self) -> int:
        return self.max_steps

    def exhausted(self, carry: Any) -> Array:
        return jnp.int32(Status.MAX_STEPS)

    def codelength(
        self, key: Array, index: Any, proposal: Any, *, rate_bits: Any = None
    ) -> Float[Array, ""]:
        """Bits of ``index`` in the zeta code of coders at ``rate_bits``, as `recjax.bits.range_coder` writes it."""
        return zeta_bits(checked_index(index, self.limit), rate_value(rate_bits, proposal.dtype))


@dataclasses.dataclass(frozen=True, kw_only=True)
class BudgetCoder(GlobalCoder):
    """A coder that examines exactly N = 2^budget candidates and picks one by a noisy maximum of ln r.

    Its samples are biased towards the proposal; the bias vanishes as the budget grows beyond the divergence.

    Args:
        budget_bits: log2 of the number of candidates, 0 to 30.
    """

    bounded: ClassVar[bool] = False

    budget_bits: int = 16

    def __post_init__(self) -> None:
        check_range("budget_bits", self.budget_bits, 0, 30)

    @property
    def limit(self) -> int:
        return 1 << self.budget_bits

    def exhausted(self, carry: Any) -> Array:
        found = carry[1] > -jnp.inf  # at least one candidate in the support of the target
        return jnp.where(found, Status.DONE, Status.MAX_STEPS).astype(jnp.int32)

    def start(self, pair: Pair) -> Any:
        return self.start_noise(), jnp.full((), -jnp.inf, pair.proposal.dtype), jnp.uint32(0)

    def examine(
        self, pair: Pair, carry: Any, chunk: candidate_search.Chunk
    ) -> candidate_search.Verdict:
        noise, best, index = carry
        noise, log_noise = self.log_noise(noise, chunk)
        score = chunk.log_ratio - log_noise
        k = jnp.argmax(score)
        index = jnp.where(score[k] > best, chunk.index[k], index)
        carry = noise, jnp.maximum(score[k], best), index
        return candidate_search.Verdict(carry, jnp.int32(score.size), jnp.zeros((), bool), index)

    def codelength(
        self, key: Array, index: Any, proposal: Any, *, rate_bits: Any = None
    ) -> Float[Array, ""]:
        """Bits of the truncated Zipf code on 1 .. N, with the exponent that ``budget_exponent`` gives."""
        exponent = budget_exponent(rate_value(rate_bits, proposal.dtype), self.budget_bits)
        return zipf_bits(checked_index(index, self.limit), self.limit, exponent)

    @abc.abstractmethod
    def start_noise(self) -> Any:
        """The state of the noise before the first candidate."""

    @abc.abstractmethod
    def log_noise(self, noise: Any, chunk: candidate_search.Chunk) -> tuple[Any, Float[Array, "n"]]:
        """The next state of the noise, and the logarithm of each candidate's."""
