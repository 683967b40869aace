"""KL divergence and the closed-form prior, against scipy and a numerical optimiser."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, optimize, stats

from recjax.codec.siren.posterior import LatentPrior, Posterior, initial_posterior, refit_prior

RNG = np.random.default_rng(0)
MEAN = RNG.standard_normal((7, 4)).astype(np.float32)
LOG_STD = (-0.5 + 0.3 * RNG.standard_normal((7, 4))).astype(np.float32)
POSTERIOR = Posterior(mean=jnp.asarray(MEAN), log_std=jnp.asarray(LOG_STD))
PRIOR = LatentPrior(loc=jnp.array([0.5, -1.0, 2.0, 0.0]), scale=jnp.array([0.1, 1.0, 3.0, 0.7]))


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (1.5, 0.2), (-0.3, 2.0)])
def test_kl_is_the_integral_of_the_log_ratio(mean, std):
    kl = Posterior(mean=jnp.full((1, 1), mean), log_std=jnp.full((1, 1), np.log(std))).kl_nats()
    q = stats.norm(mean, std)
    expected, _ = integrate.quad(
        lambda x: q.pdf(x) * (q.logpdf(x) - stats.norm.logpdf(x)), mean - 10 * std, mean + 10 * std
    )
    np.testing.assert_allclose(kl[0, 0], expected, rtol=1e-5, atol=1e-6)


def test_sample_has_the_moments_of_the_posterior():
    noise = jnp.asarray(np.random.default_rng(1).standard_normal((20_000, 4)), jnp.float32)
    wide = Posterior(
        mean=jnp.tile(POSTERIOR.mean[:1], (20_000, 1)),
        log_std=jnp.tile(POSTERIOR.log_std[:1], (20_000, 1)),
    )
    draws = np.asarray(wide.sample(noise))
    std = np.exp(LOG_STD[0])
    assert np.all(np.abs(draws.mean(0) - MEAN[0]) < 5 * std / np.sqrt(20_000))
    assert np.all(np.abs(draws.std(0) / std - 1) < 5 / np.sqrt(2 * 20_000))


def mean_kl(mean, std, loc, scale):
    return (0.5 * ((std**2 + (mean - loc) ** 2) / scale**2 - 1) + np.log(scale / std)).mean(0)


def test_refitted_prior_minimises_the_mean_kl():
    refitted, whitened, unit = refit_prior(PRIOR, POSTERIOR)
    mean = np.asarray(PRIOR.unwhiten(POSTERIOR.mean), np.float64)
    std = np.asarray(PRIOR.scale, np.float64) * np.exp(LOG_STD.astype(np.float64))
    for i in range(4):
        best = optimize.minimize(
            lambda p, i=i: mean_kl(mean[:, i], std[:, i], p[0], np.exp(p[1])),
            [0.0, 0.0],
            method="BFGS",
            tol=1e-9,
        )
        np.testing.assert_allclose(refitted.loc[i], best.x[0], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(refitted.scale[i], np.exp(best.x[1]), rtol=1e-3)
        np.testing.assert_allclose(whitened.kl_nats()[:, i].mean(), best.fun, rtol=1e-4)
    np.testing.assert_allclose(unit, refitted.scale / PRIOR.scale, rtol=1e-5)
    assert np.all(
        np.asarray(whitened.kl_nats().mean(0)) <= np.asarray(POSTERIOR.kl_nats().mean(0)) + 1e-6
    )


def test_refitting_leaves_the_weights_where_they_were():
    refitted, whitened, _ = refit_prior(PRIOR, POSTERIOR)
    np.testing.assert_allclose(
        refitted.unwhiten(whitened.mean), PRIOR.unwhiten(POSTERIOR.mean), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(
        refitted.scale[None] * jnp.exp(whitened.log_std),
        PRIOR.scale[None] * jnp.exp(POSTERIOR.log_std),
        rtol=1e-5,
    )
    noise = jnp.ones((7, 4))
    np.testing.assert_allclose(
        refitted.unwhiten(whitened.sample(noise)),
        PRIOR.unwhiten(POSTERIOR.sample(noise)),
        rtol=1e-5,
        atol=1e-5,
    )


def test_gradients_grow_with_the_unit():
    refitted, whitened, unit = refit_prior(PRIOR, POSTERIOR)
    loss = lambda prior, z: jnp.sum(jnp.sin(prior.unwhiten(z)))
    before = jax.grad(loss, argnums=1)(PRIOR, POSTERIOR.mean)
    after = jax.grad(loss, argnums=1)(refitted, whitened.mean)
    np.testing.assert_allclose(after, before * unit[None], rtol=1e-4, atol=1e-6)


def test_refitting_twice_changes_nothing():
    refitted, whitened, _ = refit_prior(PRIOR, POSTERIOR)
    again, same, unit = refit_prior(refitted, whitened)
    np.testing.assert_allclose(unit, 1, rtol=1e-5)
    np.testing.assert_allclose(again.loc, refitted.loc, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(same.mean, whitened.mean, rtol=1e-4, atol=1e-5)


def test_initial_posterior_is_centred():
    posterior = initial_posterior(3, 5, std=0.25)
    assert posterior.mean.shape == posterior.log_std.shape == (3, 5)
    assert np.all(np.asarray(posterior.mean) == 0)
    np.testing.assert_allclose(jnp.exp(posterior.log_std), 0.25, rtol=1e-6)


def test_kl_has_its_minimum_at_the_prior():
    at_prior = initial_posterior(1, 1, std=1.0)
    gradient = jax.grad(lambda q: q.kl_nats().sum())(at_prior)
    np.testing.assert_allclose(at_prior.kl_nats(), 0, atol=1e-7)
    np.testing.assert_allclose([gradient.mean[0, 0], gradient.log_std[0, 0]], 0, atol=1e-6)
