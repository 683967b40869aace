"""Runs figures, each in a process of its own."""

import concurrent.futures
import csv
import dataclasses
import functools
import hashlib
import importlib
import io
import itertools
import multiprocessing
import os
import pkgutil
import signal
import time
from pathlib import Path

import tyro

import experiments.figures
import recjax
from experiments.figures.points import Points
from experiments.outputs import save
from recjax.atomic import write_atomic
from recjax.results.files import Results


@dataclasses.dataclass(frozen=True)
class Args:
    """Figures.

    Attributes:
        names: of the figures, all by default.
        full: whether to run at full scale.
        out: folder of the results.
        jobs: figures at a time.
    """

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    full: bool = False
    out: Path = Path("experiments/results/figures")
    jobs: int = os.cpu_count() or 1


def figure_names() -> list[str]:
    """The modules of this package that have a figure."""
    found = (module.name for module in pkgutil.iter_modules(experiments.figures.__path__))
    return sorted(name for name in found if name not in ("__main__", "points", "runner"))


def run(name: str, args: Args) -> Results:
    """One figure, from what earlier runs of the same code have left."""
    module = importlib.import_module(f"experiments.figures.{name}")
    sources = [Path(str(module.__file__)), *sorted(Path(recjax.__file__).parent.rglob("*.py"))]
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    parts = args.out / ".parts"
    parts.mkdir(parents=True, exist_ok=True)
    return module.figure(
        args.full, Points(parts / f"{name}-{'full' if args.full else 'quick'}-{code}.json")
    )


def to_csv(results: Results) -> str:
    """A row for every point: panel, curve, kind, x, y, and the ends of the band, which may be empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("panel", "curve", "kind", "x", "y", "low", "high"))
    for panel in results.panels:
        name = panel.title or f"{panel.y.label} against {panel.x.label}"
        for curve in panel.curves:
            for numbers in itertools.zip_longest(curve.x, curve.y, curve.low, curve.high):
                writer.writerow((name, curve.label, curve.kind, *numbers))
    return text.getvalue()


def main(args: Args) -> None:
    known = figure_names()
    unknown = sorted(set(args.names) - set(known))
    if unknown:
        raise ValueError(f"there is no figure {', '.join(unknown)}; there are {', '.join(known)}")
    if args.jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {args.jobs}")
    names = args.names or tuple(known)
    if min(args.jobs, len(names)) == 1:
        for name in names:
            make(args, name)
        return
    spawned, stop = multiprocessing.get_context("spawn"), (signal.SIGINT, signal.SIG_DFL)
    with concurrent.futures.ProcessPoolExecutor(args.jobs, spawned, signal.signal, stop) as pool:
        list(pool.map(functools.partial(make, args), names))


def make(args: Args, name: str) -> None:
    """One figure's files."""
    start = time.perf_counter()
    results = run(name, args)
    save(results, args.out, ".png", ".pdf", name=name)
    write_atomic(args.out / f"{name}.csv", to_csv(results).encode(), force=True)
    print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
