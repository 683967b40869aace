"""Programs for accelerators, from a host that has none: all of them can be lowered, and no loop step has grown."""

import json
import re
from pathlib import Path

import pytest

from experiments import hot_programs
from experiments.hot_programs import CODEC, CODERS, TABLE, coder_programs, step_equations

QUICK = ("AStar",)
GROWTH = 1.1
each_coder = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in CODERS]
)
STORED = json.loads(Path(TABLE).read_text())


def lowered(traced, platform):
    return traced.lower(lowering_platforms=(platform,)).as_text()


def check(program):
    traced = program.trace()
    for platform in ("cuda", "tpu"):
        text = lowered(traced, platform)
        assert "func.func public @main" in text
        assert "callback" not in text  # nothing of it runs on the host


@each_coder
def test_coders(name):
    programs = coder_programs(name)
    assert {"encode", "decode", "codelength", "batch"} <= programs.keys()
    for program in programs.values():
        check(program)


@pytest.mark.parametrize("name", CODEC)
def test_codec(name):
    check(CODEC[name]())


@pytest.mark.parametrize(("platform", "tile"), [("cpu", 2048), ("cuda", 32768), ("tpu", 32768)])
def test_products_have_the_shape_of_the_platform(platform, tile):
    # that of the compiled program, not of this host
    for name, lanes in (("transform-chains", 128), ("siren-blocks", 128)):
        text = lowered(CODEC[name]().trace(), platform)
        products = re.findall(r"dot_general.*-> tensor<(\d+)x(\d+)xf32>", text)
        assert {(int(rows), int(columns)) for rows, columns in products} == {(tile, lanes)}


@pytest.mark.parametrize("name", CODERS | CODEC)
def test_no_loop_step_has_grown(name):
    assert STORED.keys() == (CODERS | CODEC).keys()
    program = coder_programs(name)["encode"] if name in CODERS else CODEC[name]()
    found = step_equations(program)
    assert found <= GROWTH * STORED[name], (
        f"{found} equations per step instead of {STORED[name]}; if that is worth it: "
        f"python -m {hot_programs.__name__}"
    )
