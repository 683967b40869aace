"""Compiles the hot programs for a TPU ahead of time, without having one, and says what a loop step costs there.

    make tpu

needs libtpu, in an environment of its own, and ``JAX_PLATFORMS=cpu``. Programs are those of `experiments.hot_programs`:
the `encode` of every coder, on 4,096 examples side by side, and five of the codec, each compiled in a process of its
own within 90 seconds. The table shows the kernels of the loop steps and the memory beside those stored in
``experiments/results/tpu.json``; the exit code is 1 if a step has more kernels than stored. A program that has not
changed since is not compiled again, so that a run that was cut short goes on where it ended.
"""

import argparse
import functools
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from experiments.hot_programs import CODEC, CODERS, Program, many_lanes

STORED = Path(__file__).parent / "results" / "tpu.json"
RECENT = Path("runs") / "tpu.json"
TOPOLOGY = "v5e:2x2"
SECONDS = 90
# the host computes on its CPU, and libtpu asks nobody which TPU it is on
HOST = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
}
# what XLA launches nothing for
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"}


class Cost(NamedTuple):
    """What a program costs.

    Attributes:
        digest: of the lowered program.
        kernels: instructions of the bodies of its outermost loops, those of inner bodies counted once.
        bytes: of temporary memory.
    """

    digest: str
    kernels: int
    bytes: int


PROGRAMS: dict[str, Callable[[], Program]] = {
    **{name: functools.partial(many_lanes, name) for name in CODERS},
    **CODEC,
}


def digest_of(program: Program) -> str:
    """Of the program as it is handed to XLA."""
    text = program.trace().lower(lowering_platforms=("tpu",)).as_text()
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def cost_of(program: Program, digest: str) -> Cost:
    """Compiles a program for one chip."""
    chip = SingleDeviceSharding(topologies.get_topology_desc(TOPOLOGY, "tpu").devices[0])

    def placed(x: Any) -> jax.ShapeDtypeStruct:
        x = jax.eval_shape(lambda x: x, x)
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=chip)

    compiled = jax.jit(program.function).trace(*jax.tree.map(placed, program.arguments))
    compiled = compiled.lower().compile()
    memory = compiled.memory_analysis()
    return Cost(digest, loop_kernels(compiled.as_text()), memory.temp_size_in_bytes)


def loop_kernels(hlo: str) -> int:
    """Kernels in the loops of a compiled program.

    >>> loop_kernels('''
    ... %body (x: (s32[])) -> (s32[]) {
    ...   %x = (s32[]) parameter(0)
    ...   %y = s32[]{:T(128)} get-tuple-element(%x), index=0
    ...   %z = s32[]{:T(128)} fusion(%y), kind=kLoop, calls=%f
    ...   ROOT %t = (s32[]{:T(128)}) tuple(%z)
    ... }
    ... ENTRY %main (p: s32[]) -> s32[] {
    ...   %w = (s32[]) while(%p), condition=%c, body=%body
    ... }
    ... ''')
    1
    """
    bodies: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    for line in hlo.splitlines():
        if begin := re.match(r"(ENTRY )?%?([\w.-]+) .*\{$", line):
            current = bodies.setdefault("ENTRY" if begin[1] else begin[2], [])
        elif operation := re.match(r"\s+(?:ROOT )?%?[\w.-]+ = .*? ([a-z][a-z0-9-]*)\(", line):
            current.append((operation[1], line))

    def kernels(name: str) -> int:
        """Of a computation, those of its loops and branches included."""
        return sum(count(*operation) for operation in bodies[name])

    def inner(line: str) -> list[str]:
        """Computations that an instruction calls as loop body, branches or function."""
        called = re.findall(
            r"(?:body|to_apply|true_computation|false_computation)=%?([\w.-]+)", line
        )
        branches = re.search(r"branch_computations=\{([^}]*)\}", line)
        return called + (re.findall(r"[\w.-]+", branches[1]) if branches else [])

    def count(operation: str, line: str) -> int:
        if operation in ("while", "conditional", "call"):
            return sum(map(kernels, inner(line)))
        return operation not in _FREE

    def loops(name: str) -> int:
        total = 0
        for operation, line in bodies[name]:
            if operation == "while":
                total += count(operation, line)
            elif operation in ("conditional", "call"):
                total += sum(map(loops, inner(line)))
        return total

    return loops("ENTRY")


def load(path: Path) -> dict[str, Cost]:
    """A table of costs; empty without a file."""
    return {k: Cost(**v) for k, v in json.loads(path.read_text()).items()} if path.exists() else {}


def save(path: Path, costs: dict[str, Cost]) -> None:
    """Writes a table of costs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({name: cost._asdict() for name, cost in costs.items()}, indent=1)
    path.write_text(text + "\n")


def compiled(name: str) -> Cost | None:
    """The cost of a program, from a process of its own; None if it fails or takes too long."""
    command = [sys.executable, "-m", "experiments.tpu", "--compile", name]
    try:
        done = subprocess.run(
            command, env=os.environ | HOST, capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        print(f"{name}: more than {SECONDS} s", file=sys.stderr)
        return None
    if done.returncode:
        print(f"{name}: {done.stderr[-2000:]}", file=sys.stderr)
        return None
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def grown(names: list[str], stored: dict[str, Cost], recent: dict[str, Cost]) -> list[str]:
    """Prints both tables side by side; returns the programs whose steps have more kernels than stored."""
    print(f"{'program':28} {'kernels':>8} {'stored':>8} {'MiB':>8} {'stored':>8}")
    larger = []
    for name in names:
        cells = []
        for cost in (recent.get(name), stored.get(name)):
            cells.append((cost.kernels, f"{cost.bytes / 2**20:.1f}") if cost else ("-", "-"))
        (kernels, memory), (kernels_before, memory_before) = cells
        print(f"{name:28} {kernels:>8} {kernels_before:>8} {memory:>8} {memory_before:>8}")
        if name in recent and name in stored and recent[name].kernels > stored[name].kernels:
            larger.append(name)
    return larger


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="programs, all by default")
    parser.add_argument("--store", action="store_true", help="store what was found")
    parser.add_argument("--compile", help="compile this program here, and print its cost")
    arguments = parser.parse_args()
    if arguments.compile:
        program = PROGRAMS[arguments.compile]()
        print(json.dumps(cost_of(program, digest_of(program))._asdict()))
        return 0
    names = arguments.names or list(PROGRAMS)
    if unknown := sorted(set(names) - PROGRAMS.keys()):
        parser.error(f"no such programs: {', '.join(unknown)}")
    stored, recent, failed = load(STORED), load(RECENT), []
    for name in names:
        digest = digest_of(PROGRAMS[name]())
        if name in stored and stored[name].digest == digest:
            recent[name] = stored[name]
        elif name not in recent or recent[name].digest != digest:
            recent.pop(name, None)
            start = time.monotonic()
            cost = compiled(name)
            if cost is None:
                failed.append(name)
                continue
            print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr)
            recent[name] = cost
            save(RECENT, recent)
    larger = grown(names, stored, recent)
    if arguments.store:
        save(STORED, stored | {name: recent[name] for name in names if name in recent})
    for name in failed:
        print(f"{name}: not compiled")
    for name in larger:
        print(f"{name}: a step has grown")
    return int(bool(failed or larger))


if __name__ == "__main__":
    sys.exit(main())
