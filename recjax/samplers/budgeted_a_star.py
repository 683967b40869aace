"""A* that stops after a fixed number of candidates."""

import dataclasses

import jax.numpy as jnp

from recjax.randomness import Stream
from recjax.samplers._search.arrivals import arrival_times, time_value, zero_time
from recjax.samplers.global_coder import BudgetCoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class BudgetedAStar(BudgetCoder):
    """A* over N = 2^budget candidates: the least T_k / r(X_k) of the first N, whatever may come after.

    Flamich and Wells, *Some notes on the sample complexity of approximate channel simulation*, 2024: where the index
    of `AStar` is below N the samples are the same, so that the total variation from the target is at most the
    probability that it is not. `recjax.budget_bits_for_total_variation` gives the budget for a wanted one. ``steps``
    is N.

    Args:
        budget_bits: log2 of the number of candidates, 0 to 30.

    >>> import jax, recjax
    >>> q, p = recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0)
    >>> exact, budgeted = recjax.AStar(), recjax.BudgetedAStar(budget_bits=8)
    >>> codes = [coder.encode(jax.random.key(7), q, p) for coder in (exact, budgeted)]
    >>> bool(codes[0].index == codes[1].index)
    True
    """

    def start_noise(self):
        return zero_time()

    def log_noise(self, noise, chunk):
        times = arrival_times(noise, chunk.exponentials(Stream.ARRIVAL))
        return (times[0][-1], times[1][-1]), jnp.log(time_value(times, chunk.log_ratio.dtype))
