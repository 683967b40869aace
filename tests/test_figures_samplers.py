"""Figures of samplers, tiny: what they claim, and that what they draw can be written and read."""

import jax
import numpy as np
import pytest
from laws import SIGMAS

import recjax
from experiments import many_targets
from experiments.figures import (
    a_star,
    channel_simulation_divergence,
    fixed_budgets,
    gprs,
    gprs_illustration,
    greedy_rejection_coding,
    parallel_gprs,
)
from experiments.figures.points import Points
from experiments.published import load_panel
from recjax.results.files import load_results, save_results

pytestmark = pytest.mark.standard_promotion


def near(values, expected, relative=0.0, case=0):
    gap = abs(values["mean"][case] - expected)
    return gap <= SIGMAS * values["error"][case] + relative * expected


@pytest.mark.slow
def test_steps_of_greedy_rejection_do_not_grow_with_the_largest_ratio():
    published = load_panel("greedy_rejection_coding", "Steps at D_KL = 3 bits")["GRCS"]
    found = greedy_rejection_coding.steps("GRCS", 1000)
    assert all(near(found, y, 0.05, case) for case, y in enumerate(published.y))
    assert near(found, found["mean"][1], 0.02, case=5)


@pytest.mark.slow
def test_steps_over_channels_are_as_published():
    published = load_panel("gprs", "Steps against mutual information")[
        "GPRS, split on sample, mean"
    ]
    points = [2, -1]
    found = gprs.over_channels(
        gprs.TREES["GPRS, split on sample"], tuple(published.x[k] for k in points), 1000
    )
    assert all(near(found["steps"], published.y[k], 0.02, case) for case, k in enumerate(points))
    assert np.all(np.subtract(found["bits"]["mean"], [published.x[k] for k in points]) > 1)


@pytest.mark.slow
def test_parallel_steps_and_messages():
    found = parallel_gprs.code(8, 300)
    assert near(found["steps"], (75.4 + 7) / 8)
    assert near(found["place"], parallel_gprs.REFERENCE[8][1], 0.01)


@pytest.mark.slow
def test_bias_and_rate_of_a_fixed_budget():
    found = fixed_budgets.code("ordered random coding", 8, 0, 200)
    bias, ideal = fixed_budgets.REFERENCE[8]
    assert near(found["bias"], bias[1], 0.01) and found["bias"]["mean"][0] > 1.1
    assert abs(found["ideal"] - ideal[1]) < 0.5


@pytest.mark.slow
def test_intervals_have_the_divergence_that_they_stand_for():
    targets, p = a_star.uniform_cases()
    wanted = [*a_star.D_INF["uniform"], *a_star.KL, *[10] * len(a_star.MODES)]
    assert len(targets.low) == len(wanted)
    for case in (0, 8, 9, 19, 20, 24):
        q = recjax.UniformMixture(
            *(np.asarray(part)[case] for part in (targets.low, targets.high, targets.weights))
        )
        assert float(recjax.renyi_inf_bits(q, p)) == pytest.approx(wanted[case], abs=2e-3)


@pytest.mark.slow
def test_divergences():
    kl, d_cs = channel_simulation_divergence.laplace(np.array([0.0, -10.0]))
    assert np.subtract(d_cs, kl) == pytest.approx([0, 0.83275], abs=1e-3)
    assert channel_simulation_divergence.normal(5) == pytest.approx([5.9017, 7.3122], abs=1e-3)
    w_p, w_q, survival = channel_simulation_divergence.widths(np.array([0.0, 2.0]))
    assert survival == pytest.approx(np.subtract(w_q, np.multiply([0.0, 2.0], w_p)), abs=1e-5)


@pytest.mark.slow
def test_the_search_drawn_is_that_of_the_coders():
    q, p, key = gprs_illustration.Q, gprs_illustration.P, gprs_illustration.KEY
    for processes, coder in ((1, recjax.GPRS()), (2, recjax.ParallelGPRS(n_processes=2))):
        code = coder.encode(key, q, p)
        times, places, accepted = gprs_illustration.search(processes)
        assert accepted == code.index and places[accepted] == code.sample
        beyond = processes - 1
        assert np.sum(times <= times[accepted]) + beyond == code.steps
    code = recjax.BranchAndBoundGPRS().encode(key, q, p)
    times, places, ends = gprs_illustration.path(np.asarray(code.index))
    below = times < gprs_illustration.bound(places)
    assert (
        len(times) == code.steps
        and places[-1] == code.sample
        and below.tolist() == [False] * (len(times) - 1) + [True]
    )
    assert np.all((ends[:, 0] <= places) & (places <= ends[:, 1]))


def any_summary(cases):
    return many_targets.summary(np.random.default_rng(0).exponential(size=(cases, 3)))


def any_code(label, cases, n):
    return dict.fromkeys(
        ("steps", "log2 steps", "length"), any_summary(len(jax.tree.leaves(cases[0])[0]))
    )


STAND_INS = {
    a_star: {"code": any_code},
    fixed_budgets: {
        "code": lambda *_: {"bias": any_summary(1), "bits": any_summary(1), "ideal": 7.0}
    },
    gprs: {
        "over_channels": lambda coder, x, n: dict.fromkeys(
            ("steps", "bits", "published formula", "depth"), any_summary(len(x))
        ),
        "against_d_inf": lambda coder, x, n: any_summary(len(x)),
    },
    greedy_rejection_coding: {
        "steps": lambda *_: any_summary(6),
        "lengths": lambda *_: [any_summary(6)] * 2,
    },
    parallel_gprs: {"code": lambda *_: dict.fromkeys(("steps", "place", "bits"), any_summary(1))},
    channel_simulation_divergence: {"normal": lambda d: [float(d), d + 1.0]},
    gprs_illustration: {},
}


# two of them compute what they show, or show the same, at either scale
CASES = [(module, full) for module in STAND_INS for full in (False, True)]
CASES = [
    case
    for case in CASES
    if case[0] not in (gprs_illustration, channel_simulation_divergence) or not case[1]
]


@pytest.mark.parametrize(
    ("module", "full"),
    [
        # those without a stand-in compute
        pytest.param(
            *case,
            marks=pytest.mark.slow
            if case[0] in (gprs_illustration, channel_simulation_divergence)
            else (),
        )
        for case in CASES
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_results_are_written_and_read(module, full, monkeypatch, tmp_path):
    """With numbers of the right shapes in the place of what takes long."""
    for name, stand_in in STAND_INS[module].items():
        monkeypatch.setattr(module, name, stand_in)
    results = module.figure(full, Points(tmp_path / "points.json"))
    save_results(results, tmp_path / "results.json")
    assert load_results(tmp_path / "results.json") == results
    assert results.name == module.__name__.split(".")[-1]
    assert all(panel.curves and panel.y.label for panel in results.panels)
    for panel in results.panels:
        labels = [(curve.label, curve.kind) for curve in panel.curves]
        assert len(set(labels)) == len(labels)
