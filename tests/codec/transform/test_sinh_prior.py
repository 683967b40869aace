"""Latents with heavy tails: the stretch and its inverse, the KL, and the choice of scale and tail."""

import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from recjax.codec.transform.sinh_prior import best_tails, kl_bits, posterior_of_u, stretched

scales, tails = st.floats(0.01, 100), st.floats(0.02, 1)


@given(st.floats(-5, 5), st.floats(1e-3, 2), scales, tails)
def test_a_posterior_of_u_is_stretched_to_that_of_the_latent(u, std, scale, tail):
    """Its mean exactly, its width by the derivative there."""
    mean, slope = stretched(u, scale, tail), scale * np.cosh(tail * u)
    centre, width = posterior_of_u(*map(np.float32, (mean, np.log(std * slope), scale, tail)))
    assert float(centre) == pytest.approx(float(u), rel=1e-4, abs=1e-5)
    assert float(width) == pytest.approx(float(std), rel=1e-3)


def test_the_least_tail_is_as_good_as_normal():
    u = jnp.linspace(-5, 5, 101)
    np.testing.assert_allclose(stretched(u, 3.0, 0.02), 3 * u, rtol=2e-3)


def log_density(x, mean, std, scale, tail):
    """Of a latent whose u is N(mean, std^2): the change of variables."""
    u, slope = np.arcsinh(tail * x / scale) / tail, np.hypot(scale, tail * x)
    return -0.5 * ((u - mean) / std) ** 2 - np.log(std * np.sqrt(2 * np.pi) * slope)


def integral(log_q, log_p, x):
    """KL in bits."""
    return np.trapezoid(np.exp(log_q) * (log_q - log_p), x) / np.log(2)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.7), (1.5, 0.2), (-3.0, 0.05), (4.0, 1.1)])
@pytest.mark.parametrize(("scale", "tail"), [(1.0, 0.02), (3.0, 0.5), (0.1, 1.0)])
def test_kl_of_u_is_that_of_the_latent(mean, std, scale, tail):
    """Integrated over the latent, where the stretched posterior and prior are."""
    x = scale * np.sinh(tail * (mean + std * np.linspace(-9, 9, 20001))) / tail
    expected = integral(
        log_density(x, mean, std, scale, tail), log_density(x, 0.0, 1.0, scale, tail), x
    )
    assert float(kl_bits(jnp.float32(mean), jnp.float32(std))) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("mean", [0.0, 2.0, -30.0])
def test_a_narrow_normal_posterior_has_its_own_kl(mean):
    """What takes its place is as wide where it lies, so its KL is that of the normal posterior of the latent."""
    std, scale, tail = 0.1, 2.0, 0.6
    x = mean + std * np.linspace(-9, 9, 20001)
    normal = -0.5 * ((x - mean) / std) ** 2 - np.log(std * np.sqrt(2 * np.pi))
    expected = integral(normal, log_density(x, 0.0, 1.0, scale, tail), x)
    own = kl_bits(
        *posterior_of_u(
            jnp.float32(mean), jnp.float32(np.log(std)), jnp.float32(scale), jnp.float32(tail)
        )
    )
    assert float(own) == pytest.approx(expected, abs=0.01)


def average_bits(mean, std, scale, tail):
    return np.asarray(kl_bits(*posterior_of_u(mean, jnp.log(std), scale[None], tail[None]))).mean(0)


def test_normal_latents_have_a_normal_prior():
    """Whatever their deviation, and however wide the posteriors."""
    rng = np.random.default_rng(0)
    root, std = np.array([0.02, 1.0, 50.0]), np.array([0.3, 0.1, 0.5])
    mean = jnp.asarray(rng.normal(0, root * np.sqrt(1 - std**2), (20000, 3)), jnp.float32)
    stds = jnp.asarray(np.broadcast_to(root * std, (20000, 3)), jnp.float32)
    scale, tail = best_tails(mean, jnp.log(stds))
    assert (tail <= 0.15).all()
    np.testing.assert_allclose(scale, root, rtol=0.05)


def test_mixtures_have_heavy_tails_and_fewer_bits():
    """Than with a normal prior of their second moment; each latent by itself."""
    rng = np.random.default_rng(1)
    wide = rng.random(20000) < 0.1
    rare = np.where(wide, 10.0, 0.3) * rng.normal(size=20000)
    mean = jnp.asarray(np.stack([rare, rng.normal(size=20000)], 1), jnp.float32)
    std = jnp.full(mean.shape, 0.1, jnp.float32)
    scale, tail = best_tails(mean, jnp.log(std))
    assert tail[0] >= 0.6 and tail[1] <= 0.15
    own = average_bits(mean, std, scale, tail)
    root = np.sqrt(np.mean(np.asarray(mean) ** 2 + 0.01, 0))
    normal = np.asarray(kl_bits(mean / root[None], std / root[None])).mean(0)
    assert own[0] < normal[0] - 0.5 and own[1] == pytest.approx(normal[1], abs=0.01)
