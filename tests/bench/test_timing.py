"""How the benchmarks take time, and the targets that they code."""

import itertools

import numpy as np
import pytest

from recjax.bench import samplers, timing


def test_the_best_run_of_a_turn_and_the_median_turn(monkeypatch):
    """Of three turns of two runs each; what ran first, once, does not count."""
    seconds = {"a": iter([9, 5, 4, 8, 3, 7, 6]), "b": iter([1, 1, 1, 2, 2, 3, 3])}
    order, now = [], [0.0]

    def contestant(name):
        def run():
            order.append(name)
            now[0] += next(seconds[name])

        return run, 1.0

    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    found = timing.interleaved({name: contestant(name) for name in seconds}, 0.0, runs=2, turns=3)
    assert found == {"a": 4, "b": 2}
    assert "".join(order) == "ab" + 3 * "aabb"


@pytest.mark.parametrize("bits", [1, 4, 12])
def test_targets_have_the_divergence_that_they_stand_for(bits):
    m, s = samplers.targets(1000, bits)
    kl = (0.5 * (m * m + s * s - 1) - np.log(s)) / np.log(2)
    np.testing.assert_allclose(kl, bits, rtol=1e-9)
    assert len(np.unique(s)) == 1000 and {-1, 1} == set(np.sign(m))


def test_runs_grow_to_powers_of_two():
    sizes = [samplers._grown(64, seconds) for seconds in (1e-9, 0.01, 0.3, 100.0)]
    assert sizes[0] == samplers.LARGEST and sizes[2] == 64 and sizes[3] == 1
    assert all(a >= b for a, b in itertools.pairwise(sizes))
