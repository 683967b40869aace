"""The benchmark of the exact coders: its rivals sample correctly, its report is complete."""

import functools

import jax
import numpy as np
import pytest

import recjax
from recjax.bench import numba_loops, numpy_loops, samplers
from recjax.results.files import load_results


@functools.cache
def our_steps(name):
    ((coder, arguments),) = (
        (c[0], c[1]) for c in samplers.CODERS if c[2] == name and c[0] != "ParallelGPRS"
    )
    m, s = samplers.targets(8000, 3)
    targets = recjax.Normal(m.astype(np.float32), s.astype(np.float32))
    keys = jax.random.split(jax.random.key(1), len(m))
    return np.asarray(
        getattr(recjax, coder)(**arguments)
        .encode_batch(keys, targets, recjax.Normal(0.0, 1.0))
        .steps
    )


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        # our coder of each is compiled
        pytest.param(
            kind,
            name,
            marks=() if (kind, name) == ("numpy", "a_star") else pytest.mark.slow,
        )
        for kind in ("numpy", "numba")
        for name in numpy_loops.LOOPS
    ],
)
def test_rivals_are_the_same_algorithms(kind, name):
    if kind == "numba" and not numba_loops.available():
        pytest.skip("Numba is not installed")
    loops = numpy_loops.LOOPS if kind == "numpy" else numba_loops.loops(2)
    m, s = samplers.targets(8000, 3)
    samples, steps = loops[name](np.random.Generator(np.random.SFC64(1)), m, s)
    z = (samples - m) / s
    assert abs(z.mean()) < 4.5 / len(z) ** 0.5
    assert abs(z.std() - 1) < 4.5 / (2 * len(z)) ** 0.5
    ours = our_steps(name)
    assert abs(steps.mean() - ours.mean()) < 5 * ((steps.var() + ours.var()) / len(z)) ** 0.5


@pytest.mark.slow
def test_reports_every_contestant(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(samplers, "BITS", (1, 12))
    chosen = [coder for coder in samplers.CODERS if coder[0] in ("GPRS", "BranchAndBoundGPRS")][:2]
    monkeypatch.setattr(samplers, "CODERS", tuple(chosen))
    monkeypatch.setattr(samplers, "LARGEST", 64)
    path = tmp_path / "samplers.json"
    report = samplers.main(path, seconds=0.01)
    assert load_results(path) == report
    names = [row["coder"].split(",")[0] for row in report.details["coders"]]
    assert sorted(names) == [
        "BranchAndBoundGPRS",
        "BranchAndBoundGPRS",
        "GPRS",
    ]  # GPRS at 1 bit only
    assert all(row["recjax"] > 0 and row["numpy"] > 0 for row in report.details["coders"])
    assert "left out" in capsys.readouterr().out
    with pytest.raises(ValueError, match="exists"):
        samplers.main(path, seconds=0.01)
    with pytest.raises(ValueError, match="seconds"):
        samplers.main(seconds=0)
