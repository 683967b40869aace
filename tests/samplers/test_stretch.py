"""The stretch function of every kind of pair against composite quadrature of 1 / survival."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import P5, Q5

import recjax
from recjax.distributions import pair_of
from recjax.samplers._search.stretch import stretch_between

MIXTURE = ((2, 0.5, 3), (2.5, 1.5, 3.25), (3, 5, 2))


def categorical(probabilities):
    with np.errstate(divide="ignore"):
        return recjax.Categorical(np.log(np.array(probabilities)))


BEND = np.exp(-1 / 0.7) / 0.7  # at the median of the proposal
# Target, proposal, and the values of the ratio between which its survival is smooth.
PAIRS = {
    "Normal": lambda: (recjax.Normal(np.float64(2), 0.1), recjax.Normal(np.float64(0), 1.0), []),
    "Laplace": lambda: (recjax.Laplace(np.float64(1), 0.7), recjax.Laplace(np.float64(0), 1.0), [BEND]),
    "Uniform": lambda: (recjax.Uniform(np.float64(0.3), 0.31), recjax.Uniform(np.float64(0), 1.0), []),
    "Triangular": lambda: (recjax.Triangular(np.float64(1), 2.5), recjax.Uniform(np.float64(0), 4.0), []),
    "UniformMixture": lambda: (
        recjax.UniformMixture(*np.array(MIXTURE)), recjax.Uniform(np.float64(0), 4.0), [2.0, 2.4, 3.2]
    ),
    "Categorical": lambda: (categorical(Q5), categorical(P5), [0.25, 2.4, 3.0]),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_stretch_function(name):
    with jax.enable_x64(True):
        q, p, kinks = PAIRS[name]()
        pair = pair_of(q, p)
        top = np.exp(float(pair.log_ratio_max()))
        h = top * np.array([1e-3, 0.05, 0.2, 0.5, 0.8, 0.97, 0.999])
        edges = (
            np.concatenate([[0], np.geomspace(1e-8, 0.4, 200), 1 - np.geomspace(0.6, 1e-3, 200)])
            * top
        )
        edges = np.unique(
            np.concatenate([edges, h, [kink for kink in kinks if kink < 0.999 * top]])
        )
        nodes, weights = np.polynomial.legendre.leggauss(12)
        half = np.diff(edges)[:, None] / 2
        at = (edges[1:, None] + edges[:-1, None]) / 2 + half * nodes
        survival = jax.jit(jax.vmap(pair.survival))(jnp.log(at.ravel())).reshape(at.shape)
        sigma = np.concatenate([[0], np.cumsum(np.sum(half * weights / survival, 1))])[
            np.searchsorted(edges, h)
        ]
        between = jax.jit(jax.vmap(lambda low, high: stretch_between(pair, low, high)))
        np.testing.assert_allclose(between(np.full(h.size, -np.inf), np.log(h)), sigma, rtol=2e-6)
        np.testing.assert_allclose(
            between(np.log(h[:-1]), np.log(h[1:])), np.diff(sigma), rtol=1e-7
        )
