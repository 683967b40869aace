"""Plants bugs in copies of the repository, one at a time, and runs the tests that must catch them."""

import argparse
import concurrent.futures
import dataclasses
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.bugs import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "runs" / "mutants.jsonl"
LEFT_OUT = (".git", ".venv", "runs", "demo", "__pycache__", ".*_cache", ".hypothesis")
WORKERS = 2
SECONDS = 900  # after which tests count as hung
OUTCOMES = {0: "survived", 1: "caught"}  # by pytest's exit code


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one bug, or of unchanged code.

    Attributes:
        name: the mutant, or "unchanged".
        file: where the bug was planted.
        tests: what pytest was asked to run, empty for the whole suite.
        outcome: caught, survived, passed (unchanged code), hung or broken, with pytest's exit code.
        seconds: duration of pytest.
        digest: of the mutant, the file and the tests; an outcome with another digest is out of date.
    """

    name: str
    file: str
    tests: str
    outcome: str
    seconds: float
    digest: str

    @property
    def good(self) -> bool:
        """The tests did what they should."""
        return self.outcome in ("caught", "passed", "hung")


def faults(tree: Path, mutants: Sequence[Mutant]) -> list[str]:
    """What is wrong with mutants for a tree: an old text that is not there exactly once, a missing test file."""
    wrong = [
        f"{name}: two mutants" for name, n in Counter(m.name for m in mutants).items() if n > 1
    ]
    for mutant in mutants:
        file = tree / mutant.file
        count = file.read_text().count(mutant.old) if file.is_file() else 0
        if count != 1:
            wrong.append(f"{mutant.name}: its old text occurs {count} times in {mutant.file}")
        if mutant.old == mutant.new:
            wrong.append(f"{mutant.name}: it changes nothing")
        if not (tree / mutant.test).is_file():
            wrong.append(f"{mutant.name}: there is no {mutant.test}")
    return wrong


class Copy:
    """A copy of the repository in a temporary folder, with at most one bug in it."""

    def __init__(self, tree: Path, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen | None = None
        shutil.copytree(tree, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))

    def run(self, mutant: Mutant | None, tests: str) -> tuple[str, float]:
        """The outcome of tests with a bug, or without any, and their seconds."""
        if mutant is None:
            return self._pytest(tests, unchanged=True)
        file = self.folder / mutant.file
        text = file.read_text()
        file.write_text(text.replace(mutant.old, mutant.new))
        try:
            return self._pytest(tests, unchanged=False)
        finally:
            file.write_text(text)

    def _pytest(self, tests, unchanged):
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        start = time.monotonic()
        self.process = subprocess.Popen(
            [*command, *tests.split()],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # tests may leave processes behind when they are stopped
        )
        try:
            code = self.process.wait(timeout=SECONDS if tests else None)
            outcome = OUTCOMES.get(code, f"broken ({code})")
            if unchanged:
                outcome = {"survived": "passed", "caught": "broken (1)"}.get(outcome, outcome)
        except subprocess.TimeoutExpired:
            outcome = "broken (hung)" if unchanged else "hung"
        finally:
            self.stop()
        return outcome, time.monotonic() - start

    def stop(self) -> None:
        """Ends tests that still run, with all that they started."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def digest(tree: Path, mutant: Mutant | None, tests: str) -> str:
    """Of everything that decides an outcome and is cheap to look at."""
    hasher = hashlib.sha256(repr((mutant, tests)).encode())
    files = [*tests.split(), *([mutant.file] if mutant else [])]
    for file in files or ["pyproject.toml"]:
        hasher.update((tree / file).read_bytes())
    return hasher.hexdigest()[:16]


def known(results: Path) -> dict[tuple[str, str, str], Outcome]:
    """The outcomes of earlier runs, by name, tests and digest; what was broken is tried again."""
    lines = results.read_text().splitlines() if results.is_file() else []
    outcomes = [Outcome(**json.loads(line)) for line in lines]
    return {(o.name, o.tests, o.digest): o for o in outcomes if not o.outcome.startswith("broken")}


def tasks(mutants: Sequence[Mutant], whole: bool) -> list[tuple[Mutant | None, str]]:
    """Mutants with the tests to run; test files on unchanged code first, which also compiles what is shared."""
    if whole:
        return [(mutant, "") for mutant in mutants]
    files = dict.fromkeys(mutant.test for mutant in mutants)
    return [*((None, file) for file in files), *((mutant, mutant.test) for mutant in mutants)]


def run_all(
    tree: Path, todo: Sequence[tuple[Mutant | None, str]], results: Path, workers: int
) -> list[Outcome]:
    """Runs what ``results`` does not hold yet, each line written as soon as it is known."""
    done, lock, own, copies = known(results), threading.Lock(), threading.local(), []
    results.parent.mkdir(parents=True, exist_ok=True)

    def one(task, folder):
        mutant, tests = task
        name, file = (mutant.name, mutant.file) if mutant else ("unchanged", "")
        key = name, tests, digest(tree, mutant, tests)
        if key in done:
            return done[key]
        if not hasattr(own, "copy"):
            own.copy = Copy(tree, Path(tempfile.mkdtemp(dir=folder)) / "tree")
            copies.append(own.copy)
        text, seconds = own.copy.run(mutant, tests)
        outcome = Outcome(name, file, tests, text, round(seconds, 1), key[2])
        with lock, results.open("a") as out:
            out.write(json.dumps(dataclasses.asdict(outcome)) + "\n")
            print(row(outcome), flush=True)
        return outcome

    with (
        tempfile.TemporaryDirectory(prefix="recjax-mutants-") as folder,
        concurrent.futures.ThreadPoolExecutor(workers) as pool,
    ):
        futures = [pool.submit(one, task, folder) for task in todo]
        try:
            return [future.result() for future in futures]
        except BaseException:
            # what has been tried is in the results; threads wait for tests, which are not interrupted
            pool.shutdown(wait=False, cancel_futures=True)
            for copy in copies:
                copy.stop()
            raise


def row(outcome: Outcome) -> str:
    where = outcome.file or outcome.tests
    return f"{outcome.name:<36} {where:<48} {outcome.outcome:<12} {outcome.seconds:7.1f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a table; 1 if a bug survives, or a mutant no longer fits the code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="mutants to try, or the start of their names")
    parser.add_argument("--fresh", action="store_true", help="forget earlier outcomes")
    parser.add_argument("--whole", action="store_true", help="run every quick test, not one file")
    parser.add_argument("--draw", type=int, metavar="N", help="only N of them, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tree", type=Path, default=ROOT, help="the repository to copy")
    parser.add_argument("--results", type=Path, default=RESULTS, help="outcomes so far, JSON lines")
    parser.add_argument("--workers", type=int, default=WORKERS)
    args = parser.parse_args(argv)
    chosen = [m for m in MUTANTS if not args.names or m.name.startswith(tuple(args.names))]
    if not chosen:
        parser.error(f"no mutant is called {' or '.join(args.names)}")
    if args.draw is not None:
        chosen = random.Random(args.seed).sample(chosen, min(args.draw, len(chosen)))
    if wrong := faults(args.tree, chosen):
        print(*wrong, sep="\n")
        return 1
    if args.fresh:
        args.results.unlink(missing_ok=True)
    start = time.monotonic()
    outcomes = run_all(args.tree, tasks(chosen, args.whole), args.results, args.workers)
    print(f"\n{'mutant':<36} {'file':<48} {'outcome':<12} seconds")
    print(*map(row, outcomes), sep="\n")
    bad = [outcome.name for outcome in outcomes if not outcome.good]
    planted = [outcome for outcome in outcomes if outcome.file]
    print(
        f"\n{len(planted)} bugs planted, {sum(outcome.good for outcome in planted)} caught"
        f", {time.monotonic() - start:.0f} s"
    )
    if bad:
        print("not as it should be:", *bad)
    return 1 if bad else 0
