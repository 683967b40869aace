"""The probability of balls against SciPy's noncentral chi-square law, and vectors without width functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import recjax
from recjax.distributions.noncentral_chi2 import ball_mass


@pytest.mark.parametrize("d", [1, 2, 8, 32])
def test_ball_mass(d):
    rng = np.random.default_rng(0)
    radius = np.exp(rng.uniform(-3, 5, 500)).astype(np.float32)
    low = np.maximum(-radius, rng.uniform(-8, 8, 500)).astype(np.float32)
    ours = jax.jit(jax.vmap(lambda low, radius: ball_mass(low, radius, d)))(low, radius)
    centre = low.astype(float) + radius
    np.testing.assert_allclose(
        ours, stats.ncx2.cdf(radius.astype(float) ** 2, d, centre**2), atol=4e-6
    )


def test_vectors_that_are_not_isotropic_are_refused():
    q, p = recjax.Normal(np.zeros(2), np.float32([0.5, 0.6])), recjax.Normal(np.zeros(2), 1.0)
    for function in (
        recjax.channel_simulation_bits,
        lambda q, p: recjax.width_function(q, p, jnp.ones(3)),
    ):
        with pytest.raises(ValueError, match="target: width functions need isotropic"):
            function(q, p)
    assert np.isnan(jax.jit(lambda q, p: recjax.width_function(q, p, jnp.float32(1))[0])(q, p))
