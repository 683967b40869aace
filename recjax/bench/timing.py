"""Timing of benchmarks: contestants run in turn, and medians over the turns count."""

import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

Contestant = tuple[Callable[[], Any], float]
"""A function for one run, and the amount of work of this run."""

RUNS_A_TURN = 5
"""Runs per turn, of which the fastest counts.

The first runs of a turn find the data of another library in the caches and its threads still busy.
"""


def core_count() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def timed(run: Callable[[], Any]) -> float:
    """Returns the seconds of one run."""
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
    """Times contestants in turn until the time is over.

    Args:
        contestants: functions to time, by name.
        seconds: duration of the measurement.
        runs: runs per turn, of which the fastest counts.
        turns: smallest number of turns, even if they take longer than `seconds`.

    Returns:
        Seconds per run of each contestant, the median over turns.
    """
    # the first run may compile
    for run, _ in contestants.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or min(map(len, times.values())) < turns:
        for name, (run, _) in contestants.items():
            times[name].append(min(timed(run) for _ in range(runs)))
    return {name: statistics.median(values) for name, values in times.items()}
