"""A* with a budget: how far from the target, and the budgets that promise it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import SIGMAS, N, keys, same_law, same_mean
from scipy import stats

import recjax

P = recjax.Normal(0.0, 1.0)
PAIRS = [(1.0, 0.25), (0.5, 0.6), (2.0, 0.1)]


@functools.cache
def codes(coder, loc, scale):
    encode = jax.jit(jax.vmap(coder.encode, (0, None, None)))
    q = recjax.Normal(jnp.float32(loc), jnp.float32(scale))
    return jax.tree.map(np.asarray, encode(keys(N, 600), q, P))


def total_variation(sample, loc, scale, cells=40):
    """An estimate over intervals of equal probability: not above the true value but for noise."""
    u = stats.norm(loc, scale).cdf(sample.astype(np.float64))
    return 0.5 * np.abs(np.histogram(u, cells, (0, 1))[0] / u.size - 1 / cells).sum()


NOISE = 0.5 * np.sqrt(2 / np.pi * 39 / N) + SIGMAS * 0.5 / np.sqrt(
    N
)  # of the estimate for exact samples, at most


@pytest.mark.parametrize(
    "wanted,bounded,loc,scale",
    [
        # another budget is another program
        pytest.param(wanted, bounded, *pair, marks=marks)
        for wanted in (0.9, 0.5, 0.3)
        for bounded in (False, True)
        for pair in PAIRS
        for marks in [() if (wanted, pair) == (0.3, PAIRS[0]) else pytest.mark.slow]
    ],
)
def test_samples_are_as_close_as_promised(wanted, bounded, loc, scale):
    q = recjax.Normal(loc, scale)
    largest = float(recjax.renyi_inf_bits(q, P)) if bounded else np.inf
    bits = recjax.budget_bits_for_total_variation(float(recjax.kl_bits(q, P)), wanted, largest)
    budget = min(
        int(np.ceil(float(bits))), 11
    )  # with fewer candidates it is the harder to be close
    sample = codes(recjax.BudgetedAStar(budget_bits=budget), loc, scale).sample
    assert total_variation(sample, loc, scale) <= wanted + NOISE


@pytest.mark.slow
def test_a_budget_far_below_is_not_close():
    sample = codes(recjax.BudgetedAStar(budget_bits=1), 1.0, 0.25).sample
    assert total_variation(sample, 1.0, 0.25) > 0.5 + NOISE


@pytest.mark.parametrize("budget", [5, pytest.param(2, marks=pytest.mark.slow)])
def test_it_is_a_star_while_the_budget_lasts(budget):
    exact, code = (
        codes(recjax.AStar(), 1.0, 0.25),
        codes(recjax.BudgetedAStar(budget_bits=budget), 1.0, 0.25),
    )
    found = exact.index < 2**budget
    assert 0.3 < found.mean() < 1
    np.testing.assert_array_equal(code.index[found], exact.index[found])
    np.testing.assert_array_equal(code.sample[found], exact.sample[found])
    # hence the total variation is at most the probability that it does not last
    lost = 1 - found.mean()
    assert total_variation(code.sample, 1.0, 0.25) <= lost + NOISE
    kl, largest = (
        float(bits(recjax.Normal(1.0, 0.25), P)) for bits in (recjax.kl_bits, recjax.renyi_inf_bits)
    )
    assert lost <= recjax.limits.a_star_log_index_bound_bits(kl) / budget
    assert lost - SIGMAS * np.sqrt(lost / N) <= np.exp(-(2.0**budget) * 2.0**-largest)


def test_a_plain_simulation_agrees():
    code, rng = codes(recjax.BudgetedAStar(budget_bits=4), 1.0, 0.25), np.random.default_rng(12)
    z = rng.standard_normal((N, 16))
    times = np.cumsum(rng.exponential(size=z.shape), axis=1)
    index = np.argmin(times / np.exp(stats.norm.logpdf(z, 1, 0.25) - stats.norm.logpdf(z)), axis=1)
    assert same_law(code.sample, z[np.arange(N), index])
    assert same_mean(np.log2(code.index + 1.0), np.log2(index + 1.0))
    assert (code.status == recjax.Status.DONE).all() and (code.steps == 16).all()


def test_budgets():
    budget = recjax.budget_bits_for_total_variation
    # in nats: (D_KL + 1/e + ln 2) / eps
    nats = (3.0 * np.log(2) + 1 / np.e + np.log(2)) / 0.25
    np.testing.assert_allclose(budget(3.0, 0.25), nats / np.log(2), rtol=1e-6)
    np.testing.assert_allclose(budget(3.0, 0.01, 4.0), 4 + np.log2(np.log(100)), rtol=1e-6)
    np.testing.assert_allclose(budget(3.0, 0.9, 40.0), budget(3.0, 0.9), rtol=1e-6)
    np.testing.assert_allclose(
        budget(np.float32([1, 2]), np.float32(0.5)), [budget(1.0, 0.5), budget(2.0, 0.5)], rtol=1e-6
    )
    assert budget(3.0, 1.0, 4.0) == 0
    np.testing.assert_allclose(
        budget(3.0, np.float32([0.5, 1.0])), [budget(3.0, 0.5), budget(3.0, 0.5) / 2], rtol=1e-6
    )
    np.testing.assert_allclose(jax.jit(budget)(3.0, 0.25), budget(3.0, 0.25), rtol=1e-6)


@pytest.mark.parametrize("eps", [0.0, -0.5, 1.5, np.nan])
def test_bad_distances_are_refused(eps):
    with pytest.raises(ValueError, match="total_variation must be in"):
        recjax.budget_bits_for_total_variation(3.0, eps)


@pytest.mark.parametrize("kl,largest", [(-1.0, 3.0), (np.nan, 3.0), (1.0, -1.0), (1.0, np.nan)])
def test_bad_divergences_are_refused(kl, largest):
    with pytest.raises(ValueError, match="must not be negative"):
        recjax.budget_bits_for_total_variation(kl, 0.5, largest)
