"""The objective and its gradient against an independently written loss."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recjax.codec.siren import objective
from recjax.codec.siren.layout import Geometry
from recjax.codec.siren.network import initial_network, initial_prior, network_values
from recjax.codec.siren.objective import (
    SirenNetwork,
    distortion,
    in_chunks,
    padded_rows,
    posterior_gradient,
)
from recjax.codec.siren.posterior import LatentPrior, Posterior
from recjax.codec.siren.settings import SirenConfig
from recjax.codec.siren.targets import make_targets, take_subset

CONFIG = SirenConfig(grid=(4, 4), width=4, layers=2, features=4, max_frequency=2.0)
ROWS = 8


@pytest.fixture(scope="module")
def example():
    """Arguments of posterior_gradient: random everything, some latents fixed, some pixels outside."""
    rng = np.random.default_rng(0)
    n = CONFIG.n_latents
    loc, scale = initial_prior(CONFIG, 0)
    targets = make_targets(
        rng.uniform(-0.5, 0.5, (ROWS, 4, 4, 3)).astype(np.float32),
        rng.integers(0, 2, (ROWS, 4, 4)).astype(np.float32),
    )
    array = lambda x: jnp.asarray(x, jnp.float32)
    return dict(
        network=SirenNetwork(
            CONFIG, initial_network(CONFIG), (LatentPrior(loc=array(loc), scale=array(scale)),)
        ),
        posteriors=(
            Posterior(
                mean=array(rng.standard_normal((ROWS, n))),
                log_std=array(-0.5 + 0.1 * rng.standard_normal((ROWS, n))),
            ),
        ),
        beta=(array(10 ** rng.uniform(-4, -2, (ROWS, n))),),
        free=(array(rng.integers(0, 2, (ROWS, n))),),
        noise=(array(rng.standard_normal((ROWS, n))),),
        targets=take_subset(targets, 1),
        geometry=Geometry(),
    )


def written_out(mean, log_std, network, beta, free, noise, targets, geometry):
    """sum over rows of the mean weighted squared error plus beta KL, with fixed latents at their means."""
    (beta,), (free,), (noise,), (prior,) = beta, free, noise, network.priors
    std = jnp.exp(log_std)
    z = jnp.where(free == 1, mean + std * noise, mean)
    z = prior.loc[None] + prior.scale[None] * z
    pixels = network_values(network.config, network.params, z, targets.points)
    error = jnp.square(pixels - targets.values) * targets.weights[:, None, :]
    kl = (std**2 + mean**2) / 2 - 0.5 - log_std
    return error.sum() / error[0].size + jnp.where(free == 1, beta * kl, 0).sum()


def test_gradient_equals_that_of_the_written_out_loss(example):
    (gradient,), error = jax.jit(posterior_gradient)(*example.values())
    rest = {k: v for k, v in example.items() if k != "posteriors"}
    wanted = jax.jit(jax.grad(lambda m, s: written_out(m, s, **rest), argnums=(0, 1)))(
        example["posteriors"][0].mean, example["posteriors"][0].log_std
    )
    # a fixed latent has no gradient, although the network depends on its mean
    fixed = np.asarray(example["free"][0]) == 0
    for got, expected in zip((gradient.mean, gradient.log_std), wanted, strict=True):
        expected = np.where(fixed, 0, expected)
        np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())
        assert np.all(np.asarray(got)[fixed] == 0)
    assert error.shape == (ROWS,) and np.all(np.isfinite(error))


def test_distortion_is_an_average_over_the_full_patch(example):
    network, targets = example["network"], example["targets"]
    inputs = network.inputs((example["posteriors"][0].mean,), Geometry())
    everything = targets._replace(weights=jnp.ones_like(targets.weights))
    nothing = targets._replace(weights=jnp.zeros_like(targets.weights))
    pixels = np.asarray(network.values(inputs, targets.points))
    np.testing.assert_allclose(
        distortion(network, inputs, everything),
        np.square(pixels - np.asarray(targets.values)).mean((1, 2)),
        rtol=1e-5,
    )
    assert np.all(np.asarray(distortion(network, inputs, nothing)) == 0)


def test_pixels_outside_have_no_influence(example):
    targets = example["targets"]
    noisy = targets._replace(values=jnp.where(targets.weights[:, None] == 0, 77.0, targets.values))
    run = jax.jit(posterior_gradient)
    (gradient,), error = run(*example.values())
    (other,), same = run(*(example | {"targets": noisy}).values())
    np.testing.assert_array_equal(gradient.mean, other.mean)
    np.testing.assert_array_equal(gradient.log_std, other.log_std)
    np.testing.assert_array_equal(error, same)


def test_chunks_do_not_change_the_gradient(example, monkeypatch):
    (whole,), error = jax.jit(posterior_gradient)(*example.values())
    monkeypatch.setattr(objective, "ROW_CHUNK", 2)
    # a new function, so that jit does not remember the other one
    (parts,), same = jax.jit(lambda *args: posterior_gradient(*args))(*example.values())
    for got, expected in ((parts.mean, whole.mean), (parts.log_std, whole.log_std), (same, error)):
        np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())


def test_chunks_keep_the_order_of_rows():
    rows = jnp.arange(3 * objective.ROW_CHUNK)
    out = in_chunks(lambda args: (2 * args[0], args[1][:, 0]), (rows, rows[:, None] + 1))
    np.testing.assert_array_equal(out[0], 2 * rows)
    np.testing.assert_array_equal(out[1], rows + 1)


def test_padded_rows_are_few_shapes_that_waste_little():
    shapes = [padded_rows(n) for n in range(1, 20_000)]
    for n, padded in enumerate(shapes, 1):
        assert padded >= n
        assert padded <= objective.ROW_CHUNK or padded % objective.ROW_CHUNK == 0
        assert padded < 2 * n and (n <= 256 or padded <= math.ceil(1.13 * n))
        assert padded_rows(padded) == padded
    assert shapes == sorted(shapes)
    assert len(set(shapes)) < 100
