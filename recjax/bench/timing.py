"""How the benchmarks take time: contestants in turn, the best of some runs a turn, medians over the turns."""

import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

Contestant = tuple[Callable[[], Any], float]
"""What to run once, and how much work that makes."""

RUNS_A_TURN = 5
"""The first runs of a turn find another library's data in the caches and its threads still busy: the best counts."""


def core_count() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def timed(run: Callable[[], Any]) -> float:
    """Seconds of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def interleaved(
    contestants: Mapping[str, Contestant],
    seconds: float,
    *,
    runs: int = RUNS_A_TURN,
    turns: int = 3,
) -> dict[str, float]:
    """Median over turns of the seconds of each, all in turn until the time is over, at least ``turns`` times."""
    for run, _ in contestants.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or min(map(len, times.values())) < turns:
        for name, (run, _) in contestants.items():
            times[name].append(min(timed(run) for _ in range(runs)))
    return {name: statistics.median(values) for name, values in times.items()}
