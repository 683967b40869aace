"""Greedy Poisson rejection sampling."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from recjax.randomness import Stream
from recjax.samplers._search.arrivals import arrival_times, time_value, zero_time
from recjax.samplers._search.candidate_search import Verdict
from recjax.samplers._search.stretch import stretch_between
from recjax.samplers.global_coder import ExactCoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class GPRS(ExactCoder):
    """Global greedy Poisson rejection sampling: the first arrival with T_k < sigma(r(X_k)).

    The stretch function sigma(h) is the integral of 1 / (w_Q - eta w_P) over eta in [0, h]; T_k are the arrival times
    of a unit-rate Poisson process (Flamich, *Greedy Poisson rejection sampling*, NeurIPS 2023, algorithm 3). Exact,
    for scalar pairs with width functions. ``steps`` counts candidates up to the accepted one: its mean is 2^{D_inf}.

    sigma grows, so a candidate is worth a look only if its ratio exceeds that of every rejected one; sigma at such a
    record, about ln(steps) of them, is its value at the last record plus one integral.

    Args:
        max_steps: cap on the candidates examined.

    >>> import jax, recjax
    >>> q, p = recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0)
    >>> coder, key = recjax.GPRS(), jax.random.key(7)
    >>> code = coder.encode(key, q, p)
    >>> int(code.steps) == int(code.index) + 1
    True
    """

    widths: ClassVar[bool] = True

    def start(self, pair):
        dtype = pair.proposal.dtype
        return zero_time(), jnp.full((), -jnp.inf, dtype), jnp.zeros((), dtype)

    def examine(self, pair, carry, chunk):
        start, log_h, stretched = carry
        times = arrival_times(start, chunk.exponentials(Stream.ARRIVAL))
        record = chunk.log_ratio > log_h
        found = record.any()
        used = jnp.where(found, jnp.argmax(record) + 1, record.size)
        last = used - 1
        time = times[0][last], times[1][last]
        t = time_value(time, log_h.dtype)
        ratio = chunk.log_ratio[last]
        reached = stretched + stretch_between(pair, log_h, ratio)
        # sigma(h) >= h, and sigma is infinite at the maximum
        accepted = (reached > t) | (ratio >= jnp.log(t)) | (ratio >= pair.log_ratio_max())
        carry = time, jnp.where(found, ratio, log_h), jnp.where(found, reached, stretched)
        return Verdict(carry, used, found & accepted, chunk.index[last])
