"""Ordinary samples of every distribution, and their moments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recjax

N = 100_000
DISTRIBUTIONS = [
    recjax.Normal([0.7, -3.0], [1.9, 0.2]),
    recjax.Laplace([0.7, -3.0], [1.9, 0.2]),
    recjax.Logistic([0.7, -3.0], [1.9, 0.2]),
    recjax.Uniform([-1.3, 5.0], [2.7, 5.5]),
    recjax.Triangular([-1.3, 5.0], [2.7, 5.5]),
    recjax.UniformMixture(
        [[0.0, 2.0, 7.0], [1.0, -4.0, 3.0]],
        [[1.5, 3.0, 9.0], [2.0, -1.0, 8.0]],
        [[1, 3, 0.5], [1, 1, 0]],
    ),
    recjax.Categorical(np.log([[0.5, 0.3, 0.2], [0.05, 0.05, 0.9]])),
    recjax.Channel(
        [1, 2],
        recjax.Normal([[0.1, -0.2], [0.3, 0.0]], np.full((2, 2), 0.5)),
        recjax.Normal([0.3, -0.1], [1.0, 2.0]),
    ),
]
each = pytest.mark.parametrize(
    "distribution", DISTRIBUTIONS, ids=[type(d).__name__ for d in DISTRIBUTIONS]
)


@each
def test_moments_of_samples(distribution):
    x = np.asarray(distribution.sample(jax.random.key(3), (N,)), float)
    assert x.shape == (N, *distribution.event_shape)
    mean, variance = (np.asarray(f(), float) for f in (distribution.mean, distribution.variance))
    assert mean.shape == variance.shape == distribution.event_shape
    squares = (x - mean) ** 2
    for values, expected in ((x, mean), (squares, variance)):
        error = values.std(axis=0) / np.sqrt(N)
        assert (abs(values.mean(axis=0) - expected) < 5 * error).all()
    # components and draws are independent of each other
    standard = (x - mean) / np.sqrt(variance)
    assert abs((standard[:, 0] * standard[:, 1]).mean()) < 5 / np.sqrt(N)
    assert (abs((standard[1:] * standard[:-1]).mean(axis=0)) < 5 / np.sqrt(N)).all()


@each
def test_one_event_by_default_under_transformations(distribution):
    key = jax.random.key(1)
    one = distribution.sample(key)
    assert one.shape == distribution.event_shape
    inside = jax.jit(lambda d, key: (d.sample(key), d.mean(), d.variance()))
    np.testing.assert_array_equal(inside(distribution, key)[0], one)
    np.testing.assert_array_equal(distribution.sample(jax.random.key_data(key)), one)


@pytest.mark.parametrize("shape", [3, [3], (-1,), (2.0,), None])
@pytest.mark.wrong_types
def test_bad_shapes(shape):
    with pytest.raises(ValueError, match="shape must be a tuple of whole numbers"):
        recjax.Normal(0.0, 1.0).sample(jax.random.key(0), shape)


def test_samples_are_differentiable():
    def sample(loc, scale):
        return recjax.Normal(loc, scale).sample(jax.random.key(2))

    loc, scale = jnp.float32(0.3), jnp.float32(1.5)
    by_loc, by_scale = jax.grad(sample, (0, 1))(loc, scale)
    z = (sample(loc, scale) - loc) / scale
    np.testing.assert_allclose([by_loc, by_scale], [1, z], rtol=1e-5)


def test_equality_is_identity():
    a, b = recjax.Normal(0.0, 1.0), recjax.Normal(0.0, 1.0)
    assert a == a and a != b
    assert all(jax.tree.leaves(jax.tree.map(jnp.array_equal, a, b)))
