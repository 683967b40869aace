"""Global A* sampling, also known as the Poisson functional representation."""

import dataclasses

import jax.numpy as jnp

from recjax.randomness import Stream
from recjax.samplers._search.arrivals import arrival_times, time_value, zero_time
from recjax.samplers._search.candidate_search import Verdict
from recjax.samplers.global_coder import ExactCoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class AStar(ExactCoder):
    """The Poisson functional representation: the candidate with the least T_k / r(X_k).

    T_k are the arrival times of a unit-rate Poisson process. The search ends at the first arrival with T_k / max r
    above the best value so far (Li and El Gamal, *Strong functional representation lemma*, 2018; Maddison et al.,
    *A* sampling*, 2014). Exact. ``steps`` includes that last arrival; the index may be far smaller.

    Args:
        max_steps: cap on the candidates examined.

    >>> import jax, recjax
    >>> q, p = recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0)
    >>> code = recjax.AStar().encode(jax.random.key(7), q, p)
    >>> bool(code.steps > code.index)
    True
    """

    def start(self, pair):
        return zero_time(), jnp.full((), -jnp.inf, pair.proposal.dtype), jnp.uint32(0)

    def examine(self, pair, carry, chunk):
        start, best, index = carry
        times = arrival_times(start, chunk.exponentials(Stream.ARRIVAL))
        log_time = jnp.log(time_value(times, best.dtype))
        score = chunk.log_ratio - log_time
        k = jnp.argmax(score)
        index = jnp.where(score[k] > best, chunk.index[k], index)
        best = jnp.maximum(score[k], best)
        # No candidate after the first proof can hold the best score, so that the chunk's best decides at once.
        proven = pair.log_ratio_max() - log_time < best
        stopped = proven.any()
        used = jnp.where(stopped, jnp.argmax(proven) + 1, proven.size)
        return Verdict(
            ((times[0][used - 1], times[1][used - 1]), best, index), used, stopped, index
        )
