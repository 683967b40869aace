"""The cost of a node: CPU seconds per step of the coders over trees, beside loops compiled by Numba.

Targets and loops are those of `recjax bench samplers`. CPU time of the process counts, so that other load matters
little. With ``--base`` an older tree of the sources is measured too, in turns with this one.

    python -m experiments.node_cost --base ../recjax-before
"""

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro

import recjax
from experiments.outputs import save
from recjax.bench import numba_loops
from recjax.bench.samplers import targets
from recjax.results.files import Results

CODERS = {
    "GRCS": ("GreedyRejectionCoder", "sample", "grcs"),
    "GRCD": ("GreedyRejectionCoder", "dyadic", "grcd"),
    "AS*": ("AStarCoder", "sample", "as_star"),
    "AD*": ("AStarCoder", "dyadic", "ad_star"),
    "GPRS, split on sample": ("BranchAndBoundGPRS", "sample", "branch_and_bound"),
    "GPRS, dyadic": ("BranchAndBoundGPRS", "dyadic", "dyadic_gprs"),
}
"""Class, split and algorithm of the loops, by name."""
SAMPLES = 1 << 16
LOOP_SAMPLES = 1 << 12


@dataclasses.dataclass(frozen=True)
class Args:
    """What the experiment can be told.

    Attributes:
        base: an older tree of the sources, to be measured beside.
        coders: names of coders.
        bits: divergences.
        turns: turns of every contestant, of which the fastest counts.
        measure: run as a contestant, which reads settings and writes seconds.
        out: folder of results.
    """

    base: Path | None = None
    coders: tuple[str, ...] = tuple(CODERS)
    bits: tuple[int, ...] = (2, 4, 8)
    turns: int = 3
    measure: bool = False
    out: Path = Path("experiments/results")


class Contestant:
    """A process that measures one tree of the sources."""

    def __init__(self, sources: Path) -> None:
        command = [sys.executable, str(Path(__file__).resolve()), "--measure"]
        paths = os.pathsep.join([str(sources), str(Path(__file__).resolve().parents[1])])
        self._process = subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": paths, "PYTHONSAFEPATH": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, name: str, bits: int, rival: bool) -> dict[str, float]:
        """One run of a coder, or of its loop."""
        assert self._process.stdin and self._process.stdout
        print(json.dumps([name, bits, rival]), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


def serve() -> None:
    """Answers until the input ends."""
    runs: dict[tuple, Any] = {}
    for line in sys.stdin:
        setting = tuple(json.loads(line))
        if setting not in runs:
            runs[setting] = (_loop if setting[2] else _coder)(*setting[:2])
            runs[setting]()  # compiles
        start = time.process_time()
        steps = runs[setting]()
        seconds = time.process_time() - start
        print(
            json.dumps({"ns": 1e9 * seconds / len(steps), "steps": float(steps.mean())}), flush=True
        )


def _coder(name: str, bits: int) -> Any:
    kind, split, _ = CODERS[name]
    coder = getattr(recjax, kind)(split=split)
    m, s = targets(SAMPLES, bits)
    batch = recjax.Normal(m.astype(np.float32), s.astype(np.float32))
    keys, proposal = jax.random.split(jax.random.key(0), SAMPLES), recjax.Normal(0.0, 1.0)
    return lambda: np.asarray(coder.encode_batch(keys, batch, proposal).steps)


def _loop(name: str, bits: int) -> Any:
    loop, (m, s) = numba_loops.loops(1)[CODERS[name][2]], targets(LOOP_SAMPLES, bits)
    rng = np.random.Generator(np.random.SFC64(0))
    return lambda: loop(rng, m, s)[1]


def main(args: Args) -> None:
    here = Contestant(Path(__file__).resolve().parents[1])
    base = Contestant(args.base.resolve()) if args.base else None
    contestants = {"after": (here, False), "numba": (here, True)}
    if base:
        contestants["before"] = (base, False)
    rows = []
    for name in args.coders:
        for bits in args.bits:
            row = {"coder": name, "bits": bits}
            answers = [
                {k: c.ask(name, bits, rival) for k, (c, rival) in contestants.items()}
                for _ in range(args.turns)
            ]
            row["steps"] = answers[0]["after"]["steps"]
            row |= {f"{k}_ns": min(answer[k]["ns"] for answer in answers) for k in contestants}
            rows.append(row)
            print(row, flush=True)
    description = f"CPU nanoseconds per sample, N(0, 1), jax {jax.__version__}"
    source = "python -m experiments.node_cost"
    save(Results("node_cost", description, source, (), {"rows": rows}), args.out)


if __name__ == "__main__":
    arguments = tyro.cli(Args)
    serve() if arguments.measure else main(arguments)
