"""Ordered random coding."""

import dataclasses

import jax.numpy as jnp

from recjax.randomness import Stream
from recjax.samplers._search.arrivals import arrival_times, time_value, zero_time
from recjax.samplers.global_coder import BudgetCoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class OrderedRandomCoder(BudgetCoder):
    """Ordered random coding: minimal random coding with its noise sorted, so that small indices are likelier.

    Theis and Yosri, *Algorithms for the communication of samples*, ICML 2022. The k-th candidate carries the k-th
    smallest of N = 2^budget exponentials; samples follow the same law as those of ``MinimalRandomCoder`` and the index
    compresses. ``steps`` is N.

    Args:
        budget_bits: log2 of the number of candidates, 0 to 30; at least the divergence plus a few bits.

    >>> import jax, recjax
    >>> q, p = recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0)
    >>> coder, key = recjax.OrderedRandomCoder(budget_bits=8), jax.random.key(7)
    >>> code = coder.encode(key, q, p)
    >>> bool(coder.codelength(key, 0, p, rate_bits=1.2) < coder.codelength(key, 255, p, rate_bits=1.2))
    True
    """

    def start_noise(self):
        return zero_time()

    def log_noise(self, noise, chunk):
        left = jnp.maximum(self.limit - chunk.index.astype(jnp.int32), 1)
        gaps = chunk.exponentials(Stream.ARRIVAL) * (
            self.limit / left.astype(chunk.log_ratio.dtype)
        )
        times = arrival_times(noise, gaps)
        return (times[0][-1], times[1][-1]), jnp.log(time_value(times, gaps.dtype))
