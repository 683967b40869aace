"""The benchmark of the exact coders: its rivals sample correctly, its report is complete."""

import json

import numpy as np
import pytest

from recjax.bench import numba_loops, numpy_loops, samplers


@pytest.mark.parametrize("name", numpy_loops.LOOPS)
@pytest.mark.parametrize("kind", ["numpy", "numba"])
def test_rivals_are_exact(kind, name):
    if kind == "numba" and not numba_loops.available():
        pytest.skip("Numba is not installed")
    loops = numpy_loops.LOOPS if kind == "numpy" else numba_loops.loops(2)
    m, s = samplers.targets(8000, 3)
    samples, steps = loops[name](np.random.Generator(np.random.SFC64(1)), m, s)
    z = (samples - m) / s
    assert abs(z.mean()) < 4.5 / len(z) ** 0.5
    assert abs(z.std() - 1) < 4.5 / (2 * len(z)) ** 0.5
    expected = np.exp([numpy_loops.shape(*each)[2] for each in zip(m, s)]).mean() + (name == "a_star")
    if name == "branch_and_bound":
        assert 3.5 < steps.mean() < 5
    else:
        assert abs(steps.mean() - expected) < 4.5 * steps.std() / len(z) ** 0.5


def test_reports_every_contestant(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(samplers, "BITS", (1, 12))
    chosen = [
        coder for coder in samplers.CODERS if coder[2] in ("gprs", "branch_and_bound") and coder[0] != "ParallelGPRS"
    ]
    monkeypatch.setattr(samplers, "CODERS", tuple(chosen))
    monkeypatch.setattr(samplers, "LARGEST", 64)
    path = tmp_path / "samplers.json"
    report = samplers.main(path, seconds=0.01)
    assert json.loads(path.read_text()) == report
    names = [row["coder"].split(",")[0] for row in report["results"]]
    assert sorted(names) == ["BranchAndBoundGPRS", "BranchAndBoundGPRS", "GPRS"]
    assert all(row["recjax"] > 0 and row["numpy"] > 0 for row in report["results"])
    assert "left out" in capsys.readouterr().out
    with pytest.raises(ValueError, match="exists"):
        samplers.main(path, seconds=0.01)
    with pytest.raises(ValueError, match="seconds"):
        samplers.main(seconds=0)
