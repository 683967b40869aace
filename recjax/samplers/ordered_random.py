"""Ordered random coding."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from recjax.randomness import Stream
from recjax.samplers._search.arrivals import Time, arrival_times, time_at, time_value, zero_time
from recjax.samplers._search.candidate_rule import Chunk
from recjax.samplers.global_coder import BudgetCoder, NoisyMaximum


class OrderedNoise(NoisyMaximum):
    """Noise of ordered random coding: candidate k has the k-th smallest of `limit` exponentials."""

    def start_noise(self) -> Time:
        return zero_time()

    def log_noise(self, noise: Time, chunk: Chunk) -> tuple[Time, Float[Array, "n"]]:
        # The gap before the k-th smallest of N exponentials is exponential with mean 1 / (N - k),
        # here in units of 1 / N. Candidates beyond the list are not chosen: no division by 0.
        left = jnp.maximum(self.limit - chunk.index.astype(jnp.int32), 1)
        scale = self.limit / left.astype(chunk.log_ratio.dtype)
        gaps = chunk.exponentials(Stream.ARRIVAL) * scale
        times = arrival_times(noise, gaps)
        return time_at(times, -1), jnp.log(time_value(times, gaps.dtype))


@dataclasses.dataclass(frozen=True, kw_only=True)
class OrderedRandomCoder(OrderedNoise, BudgetCoder):
    """Ordered random coding: minimal random coding with sorted noise, so that indices are small.

    The k-th candidate carries the k-th smallest of N = 2^budget exponentials; samples follow the
    same law as those of ``MinimalRandomCoder`` and the index compresses (Theis and Yosri,
    *Algorithms for the communication of samples*, ICML 2022). ``steps`` is N. The index is sent in
    a Zipf code on N numbers.

    Args:
        budget_bits: log2 of the number of candidates, 0 to 30; at least the divergence plus a few
            bits.

    >>> import jax, recjax
    >>> q, p = recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0)
    >>> coder, key = recjax.OrderedRandomCoder(budget_bits=8), jax.random.key(7)
    >>> first, last = (coder.codelength(key, i, p, rate_bits=1.2) for i in (0, 255))
    >>> bool(first < last)
    True
    """
