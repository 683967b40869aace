"""Greedy Poisson rejection sampling by parallel processes."""

import dataclasses
import math
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from recjax.distributions.pair import Pair
from recjax.randomness import Stream
from recjax.samplers._search.arrivals import Time, arrival_times, time_at, time_value
from recjax.samplers._search.candidate_rule import Chunk, Verdict
from recjax.samplers._search.stretch import stretch_between
from recjax.samplers._streams.numbers import ListCode, ZetaCode
from recjax.samplers.base import check_range
from recjax.samplers.global_coder import ExactCoder
from recjax.samplers.index_code import IndexCode

_LEAST_AHEAD = 8
_NEVER = np.uint32(0xFFFFFFFF)


class ParallelState(NamedTuple):
    """State of the search over all processes."""

    local: UInt32[Array, "processes"]  # arrivals of each process that have been dealt with
    time: Time  # time of the last of them, for each process
    log_h: Float[Array, ""]  # the largest ln r of a rejected candidate, the record
    stretched: Float[Array, ""]  # sigma at the record


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParallelGPRS(ExactCoder):
    """GPRS on J independent Poisson processes of rate 1 / J: the earliest accepted arrival of all.

    Process j has the candidates j, J + j, 2 J + j, ...; ``index`` is local number * J + process. An
    arrival is accepted if T < sigma(r(X)). Every process goes on to its first acceptance, or to its
    first arrival later than the best accepted one (Flamich, *Greedy Poisson rejection sampling*,
    NeurIPS 2023). Exact, for scalar pairs with width functions; one process is GPRS.

    ``steps`` is the total over processes when they are advanced in the order of time: the accepted
    process's arrivals and, for every other, those before the accepted time and the one beyond. Its
    mean is 2^{D_inf} + J - 1. Arrivals are evaluated ahead of that order, so that more
    candidates are computed than ``steps`` counts.

    In that order the processes are one of unit rate, so that the stretch function is needed only at
    records of r among all arrivals so far, as in GPRS: a record of one process that is none of all
    processes arrives too late to be accepted.

    The index takes log2 J bits for the process, and the zeta code of the local number at a rate
    that is less by as much.

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

    def index_code(self, proposal: Any, rate_bits: Any) -> IndexCode:
        local = ZetaCode(
            last=self.cap - 1,
            proposal=proposal,
            rate_bits=rate_bits,
            spent_bits=math.log2(self.n_processes),
        )
        return _ProcessCode(self.last_index, self.n_processes, local)

    def width(self, size: int) -> int:
        # A few arrivals of each process: the process whose last arrival in the chunk is the
        # earliest decides how far all processes get.
        return self.n_processes * max(size // self.n_processes, _LEAST_AHEAD)

    def candidates(
        self, state: ParallelState, steps: UInt32[Array, ""], size: int
    ) -> UInt32[Array, "n"]:
        ahead = jnp.arange(self.width(size) // self.n_processes, dtype=jnp.uint32)
        process = jnp.arange(self.n_processes, dtype=jnp.uint32)
        local = state.local[:, None] + ahead[None, :]
        return (local * jnp.uint32(self.n_processes) + process[:, None]).reshape(-1)

    def start(self, pair: Pair) -> ParallelState:
        dtype, none = pair.proposal.dtype, jnp.zeros(self.n_processes, jnp.uint32)
        lowest = jnp.full((), -jnp.inf, dtype)
        return ParallelState(none, (none, none), lowest, jnp.zeros((), dtype))

    def examine(self, pair: Pair, state: ParallelState, chunk: Chunk) -> Verdict:
        log_h = state.log_h
        gaps = chunk.exponentials(Stream.ARRIVAL).reshape(self.n_processes, -1)
        by_process = jax.vmap(arrival_times)(state.time, gaps)
        ahead = gaps.shape[1]
        times = by_process[0].reshape(-1), by_process[1].reshape(-1)

        # Every process's arrivals are known up to the horizon, the earliest of their last arrivals
        # in the chunk. Later ones wait for the next chunk.
        position = jnp.arange(chunk.index.size)
        horizon = _earliest(times, position % ahead == ahead - 1)
        record = (chunk.log_ratio > log_h) & _not_after(times, horizon)
        found = record.any()
        last = jnp.where(found, _earliest(times, record), horizon)
        dealt = _not_after(times, last)

        # processes have the rate 1 / J: their times are J times those of unit rate
        t = time_value(time_at(times, last), log_h.dtype) * self.n_processes
        ratio = chunk.log_ratio[last]
        reached = state.stretched + stretch_between(pair, log_h, ratio)
        # sigma(h) >= h, and sigma is infinite at the maximum
        accepted = (reached > t) | (ratio >= jnp.log(t)) | (ratio >= pair.log_ratio_max())

        # a process without an arrival that is dealt with keeps its time
        count = jnp.sum(dealt.reshape(gaps.shape), axis=1)
        newest = jnp.maximum(count - 1, 0)[:, None]
        high, low = (
            jnp.where(count > 0, jnp.take_along_axis(new, newest, axis=1)[:, 0], old)
            for new, old in zip(by_process, state.time, strict=True)
        )
        stopped = found & accepted
        beyond = jnp.where(stopped, self.n_processes - 1, 0)  # one arrival of every other process
        state = ParallelState(
            state.local + count.astype(jnp.uint32),
            (high, low),
            jnp.where(found, ratio, log_h),
            jnp.where(found, reached, state.stretched),
        )
        return Verdict(state, jnp.sum(count) + beyond, stopped, chunk.index[last])


class _ProcessCode(ListCode):
    """Lists are processes, which take turns."""

    def split(self, index: Any) -> tuple[Any, Any]:
        return index % self.count, index // self.count

    def join(
        self, which: Int[np.ndarray, "n"], number: UInt32[np.ndarray, "n"]
    ) -> UInt32[np.ndarray, "n"]:
        return (number.astype(np.int64) * self.count + which).astype(np.uint32)


def _earliest(times: Time, among: Bool[Array, "n"]) -> Int[Array, ""]:
    """The position of the earliest time among some positions, the first of equal ones.

    >>> times = jnp.uint32([2, 1, 1, 0]), jnp.uint32([0, 9, 7, 0])
    >>> int(_earliest(times, jnp.array([True, True, True, False])))
    2
    """
    high, low = times
    first_high = jnp.min(jnp.where(among, high, _NEVER))
    among = among & (high == first_high)
    first_low = jnp.min(jnp.where(among, low, _NEVER))
    return jnp.argmax(among & (low == first_low))


def _not_after(times: Time, last: Int[Array, ""]) -> Bool[Array, "n"]:
    """Whether each time is not after the one at a position; equal times count in order."""
    high, low = times
    tied = (high == high[last]) & (low == low[last]) & (jnp.arange(high.size) <= last)
    return (high < high[last]) | ((high == high[last]) & (low < low[last])) | tied
