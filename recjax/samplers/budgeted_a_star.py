"""A* that stops after a fixed number of candidates."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from recjax.randomness import Stream
from recjax.samplers._search.arrivals import Time, arrival_times, time_at, time_value, zero_time
from recjax.samplers._search.candidate_rule import Chunk
from recjax.samplers.global_coder import BudgetCoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class BudgetedAStar(BudgetCoder):
    """A* over N = 2^budget candidates: the least T_k / r(X_k) of the first N, whatever comes after.

    Where the index of `AStar` is below N the samples are the same, so that the total variation from
    the target is at most the probability that it is not (Flamich and Wells, *Some notes on the
    sample complexity of approximate channel simulation*, 2024).
    `recjax.budget_bits_for_total_variation` gives the budget for a given total variation. ``steps``
    is N. The index is sent in a Zipf code on N numbers.

    Args:
        budget_bits: log2 of the number of candidates, 0 to 30.

    >>> import jax, recjax
    >>> q, p = recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0)
    >>> exact, budgeted = recjax.AStar(), recjax.BudgetedAStar(budget_bits=8)
    >>> codes = [coder.encode(jax.random.key(7), q, p) for coder in (exact, budgeted)]
    >>> bool(codes[0].index == codes[1].index)
    True
    """

    def start_noise(self) -> Time:
        return zero_time()

    def log_noise(self, noise: Time, chunk: Chunk) -> tuple[Time, Float[Array, "n"]]:
        times = arrival_times(noise, chunk.exponentials(Stream.ARRIVAL))
        return time_at(times, -1), jnp.log(time_value(times, chunk.log_ratio.dtype))
