"""A pair that a user brings: a triangular density over a uniform one, with a target that is no ``Distribution``."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import recjax
from recjax.distributions import pair_of
from recjax.samplers._search.stretch import stretch_between

N = 5_000


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Triangular:
    """The symmetric triangular density around 0.4."""

    length: jax.Array

    @property
    def event_shape(self):
        return jnp.shape(self.length)


@recjax.register_pair(Triangular, recjax.Uniform)
class TriangularPair(recjax.Pair):
    """Over the uniform density on [0, 1]."""

    def log_ratio(self, x):
        length = self.target.length
        height = 2 / length * (1 - 2 * jnp.abs(x - 0.4) / length)
        return jnp.where(height > 0, jnp.log(jnp.maximum(height, 1e-30)), -jnp.inf)

    def log_ratio_max(self):
        return jnp.log(2 / self.target.length)

    def widths(self, log_h):
        below = jnp.minimum(jnp.exp(log_h - self.log_ratio_max()), 1)
        return self.target.length * (1 - below), 1 - below * below


PROPOSAL = recjax.Uniform(0.0, 1.0)


def triangular(length):
    return Triangular(jnp.float32(length))


@pytest.mark.parametrize(
    "coder",
    [
        recjax.GPRS(),
        *(
            pytest.param(coder, marks=pytest.mark.slow)
            for coder in (recjax.RejectionSampler(), recjax.AStar())
        ),
    ],
    ids=lambda coder: type(coder).__name__,
)
def test_exact_coders_sample_it(coder):
    length, keys = 0.3, jax.random.split(jax.random.key(5), N)
    encode = jax.jit(jax.vmap(coder.encode, (0, None, None)))
    code = encode(keys, triangular(length), PROPOSAL)
    assert (code.status == recjax.Status.DONE).all()
    exact = stats.triang(0.5, 0.4 - length / 2, length)
    assert stats.kstest(np.asarray(code.sample, float), exact.cdf).pvalue > 1e-4
    expected = 2 / length + isinstance(coder, recjax.AStar)
    assert abs(code.steps.mean() - expected) < 5 * code.steps.std() / np.sqrt(N)
    np.testing.assert_array_equal(
        jax.vmap(coder.decode, (0, 0, None))(keys, code.index, PROPOSAL), code.sample
    )


@pytest.mark.parametrize("length", [0.9, 0.3, 0.01])
def test_limits_from_the_widths_alone(length):
    q = triangular(length)
    kl = (np.log(2) - np.log(length) - 0.5) / np.log(2)
    assert abs(recjax.kl_bits(q, PROPOSAL) - kl) < 1e-5 * kl + 1e-5
    assert (
        abs(recjax.channel_simulation_bits(q, PROPOSAL) - (0.5 - np.log(length)) / np.log(2)) < 1e-5
    )
    assert abs(recjax.renyi_inf_bits(q, PROPOSAL) - np.log2(2 / length)) < 1e-5


@pytest.mark.parametrize(
    "length", [0.3, *(pytest.param(length, marks=pytest.mark.slow) for length in (0.9, 0.01))]
)
def test_stretch_function(length):
    pair = pair_of(triangular(length), PROPOSAL)
    h = 2 / length * np.array([1e-3, 0.1, 0.3, 0.5, 0.9, 0.99])
    sigma = 2 * h / (2 - length * h)
    log_h = jnp.log(jnp.asarray(h, jnp.float32))
    between = jax.jit(jax.vmap(lambda low, high: stretch_between(pair, low, high)))
    np.testing.assert_allclose(between(jnp.full(6, -jnp.inf), log_h), sigma, rtol=1e-4)
    np.testing.assert_allclose(between(log_h[:-1], log_h[1:]), np.diff(sigma), rtol=1e-4)


def test_survival_of_widths():
    pair = pair_of(triangular(0.3), PROPOSAL)
    below = np.array([1e-3, 0.1, 0.3, 0.5, 0.9, 0.99, 0.999])  # h / max r
    survival = jax.vmap(pair.survival)(jnp.log(jnp.asarray(below / 0.15, jnp.float32)))
    np.testing.assert_allclose(survival, (1 - below) ** 2, rtol=1e-3)


def test_without_widths():
    @recjax.register_pair(Triangular, recjax.Laplace)
    class Bare(recjax.Pair):
        def log_ratio(self, x):
            return -jnp.abs(x)

        def log_ratio_max(self):
            return jnp.zeros(())

    q, p = triangular(0.3), recjax.Laplace(0.0, 1.0)
    assert recjax.AStar().encode(jax.random.key(0), q, p).status == recjax.Status.DONE
    for function in (recjax.channel_simulation_bits, recjax.kl_bits):
        message = "no width functions: define `widths` .* override `kl` or `channel_simulation`"
        with pytest.raises(ValueError, match=message):
            function(q, p)
    with pytest.raises(ValueError, match="no width functions"):
        recjax.GPRS().encode(jax.random.key(0), q, p)


def test_pairs_that_nobody_registered():
    message = "no pair of a Triangular over a Normal is registered: .* recjax.register_pair"
    with pytest.raises(ValueError, match=message):
        recjax.RejectionSampler().encode(
            jax.random.key(0), triangular(0.3), recjax.Normal(0.0, 1.0)
        )


@pytest.mark.wrong_types
def test_numbers_are_no_targets():
    good, key = recjax.Normal(0.0, 1.0), jax.random.key(0)
    for call in (recjax.AStar().encode, lambda key, q, p: recjax.kl_bits(q, p)):
        with pytest.raises(ValueError, match=r"target must be a distribution .*, got a float"):
            call(key, 3.0, good)
        with pytest.raises(ValueError, match=r"proposal must be a distribution .*, got a list"):
            call(key, good, [1.0])
