"""Benchmark of the exact coders on scalar Gaussians, beside loops in NumPy and Numba.

It measures samples per second. Each lane has another target over N(0, 1): its scale is 2^-K within
2 %, and its mean makes the divergence K bits.
"""

import math
from pathlib import Path
from typing import Any

import jax
import numpy as np

import recjax
from recjax.bench import numba_loops, numpy_loops
from recjax.bench.report import check_arguments, write_report
from recjax.bench.timing import Contestant, core_count, interleaved, timed
from recjax.results.files import Axis, Curve, Panel, Results

CODERS = (
    ("RejectionSampler", {}, "rejection", 8),
    ("AStar", {}, "a_star", 8),
    ("GPRS", {}, "gprs", 8),
    ("GreedyRejectionSampler", {}, "greedy_rejection", 8),
    ("ParallelGPRS", {}, "gprs", 8),
    ("BranchAndBoundGPRS", {"split": "sample"}, "branch_and_bound", 12),
    ("BranchAndBoundGPRS", {"split": "dyadic"}, "dyadic_gprs", 12),
    ("GreedyRejectionCoder", {"split": "sample"}, "grcs", 12),
    ("GreedyRejectionCoder", {"split": "dyadic"}, "grcd", 12),
    ("AStarCoder", {"split": "sample"}, "as_star", 12),
    ("AStarCoder", {"split": "dyadic"}, "ad_star", 12),
)
"""Name, arguments, algorithm of the loops, and largest divergence in bits.

Global coders take 2^D_inf steps.
"""
BITS = (1, 2, 4, 8, 12)
SECONDS_A_RUN = 0.3
LARGEST = 1 << 17
"""Most samples per run."""


def main(
    json_path: str | Path | None = None, seconds: float = 30.0, force: bool = False
) -> Results:
    """Measures, prints a table and returns the results.

    Args:
        json_path: file that the results are written to, if any.
        seconds: duration of the measurements; setting up and three turns may take longer.
        force: replace `json_path` if it exists.

    Raises:
        ValueError: the file cannot be written, or `seconds` is not positive.
    """
    check_arguments(json_path, seconds, force)
    cores = core_count()
    rivals = {"numpy": numpy_loops.LOOPS}
    if numba_loops.available():
        rivals["numba"] = numba_loops.loops(cores)
    cells = [(coder, bits) for coder in CODERS for bits in BITS if bits <= coder[3]]
    description = (
        f"N(0, 1), {cores} core{'s' * (cores > 1)}, {jax.default_backend()}, jax {jax.__version__}"
    )
    print(
        f"{description}\n\n{'coder':<34}{'KL':>4}{'samples/s':>12}{'steps':>8}{'compile s':>10}",
        end="",
    )
    print(f"{'NumPy/s':>11}{'numba/s':>11}{'x NumPy':>9}{'x numba':>9}")
    rows = []
    for coder, bits in cells:
        rows.append(_measure(coder, bits, rivals, seconds / len(cells)))
        _print(rows[-1])
    largest = min(coder[3] for coder in CODERS)
    print(f"\nglobal coders need 2^D_inf steps: above {largest} bits they are left out")
    report = to_results(rows, description)
    write_report(report, json_path, force)
    return report


def to_results(rows: list[dict[str, Any]], description: str) -> Results:
    """Returns results with a panel for recjax and each rival, and a curve for each coder."""
    panels = []
    for rival, title in (
        ("recjax", "recjax"),
        ("numpy", "loops in NumPy"),
        ("numba", "loops compiled by Numba"),
    ):
        points: dict[str, list[tuple[float, float]]] = {}
        for row in rows:
            if rival in row:
                points.setdefault(row["coder"], []).append((row["bits"], row[rival]))
        curves = [
            Curve(coder, tuple(kl for kl, _ in measured), tuple(rate for _, rate in measured))
            for coder, measured in points.items()
        ]
        panels.append(
            Panel(title, Axis("KL (bits)", "log2"), Axis("samples a second", "log"), tuple(curves))
        )
    return Results(
        "bench samplers", description, "recjax bench samplers", tuple(panels), {"coders": rows}
    )


def _print(row: dict[str, Any]) -> None:
    print(f"{row['coder']:<34}{row['bits']:>4}{row['recjax']:>12.0f}{row['steps']:>8.1f}", end="")
    print(f"{row['compile_seconds']:>10.2f}", end="")
    for name in ("numpy", "numba"):
        print(f"{row[name]:>11.0f}" if name in row else f"{'-':>11}", end="")
    for name in ("numpy", "numba"):
        print(f"{row['recjax'] / row[name]:>9.2f}" if name in row else f"{'-':>9}", end="")
    print(flush=True)


def _measure(coder, bits, rivals, seconds) -> dict[str, Any]:
    name, arguments, algorithm, _ = coder
    run, size, steps, compiling = _recjax(getattr(recjax, name)(**arguments), bits)
    contestants: dict[str, Contestant] = {"recjax": (run, size)}
    contestants |= {rival: _rival(loops[algorithm], bits) for rival, loops in rivals.items()}
    times = interleaved(contestants, seconds, runs=2)
    label = name + "".join(f", {key}={value}" for key, value in arguments.items())
    rates = {rival: work / times[rival] for rival, (_, work) in contestants.items()}
    return {
        "coder": label,
        "bits": bits,
        "steps": steps,
        "batch": size,
        "compile_seconds": compiling,
        **rates,
    }


def targets(size: int, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns means and scales of targets with a divergence of `bits` bits from N(0, 1)."""
    rng = np.random.Generator(np.random.SFC64(0))
    jitter = rng.uniform(0.98, 1.02, size)
    s = 2.0**-bits * jitter
    return np.sqrt(1 - s * s + 2 * np.log(jitter)) * rng.choice([-1.0, 1.0], size), s


def _grown(size: int, seconds: float) -> int:
    """Scales a batch to a power of two that takes about `SECONDS_A_RUN`."""
    return min(max(2 ** round(math.log2(size * SECONDS_A_RUN / seconds)), 1), LARGEST)


def _recjax(coder, bits):
    """Returns a run, its number of samples, the mean steps, and the seconds of compilation."""

    def setting(size):
        m, s = targets(size, bits)
        batch = recjax.Normal(m.astype(np.float32), s.astype(np.float32))
        keys, proposal = jax.random.split(jax.random.key(0), size), recjax.Normal(0.0, 1.0)
        return lambda: jax.block_until_ready(coder.encode_batch(keys, batch, proposal))

    size = min(2048, LARGEST)
    run = setting(size)
    compiling = timed(run) - (again := timed(run))
    size = _grown(size, again)
    run = setting(size)
    return run, size, float(np.asarray(run().steps).mean()), compiling


def _rival(loop, bits) -> Contestant:
    rng = np.random.Generator(np.random.SFC64(0))
    size = min(256, LARGEST)
    loop(rng, *targets(size, bits))  # the first call compiles
    size = _grown(size, timed(lambda: loop(rng, *targets(size, bits))))
    m, s = targets(size, bits)
    return lambda: loop(rng, m, s), size
