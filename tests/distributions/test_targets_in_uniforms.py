"""Triangles and mixtures of intervals in uniform proposals against closed forms, SciPy, and coded samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import recjax
from recjax.distributions import pair_of

LOW, HIGH, WEIGHTS = (
    np.float32([2.0, 0.5, 3.0]),
    np.float32([2.5, 1.5, 3.25]),
    np.float32([3.0, 5.0, 2.0]),
)
P = recjax.Uniform(0.0, 4.0)


def mixture_cdf(x):
    x = np.asarray(x)[:, None]
    return (WEIGHTS / WEIGHTS.sum() * np.clip((x - LOW) / (HIGH - LOW), 0, 1)).sum(1)


TARGETS = [
    pytest.param(recjax.Triangular(1.0, 2.5), stats.triang(0.5, 1.0, 1.5).cdf, id="Triangular"),
    pytest.param(recjax.UniformMixture(LOW, HIGH, WEIGHTS), mixture_cdf, id="UniformMixture"),
]


@pytest.mark.parametrize("q,cdf", TARGETS)
def test_cdf_density_and_quantiles(q, cdf):
    x = np.linspace(0, 4, 401, dtype=np.float32) + np.float32(1e-3)
    np.testing.assert_allclose(jax.vmap(q.cdf)(x), cdf(x), atol=2e-6)
    density = np.exp(jax.vmap(q.log_prob)(x))
    np.testing.assert_allclose(
        density[:-1],
        np.diff(cdf(np.stack([x - 5e-4, x + 5e-4]).T.ravel()))[::2][:-1] / 1e-3,
        atol=2e-2,
    )
    u = np.float32([0.001, 0.1, 0.45, 0.501, 0.9, 0.999])
    np.testing.assert_allclose(cdf(np.asarray(jax.vmap(q.icdf)(u))), u, atol=2e-6)
    bits = np.random.default_rng(1).integers(0, 2**32, (20_000, 1), dtype=np.uint32)
    assert stats.kstest(np.asarray(jax.vmap(q.sample_from_bits)(bits)), cdf).pvalue > 1e-3


@pytest.mark.parametrize("ell", [1.0, 0.25, 1e-3])
def test_closed_forms_of_triangles(ell):
    pair = recjax.Triangular(0.0, 4 * ell), P
    assert abs(recjax.kl_bits(*pair) - (np.log(2) - np.log(ell) - 0.5) / np.log(2)) < 1e-5
    assert abs(recjax.channel_simulation_bits(*pair) - (0.5 - np.log(ell)) / np.log(2)) < 1e-5
    assert abs(recjax.renyi_inf_bits(*pair) - np.log2(2 / ell)) < 1e-5
    h = np.float32([0.1, 0.5, 0.9, 1.1]) * np.float32(2 / ell)
    w_p, w_q = recjax.width_function(*pair, h)
    np.testing.assert_allclose(w_p, np.maximum(ell * (1 - h * ell / 2), 0), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(w_q, np.maximum(1 - (h * ell / 2) ** 2, 0), rtol=1e-5, atol=1e-7)


def test_divergences_of_mixtures():
    pair = recjax.UniformMixture(LOW, HIGH, WEIGHTS), P
    share, length = WEIGHTS / 10.0, (HIGH - LOW) / 4.0
    assert abs(recjax.kl_bits(*pair) - np.sum(share * np.log2(share / length))) < 1e-5
    h = (np.arange(400_000) + 0.5) * 1e-5
    w = (length * (share / length >= h[:, None])).sum(1)
    assert (
        abs(
            recjax.channel_simulation_bits(*pair)
            + np.sum(w * np.log2(np.where(w > 0, w, 1))) * 1e-5
        )
        < 1e-4
    )
    at = np.float32([0.0, 1.0, 2.2, 3.0, 4.0])
    excess = (length * np.maximum(share / length - at[:, None], 0)).sum(1)
    np.testing.assert_allclose(recjax.hockey_stick(*pair, at), excess, atol=1e-6)


@pytest.mark.parametrize("q,cdf", TARGETS)
def test_masses_of_narrow_intervals(q, cdf):
    with jax.enable_x64(True):
        low = np.array([0.4, 0.9, 1.4999, 1.75, 2.1, 2.3, 3.9])
        double = jax.tree.map(lambda x: jnp.asarray(x, np.float64), q)
        for width in (1.0, 1e-3, 1e-9):
            mass = jax.vmap(double.mass)(low, low + width)
            difference = cdf(low + width) - cdf(low)
            np.testing.assert_allclose(mass, difference, rtol=1e-7 + 1e-15 / width, atol=1e-15)


@pytest.mark.parametrize("q,cdf", TARGETS)
def test_the_largest_ratio_on_an_interval(q, cdf):
    pair = pair_of(q, P)
    rng = np.random.default_rng(0)
    low, high = np.sort(rng.uniform(0, 4, (2, 300)), 0).astype(np.float32)
    x = low + (high - low) * np.linspace(0, 1, 2001, dtype=np.float32)[:, None]
    largest = np.asarray(jax.vmap(jax.vmap(pair.log_ratio))(x)).max(0)
    bound = jax.vmap(pair.log_ratio_max_on)(low, high)
    seen = largest > -np.inf
    np.testing.assert_allclose(np.exp(bound)[seen], np.exp(largest)[seen], atol=2e-2)
    assert (bound >= largest - 1e-5).all() and (bound[high < 0.5] == -np.inf).all()


def test_bad_values_are_refused():
    with pytest.raises(ValueError, match="within"):
        recjax.kl_bits(recjax.Triangular(-1.0, 2.0), P)
    with pytest.raises(ValueError, match="within"):
        recjax.kl_bits(recjax.UniformMixture([0.0, 3.0], [1.0, 5.0], [1.0, 1.0]), P)
    with pytest.raises(ValueError, match="high"):
        recjax.Triangular(1.0, 1.0)
    with pytest.raises(ValueError, match="overlap"):
        recjax.UniformMixture([0.0, 0.5], [1.0, 2.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="weights"):
        recjax.UniformMixture([0.0, 1.0], [1.0, 2.0], [1.0, -1.0])
