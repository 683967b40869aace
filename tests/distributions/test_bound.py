"""The bound of a pair: no draw of a pair that ships exceeds it, whatever the parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recjax
from recjax.distributions.bound import above_bound
from recjax.distributions.pair import pair_of

N = 1_000_000
STEP = 1 << 14  # draws at a time


def wide(value, size):
    return np.full(size, value, np.float32)


PAIRS = {
    "normal": (recjax.Normal(1.0, 0.25), recjax.Normal(0.0, 1.0)),
    "narrow-normal": (recjax.Normal(-3.0, 1e-6), recjax.Normal(0.3, 1.7)),
    "nearly-equal-normal": (recjax.Normal(0.0, 0.999999), recjax.Normal(0.0, 1.0)),
    "far-normal": (recjax.Normal(1e4, 0.1), recjax.Normal(1e4, 1.0)),
    "normals": (
        recjax.Normal(np.linspace(-2, 2, 48), np.linspace(0.05, 0.999, 48)),
        recjax.Normal(wide(0.1, 48), wide(1.0, 48)),
    ),
    "laplace": (recjax.Laplace(1.0, 0.25), recjax.Laplace(0.0, 1.0)),
    "equal-scales": (recjax.Laplace(2.0, 1.7), recjax.Laplace(0.3, 1.7)),
    "laplaces": (
        recjax.Laplace(np.linspace(-2, 2, 48), np.linspace(0.05, 1.0, 48)),
        recjax.Laplace(wide(0.1, 48), wide(1.0, 48)),
    ),
    "uniform": (recjax.Uniform(0.1, 0.11), recjax.Uniform(0.0, 1.0)),
    "triangular": (recjax.Triangular(0.1, 0.11), recjax.Uniform(0.0, 1.0)),
    "mixture": (
        recjax.UniformMixture([0.0, 0.7], [0.1, 0.72], [1.0, 2.0]),
        recjax.Uniform(0.0, 1.0),
    ),
    "uniform-in-normal": (recjax.Uniform(2.0, 5.0), recjax.Normal(0.0, 1.0)),
    "categorical": (
        recjax.Categorical(np.linspace(-9, 3, 17)),
        recjax.Categorical(np.linspace(0, 1, 17)),
    ),
}


QUICK = "normals", "mixture", "categorical", "uniform-in-normal"


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in PAIRS],
)
def test_no_draw_is_above_it(name):
    target, proposal = PAIRS[name]

    @jax.jit
    def count(key):
        pair = pair_of(target, proposal)

        def some(key):
            # the target's draws are where the ratio is large; the proposal's are the candidates
            draws = (d.sample(k, (STEP // 2,)) for d, k in zip(pair_targets, jax.random.split(key)))
            return sum(above_bound(pair, jax.vmap(pair.log_ratio)(x)).sum() for x in draws)

        pair_targets = pair.target, pair.proposal
        return jax.lax.map(some, jax.random.split(key, -(-N // STEP))).sum()

    assert count(jax.random.key(1)) == 0


def test_what_counts_as_above():
    pair = pair_of(recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0))
    top = pair.log_ratio_max()
    ratios = jnp.stack([top - 1, top, top + 1e-5, top + 1e-3, jnp.inf, jnp.nan, -jnp.inf])
    expected = [False, False, False, True, True, False, False]
    assert above_bound(pair, ratios).tolist() == expected
    unbounded = pair_of(recjax.Normal(0.0, 2.0), recjax.Normal(0.0, 1.0))
    assert not above_bound(unbounded, ratios).any()
