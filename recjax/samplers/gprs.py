"""Greedy Poisson rejection sampling."""

import dataclasses
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from recjax.distributions.pair import Pair
from recjax.randomness import Stream
from recjax.samplers._search.arrivals import Time, arrival_times, time_at, time_value, zero_time
from recjax.samplers._search.candidate_rule import Chunk, Verdict, used_until
from recjax.samplers._search.stretch import stretch_between
from recjax.samplers.global_coder import ExactCoder


class GPRSState(NamedTuple):
    """State of the search for the first arrival under the stretch function."""

    time: Time  # arrival time of the last candidate seen
    log_h: Float[Array, ""]  # the largest ln r of a rejected candidate, the record
    stretched: Float[Array, ""]  # sigma at the record


@dataclasses.dataclass(frozen=True, kw_only=True)
class GPRS(ExactCoder):
    """Global greedy Poisson rejection sampling: the first arrival with T_k < sigma(r(X_k)).

    The stretch function sigma(h) is the integral of 1 / (w_Q - eta w_P) over eta in [0, h]; T_k are
    the arrival times of a unit-rate Poisson process (Flamich, *Greedy Poisson rejection sampling*,
    NeurIPS 2023, algorithm 3). Exact, for scalar pairs with width functions. ``steps`` counts
    candidates up to the accepted one: its mean is 2^{D_inf}. The index is sent in a zeta code.

    sigma grows, so that a candidate can be accepted only if its ratio exceeds that of every
    rejected one. At such a record, about ln(steps) of them, sigma is its value at the last record
    plus one integral.

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

    def start(self, pair: Pair) -> GPRSState:
        dtype = pair.proposal.dtype
        return GPRSState(zero_time(), jnp.full((), -jnp.inf, dtype), jnp.zeros((), dtype))

    def examine(self, pair: Pair, state: GPRSState, chunk: Chunk) -> Verdict:
        log_h = state.log_h
        times = arrival_times(state.time, chunk.exponentials(Stream.ARRIVAL))
        # one record per chunk: the search goes on behind it
        used, found = used_until(chunk.log_ratio > log_h)
        last = used - 1
        time, ratio = time_at(times, last), chunk.log_ratio[last]
        t = time_value(time, log_h.dtype)
        reached = state.stretched + stretch_between(pair, log_h, ratio)
        # sigma(h) >= h, and sigma is infinite at the maximum
        accepted = (reached > t) | (ratio >= jnp.log(t)) | (ratio >= pair.log_ratio_max())
        # a chunk without a record leaves the record as it was
        state = GPRSState(
            time, jnp.where(found, ratio, log_h), jnp.where(found, reached, state.stretched)
        )
        return Verdict(state, used, found & accepted, chunk.index[last])
