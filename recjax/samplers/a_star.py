"""Global A* sampling, also known as the Poisson functional representation."""

import dataclasses
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from recjax.distributions.pair import Pair
from recjax.randomness import Stream
from recjax.samplers._search.arrivals import Time, arrival_times, time_at, time_value, zero_time
from recjax.samplers._search.candidate_rule import CandidateRule, Chunk, Verdict, used_until
from recjax.samplers.global_coder import ExactCoder


class AStarState(NamedTuple):
    """State of the search for the least T_k / r(X_k)."""

    time: Time  # arrival time of the last candidate seen
    best: Float[Array, ""]  # the largest ln (r(X_k) / T_k) so far
    index: UInt32[Array, ""]  # number of the candidate with that score


class PoissonSelection(CandidateRule):
    """Rule that chooses the least T_k / r(X_k), and stops where no later candidate can be less."""

    bounded: ClassVar[bool] = True
    widths: ClassVar[bool] = False

    def start(self, pair: Pair) -> AStarState:
        lowest = jnp.full((), -jnp.inf, pair.proposal.dtype)
        return AStarState(zero_time(), lowest, jnp.uint32(0))

    def examine(self, pair: Pair, state: AStarState, chunk: Chunk) -> Verdict:
        times = arrival_times(state.time, chunk.exponentials(Stream.ARRIVAL))
        log_time = jnp.log(time_value(times, state.best.dtype))
        score = chunk.log_ratio - log_time
        k = jnp.argmax(score)
        index = jnp.where(score[k] > state.best, chunk.index[k], state.index)
        best = jnp.maximum(score[k], state.best)
        # No candidate after the first proof can have the best score, so that the best of the whole
        # chunk decides at once.
        used, stopped = used_until(pair.log_ratio_max() - log_time < best)
        return Verdict(AStarState(time_at(times, used - 1), best, index), used, stopped, index)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AStar(PoissonSelection, ExactCoder):
    """The Poisson functional representation: the candidate with the least T_k / r(X_k).

    T_k are the arrival times of a unit-rate Poisson process. The search ends at the first arrival
    with T_k / max r above the best value so far (Li and El Gamal, *Strong functional representation
    lemma*, 2018; Maddison et al., *A* sampling*, 2014). Exact. ``steps`` includes that last
    arrival; the index may be far smaller. The index is sent in a zeta code.

    Args:
        max_steps: cap on the candidates examined.

    >>> import jax, recjax
    >>> q, p = recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0)
    >>> code = recjax.AStar().encode(jax.random.key(7), q, p)
    >>> bool(code.steps > code.index)
    True
    """
