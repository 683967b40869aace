"""Seconds and memory of coding the steps of diffusion models, on synthetic targets.

Targets are N(m, 1) over N(0, 1) with the numbers of coordinates and the divergences that are
published for latent diffusion models. The rival is the loop that users write by hand in NumPy: for
every chunk, fresh candidates that are scored and dropped again. It is timed on a few chunks of
every width, one after the other, and its time for all of them is added up from those.

    python -m experiments.vector_schedules
"""

import dataclasses
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import recjax
from experiments.outputs import save
from recjax.results.files import Results

STEPS = {
    "SDXL, first step": (65_536, 56.0),
    "SDXL, step of 1,210 bits": (65_536, 1_210.0),
    "Flux, first step": (262_144, 73.0),
    "Flux, step of 25,964 bits": (262_144, 25_964.0),
}
"""Coordinates and bits of single steps."""

SCHEDULE = (16_384, tuple(20 + 714 * (i / 61) ** 4.7 for i in range(62)))
"""Coordinates and bits of the 62 steps of SD 1.5: from 20 to 734 bits, 9,242 in all."""


@dataclasses.dataclass(frozen=True)
class Args:
    """What the experiment can be told.

    Attributes:
        part: part to measure in this process; "all" starts a process for every part, so that each
            has its peak of memory.
        extra_bits: bits of candidates to spare.
        method: method of the coder.
        columns: columns of the table that is kept for the schedule.
        out: folder of results.
    """

    part: str = "all"
    extra_bits: int = 4
    method: Literal["ordered", "trellis"] = "ordered"
    columns: int = 8192
    out: Annotated[Path, tyro.conf.arg(name="out")] = Path("experiments/results")


def targets(d: int, divergences: tuple[float, ...]) -> list[recjax.Normal]:
    rng = np.random.default_rng(0)
    found = []
    for kl in divergences:
        mean = rng.normal(size=d).astype(np.float32)
        mean *= np.sqrt(2 * np.log(2) * kl / (mean @ mean))
        found.append(recjax.Normal(jnp.asarray(mean), jnp.ones(d)))
    return found


def seconds(run):
    """Result of the second of two runs, its seconds, and those of the first, which compiles."""
    times = []
    result = None
    for _ in range(2):
        del result  # two tables at a time would double the peak of memory
        start = time.perf_counter()
        result = jax.block_until_ready(run())
        times.append(time.perf_counter() - start)
    return result, times[1], times[0]


def measure(coder: recjax.VectorCoder, d: int, divergences: tuple, columns: int) -> dict:
    """Times and statistics of coding vectors one after the other with one key."""
    key, q = jax.random.key(0), targets(d, divergences)
    standard, wide = recjax.Normal(0.0, 1.0), recjax.Normal(jnp.zeros(d), jnp.ones(d))
    steps = list(enumerate(zip(q, divergences, strict=True)))

    def encode(table=None):
        return [
            coder.encode(key, target, standard, kl_bits=kl, call=i, table=table)
            for i, (target, kl) in steps
        ]

    codes, anew, first = seconds(encode)
    row = {"d": d, "kl_bits": sum(divergences), "encode_s": anew, "first_encode_s": first}
    if columns:
        table, row["table_s"], _ = seconds(lambda: coder.table(key, columns))
        kept, row["encode_with_table_s"], _ = seconds(lambda: encode(table))
        assert all((a.index == b.index).all() for a, b in zip(codes, kept, strict=True))

    def decode():
        return [
            coder.decode(key, code.index, wide, kl_bits=kl, call=i)
            for code, (i, (_, kl)) in zip(codes, steps, strict=True)
        ]

    samples, row["decode_s"], _ = seconds(decode)
    assert all((x == code.sample).all() for x, code in zip(samples, codes, strict=True))
    means = [target.loc for target in q]
    slopes = [float(x @ m / (m @ m)) for x, m in zip(samples, means, strict=True)]
    bits = [
        coder.codelength(key, code.index, wide, kl_bits=kl)
        for code, kl in zip(codes, divergences, strict=True)
    ]
    sizes = [code.index.size for code in codes]
    row |= {"blocks": sum(sizes), "bits": float(sum(bits)), "slope": float(np.mean(slopes))}
    row["widths"] = [[-(-d // n), n] for n in sizes]
    return row


def rival_seconds(row: dict, candidates: int) -> float:
    """Seconds of the loop over chunks in NumPy, from one chunk of each of a few widths."""
    rng, rates = np.random.default_rng(0), {}

    def chunk(width):
        mean, best = rng.normal(size=width).astype(np.float32), (-np.inf, 0)
        step = max((1 << 22) // width, 1)
        for start in range(0, candidates, step):
            z = rng.standard_normal((min(step, candidates - start), width), dtype=np.float32)
            scores = z @ mean + rng.gumbel(size=len(z)).astype(np.float32)
            place = int(scores.argmax())
            best = max(best, (float(scores[place]), start + place))
        return best

    total = 0.0
    for width, count in row["widths"]:
        # nearly the same time per number for all chunks of about one width
        size = 1 << (width - 1).bit_length()
        if size not in rates:
            start = time.perf_counter()
            chunk(width)
            rates[size] = (time.perf_counter() - start) / width
        total += rates[size] * width * count
    return total


def one_part(args: Args) -> dict:
    coder = recjax.VectorCoder(extra_bits=args.extra_bits, method=args.method)
    d, divergences = (
        SCHEDULE if args.part == "SD 1.5" else (STEPS[args.part][0], (STEPS[args.part][1],))
    )
    columns = args.columns if args.part == "SD 1.5" else 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    row = {"part": args.part, "extra_bits": args.extra_bits, "method": args.method}
    row |= measure(coder, d, divergences, columns)
    # the peak is of the whole process, less what importing took; the schedule includes its table
    row["peak_gib"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    if args.part == "SD 1.5" and args.method == "ordered":
        row["rival_s"] = rival_seconds(row, 1 << coder.block_bits)
    del row["widths"]
    return row


def main(args: Args) -> None:
    if args.part != "all":
        print(json.dumps(one_part(args)))
        return
    rows = []
    for part in ("SD 1.5", *STEPS):
        for method, extra_bits in (("ordered", 2), ("ordered", 4), ("trellis", 4)):
            command = [sys.executable, "-m", "experiments.vector_schedules", "--part", part]
            command += ["--method", method, "--extra-bits", str(extra_bits)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
    description = "Steps of diffusion models by `VectorCoder`, synthetic targets, two CPU cores"
    source = "python -m experiments.vector_schedules"
    save(Results("vector_schedules", description, source, (), {"rows": rows}), args.out)


if __name__ == "__main__":
    main(tyro.cli(Args))
