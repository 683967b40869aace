"""Coders whose index is a candidate number in the shared list of draws from the proposal."""

import abc
import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from recjax.distributions.pair import Pair
from recjax.samplers._search import candidate_search
from recjax.samplers._search.candidate_rule import CandidateRule, Chunk, Verdict
from recjax.samplers._streams.numbers import ZetaCode, ZipfCode
from recjax.samplers.base import Code, Coder, Status, check_range, checked_index
from recjax.samplers.index_code import IndexCode


class GlobalCoder(Coder, CandidateRule):
    """A coder that searches the shared list of candidates. Its index is ``uint32``, or an array.

    A subclass defines

    - ``limit``, a property: the number of candidates, below 2^31;
    - ``start(pair)``: the state of the search before the first candidate, a pytree of arrays;
    - ``examine(pair, state, chunk)``: the `Verdict` on a `Chunk` of candidates;
    - ``exhausted(state)``: the `recjax.Status`, as int32, of a search that was not stopped before
      its last candidate;
    - `index_code`.

    All of them are traced, except for ``limit`` and `index_code`. ``pair`` is the `recjax.Pair` of
    target and proposal. Candidates count one by one and in order: results must not depend on how
    the list is cut into chunks.
    """

    def search(self, key: Array, target: Any, proposal: Any) -> Code:
        return candidate_search.encode(self, key, target, proposal)

    def search_lanes(self, keys: Array, targets: Any, proposals: Any) -> Code:
        return candidate_search.encode_lanes(self, keys, targets, proposals)

    def decode(self, key: Array, index: Any, proposal: Any) -> Float[Array, "*event"]:
        return candidate_search.decode(self, key, checked_index(index, self.last_index), proposal)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExactCoder(GlobalCoder):
    """A coder whose samples follow the target exactly, for bounded density ratios.

    The index is the 0-based number of the candidate. Its code is a zeta code. A subclass defines
    ``start`` and ``examine``, as for `GlobalCoder`.

    Args:
        max_steps: cap on the candidates examined.
    """

    max_steps: int = 1 << 24

    def __post_init__(self) -> None:
        check_range("max_steps", self.max_steps, 1, (1 << 31) - 1)

    @property
    def limit(self) -> int:
        return self.max_steps

    def exhausted(self, state: Any) -> Int[Array, ""]:
        return jnp.int32(Status.MAX_STEPS)

    def index_code(self, proposal: Any, rate_bits: Any) -> IndexCode:
        return ZetaCode(last=self.limit - 1, proposal=proposal, rate_bits=rate_bits)


class BudgetState(NamedTuple):
    """State of the search for the largest noisy ratio."""

    noise: Any  # state of the noise
    best: Float[Array, ""]  # the largest score so far, -inf outside the support of the target
    index: UInt32[Array, ""]  # number of the candidate with that score


class NoisyMaximum(CandidateRule):
    """Rule that chooses the candidate of the largest ln r - log_noise of all.

    A subclass defines the noise.
    """

    bounded: ClassVar[bool] = False
    widths: ClassVar[bool] = False

    def exhausted(self, state: BudgetState) -> Int[Array, ""]:
        found = state.best > -jnp.inf  # at least one candidate lies in the support of the target
        return jnp.where(found, Status.DONE, Status.MAX_STEPS).astype(jnp.int32)

    def start(self, pair: Pair) -> BudgetState:
        lowest = jnp.full((), -jnp.inf, pair.proposal.dtype)
        return BudgetState(self.start_noise(), lowest, jnp.uint32(0))

    def examine(self, pair: Pair, state: BudgetState, chunk: Chunk) -> Verdict:
        noise, log_noise = self.log_noise(state.noise, chunk)
        score = chunk.log_ratio - log_noise
        k = jnp.argmax(score)
        index = jnp.where(score[k] > state.best, chunk.index[k], state.index)
        state = BudgetState(noise, jnp.maximum(score[k], state.best), index)
        return Verdict(state, jnp.int32(score.size), jnp.zeros((), bool), index)

    @abc.abstractmethod
    def start_noise(self) -> Any:
        """The state of the noise before the first candidate, a pytree of arrays."""

    @abc.abstractmethod
    def log_noise(self, noise: Any, chunk: Chunk) -> tuple[Any, Float[Array, "n"]]:
        """The next state of the noise, and the logarithm of each candidate's noise.

        Args:
            noise: the state of the noise before this chunk.
            chunk: the candidates.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class BudgetCoder(GlobalCoder, NoisyMaximum):
    """A coder that examines N = 2^budget candidates and picks one by a noisy maximum of ln r.

    With the usual noises, those of minimal and of ordered random coding, its samples are biased
    towards the proposal, and the bias vanishes as the budget grows beyond the divergence. The index
    is the 0-based number of the candidate. Its code is a Zipf code on N numbers.

    A subclass defines the noise: the candidate of the largest ln r - log_noise is chosen.

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

    def index_code(self, proposal: Any, rate_bits: Any) -> IndexCode:
        return ZipfCode(
            last=self.limit - 1,
            proposal=proposal,
            rate_bits=rate_bits,
            budget_bits=self.budget_bits,
        )
