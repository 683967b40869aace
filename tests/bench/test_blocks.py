"""The benchmark of the block coder, on a small problem: its rivals search correctly, its report is complete."""

import numpy as np
import pytest

from recjax.bench import blocks
from recjax.results.files import load_results


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(blocks, "BUDGET", 12)
    monkeypatch.setattr(blocks, "CANDIDATES", 2**12)
    monkeypatch.setattr(blocks, "BLOCKS", 512)


@pytest.mark.parametrize("cores", [1, 2])
def test_numpy_finds_the_best_candidates(small, cores):
    mu, sigma, features = blocks._problem()
    z = features[:, blocks.WIDTH : -1].astype(float)
    score = (0.5 * z**2)[:, None] - 0.5 * ((z[:, None] - mu[None, :40]) / sigma[None, :40]) ** 2
    best = (score.sum(axis=2) + features[:, -1:]).argmax(axis=0)
    found = blocks._numpy_shared(mu, sigma, features, cores)
    assert len(found) == 7 * cores
    for run, work in found.values():
        index = np.hstack(run())
        assert len(index) == work
        assert (
            index[:40] == best[: len(index)]
        ).mean() > 0.95  # rounding may decide between near ties


@pytest.mark.slow
def test_reports_every_contestant(small, tmp_path, capsys):
    path = tmp_path / "blocks.json"
    report = blocks.main(path, seconds=0.01)
    assert load_results(path) == report
    results = report.details
    assert len(results["blocks"]) == 4 and len(results["products_gflops"]) == 12
    printed = capsys.readouterr().out
    for row in results["blocks"]:
        assert f"{row['contestant']:<52}{row['microseconds_a_block']:>10.1f}" in printed
    with pytest.raises(ValueError, match="exists"):
        blocks.main(path, seconds=0.01)
    with pytest.raises(ValueError, match="seconds"):
        blocks.main(seconds=0)
