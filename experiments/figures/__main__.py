"""Runs figures: their numbers as JSON and CSV, their pictures as PNG and PDF.

    python -m experiments.figures                 # all, each within a few minutes
    python -m experiments.figures gprs --full     # one, at full scale

What is done is kept, so that an interrupted run goes on where it was.
"""

import dataclasses
import hashlib
import importlib
import pkgutil
import sys
import time
from pathlib import Path

import tyro

import experiments.figures
from experiments.figures.points import Points
from recjax.results import Results, save_results


@dataclasses.dataclass(frozen=True)
class Args:
    """Figures.

    Attributes:
        names: of the figures, all by default.
        full: whether to run at full scale.
        out: folder of the results.
    """

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    full: bool = False
    out: Path = Path("experiments/results/figures")


def figure_names() -> list[str]:
    """The modules of this package that have a figure."""
    found = (module.name for module in pkgutil.iter_modules(experiments.figures.__path__))
    return sorted(name for name in found if name not in ("__main__", "points"))


def run(name: str, args: Args) -> Results:
    """One figure, from what earlier runs of the same code have left."""
    module = importlib.import_module(f"experiments.figures.{name}")
    code = hashlib.sha256(Path(str(module.__file__)).read_bytes()).hexdigest()[:12]
    parts = args.out / ".parts"
    parts.mkdir(parents=True, exist_ok=True)
    return module.figure(args.full, Points(parts / f"{name}-{'full' if args.full else 'quick'}-{code}.json"))


def main(args: Args) -> None:
    known = figure_names()
    unknown = sorted(set(args.names) - set(known))
    if unknown:
        raise ValueError(f"there is no figure {', '.join(unknown)}; there are {', '.join(known)}")
    for name in args.names or known:
        start = time.perf_counter()
        results = run(name, args)
        save_results(results, args.out / f"{name}.json")
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except ValueError as error:
        sys.exit(f"error: {error}")
