"""Greedy Poisson rejection sampling by parallel processes."""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from recjax.randomness import Stream
from recjax.samplers._search.arrivals import Time, arrival_times, time_value
from recjax.samplers._search.candidate_search import Verdict
from recjax.samplers.base import check_range, checked_index
from recjax.samplers.codelength import rate_value, zeta_bits
from recjax.samplers.global_coder import ExactCoder
from recjax.samplers.gprs import stretch_between

_LEAST_AHEAD = 8
_NEVER = np.uint32(0xFFFFFFFF)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParallelGPRS(ExactCoder):
    """GPRS on J independent Poisson processes of rate 1 / J each: the earliest arrival with T < sigma(r(X)) of all.

    Process j owns the candidates j, J + j, 2 J + j, ...; ``index`` is local number * J + process. Every process goes
    on to its own first acceptance, or to its first arrival later than the best accepted one (Flamich, *Greedy Poisson
    rejection sampling*, NeurIPS 2023). Exact, for scalar pairs with width functions; one process is GPRS.

    ``steps`` is the total over processes when they are advanced in the order of time: the accepted process's arrivals
    and, for every other, those before the accepted time and the one beyond. Its mean is 2^{D_inf} + J - 1. Arrivals
    are evaluated some ahead of that order, so that the work of one encoding is wider than its steps say.

    In that order the processes are one of unit rate, so that the stretch function is needed only at records of r
    among all arrivals so far, as in GPRS: a process's own record below them is later than sigma of it.

    Args:
        n_processes: J, 1 to 4096.
        max_steps: cap on the steps; 2^31 / J is the cap if that is less.

    >>> import jax, recjax
    >>> q, p = recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0)
    >>> coder, key = recjax.ParallelGPRS(n_processes=4), jax.random.key(7)
    >>> code = coder.encode(key, q, p)
    >>> local, process = divmod(int(code.index), 4)
    >>> int(code.steps) >= local + 1 + 3
    True
    """

    widths: ClassVar[bool] = True

    n_processes: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("n_processes", self.n_processes, 1, 4096)

    @property
    def cap(self) -> int:
        return min(self.max_steps, ((1 << 31) - 1) // self.n_processes)

    @property
    def limit(self) -> int:
        return self.cap * self.n_processes

    def codelength(
        self, key: Array, index: Any, proposal: Any, *, rate_bits: Any = None
    ) -> Float[Array, ""]:
        """log2 J bits for the process, and the zeta code of the local number + 1 at a rate shorter by as much."""
        process_bits = math.log2(self.n_processes)
        local = checked_index(index, self.limit) // jnp.uint32(self.n_processes)
        rate = jnp.maximum(rate_value(rate_bits, proposal.dtype) - process_bits, 0)
        return process_bits + zeta_bits(local, rate)

    def width(self, size):
        # a few arrivals of each process: the process whose last one is the earliest decides how far all get
        return self.n_processes * max(size // self.n_processes, _LEAST_AHEAD)

    def candidates(self, carry, steps, size):
        ahead = jnp.arange(self.width(size) // self.n_processes, dtype=jnp.uint32)
        process = jnp.arange(self.n_processes, dtype=jnp.uint32)
        local = carry[0][:, None] + ahead[None, :]
        return (local * jnp.uint32(self.n_processes) + process[:, None]).reshape(-1)

    def start(self, pair):
        dtype, none = pair.proposal.dtype, jnp.zeros(self.n_processes, jnp.uint32)
        return none, (none, none), jnp.full((), -jnp.inf, dtype), jnp.zeros((), dtype)

    def examine(self, pair, carry, chunk):
        local, start, log_h, stretched = carry
        gaps = chunk.exponentials(Stream.ARRIVAL).reshape(self.n_processes, -1)
        by_process = jax.vmap(arrival_times)(start, gaps)
        ahead = gaps.shape[1]
        times = by_process[0].reshape(-1), by_process[1].reshape(-1)

        position = jnp.arange(chunk.index.size)
        horizon = _earliest(
            times, position % ahead == ahead - 1
        )  # up to here every process's arrivals are known
        record = (chunk.log_ratio > log_h) & _not_after(times, horizon)
        found = record.any()
        last = jnp.where(found, _earliest(times, record), horizon)
        dealt = _not_after(times, last)

        t = time_value((times[0][last], times[1][last]), log_h.dtype) * self.n_processes
        ratio = chunk.log_ratio[last]
        reached = stretched + stretch_between(pair, log_h, ratio)
        # sigma(h) >= h, and sigma is infinite at the maximum
        accepted = (reached > t) | (ratio >= jnp.log(t)) | (ratio >= pair.log_ratio_max())

        count = jnp.sum(dealt.reshape(gaps.shape), axis=1)
        newest = jnp.maximum(count - 1, 0)[:, None]
        start = tuple(
            jnp.where(count > 0, jnp.take_along_axis(new, newest, axis=1)[:, 0], old)
            for new, old in zip(by_process, start, strict=True)
        )
        stopped = found & accepted
        beyond = jnp.where(stopped, self.n_processes - 1, 0)  # one arrival of every other process
        carry = (
            local + count.astype(jnp.uint32),
            start,
            jnp.where(found, ratio, log_h),
            jnp.where(found, reached, stretched),
        )
        return Verdict(carry, jnp.sum(count) + beyond, stopped, chunk.index[last])


def _earliest(times: Time, among: Bool[Array, "n"]) -> Int[Array, ""]:
    """The position of the earliest of some times, of equal ones the first.

    >>> int(_earliest((jnp.uint32([2, 1, 1, 0]), jnp.uint32([0, 9, 7, 0])), jnp.array([True, True, True, False])))
    2
    """
    high, low = times
    first_high = jnp.min(jnp.where(among, high, _NEVER))
    among = among & (high == first_high)
    first_low = jnp.min(jnp.where(among, low, _NEVER))
    return jnp.argmax(among & (low == first_low))


def _not_after(times: Time, last: Int[Array, ""]) -> Bool[Array, "n"]:
    """Which times are not after the one at a position; equal ones count as in the order of their positions."""
    high, low = times
    tied = (high == high[last]) & (low == low[last]) & (jnp.arange(high.size) <= last)
    return (high < high[last]) | ((high == high[last]) & (low < low[last])) | tied
