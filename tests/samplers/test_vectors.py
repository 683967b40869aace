"""Normal vectors whose components all shrink alike: laws of radius and coordinates, and of steps."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import LEAST_P, N, keys, mean_is
from scipy import stats

import recjax

PAIRS = {
    2: (0.6, np.array([0.6, -0.4])),
    8: (0.85, 0.15 * np.array([1, -1, 2, 0, 0.5, 1, 0, -0.5])),
}  # d: s, m
CODERS = [recjax.RejectionSampler(), recjax.AStar()]


def encode(coder, d):
    s, m = PAIRS[d]
    q = recjax.Normal(jnp.asarray(m, jnp.float32), jnp.full(d, s, jnp.float32))
    p = recjax.Normal(jnp.zeros(d), jnp.ones(d))
    code = jax.jit(jax.vmap(coder.encode, (0, None, None)))(keys(N, 400 + d), q, p)
    return jax.tree.map(np.asarray, code), 2 ** float(recjax.renyi_inf_bits(q, p))


def follows(sample, d):
    """Distances from the mode of the ratio and from the mean, and every coordinate."""
    s, m = PAIRS[d]
    mode = m / (1 - s * s)
    z = (sample.astype(np.float64) - m) / s
    shift = np.sum((m - mode) ** 2) / s**2
    radius = np.sum((z + (m - mode) / s) ** 2, 1)
    values = [
        stats.kstest(radius, stats.ncx2(d, shift).cdf).pvalue,
        stats.kstest(np.sum(z * z, 1), stats.chi2(d).cdf).pvalue,
        *(stats.kstest(column, stats.norm.cdf).pvalue for column in z.T),
    ]
    return min(values) > LEAST_P


@pytest.mark.parametrize("d", [8, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("coder", CODERS, ids=lambda coder: type(coder).__name__)
def test_vectors_follow_the_target(coder, d):
    code, peak = encode(coder, d)
    assert (code.status == recjax.Status.DONE).all()
    assert follows(code.sample, d)
    assert mean_is(code.steps, peak + (1 if isinstance(coder, recjax.AStar) else 0))


class Misjudged(recjax.RejectionSampler):
    """Rejection with the largest ratio too small."""

    def examine(self, pair, state, chunk):
        return super().examine(
            pair, state, dataclasses.replace(chunk, log_ratio=chunk.log_ratio + 2)
        )


@pytest.mark.slow
@pytest.mark.parametrize("d", PAIRS)
def test_too_small_a_maximum_is_caught(d):
    code, peak = encode(Misjudged(), d)
    assert not follows(code.sample, d)
    assert not mean_is(code.steps, peak)
