"""Categorical distributions and pairs against sums, and coded samples against their law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import recjax

P = np.array([0.4, 0.1, 0.2, 0.0, 0.3])
Q = np.array([0.1, 0.3, 0.0, 0.0, 0.6])


def categorical(probabilities):
    with np.errstate(divide="ignore"):
        return recjax.Categorical(np.log(np.float32(probabilities)) + np.float32(2.5))


def test_probabilities():
    x = jnp.arange(5)
    np.testing.assert_allclose(np.exp(jax.vmap(categorical(P).log_prob)(x)), P, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(categorical(P).cdf)(x), np.cumsum(P), atol=1e-6)
    assert categorical(P).log_prob(7) == -np.inf


def test_decoded_frequencies():
    bits = (np.arange(1 << 16, dtype=np.uint32) << 16)[:, None]
    x = jax.vmap(categorical(P).sample_from_bits)(bits)
    assert x.dtype == jnp.int32
    np.testing.assert_allclose(np.bincount(x, minlength=5) / bits.size, P, atol=5e-5)
    extremes = jax.vmap(categorical(P).sample_from_bits)(np.uint32([[0], [2**32 - 1]]))
    assert extremes.tolist() == [0, 4]
    # equal categories share the numbers evenly, to the last one
    first = np.arange(4, dtype=np.uint32) << 30
    even = jax.vmap(categorical(np.full(4, 0.25)).sample_from_bits)
    assert even(first[:, None]).tolist() == [0, 1, 2, 3]
    assert even(first[1:, None] - np.uint32(1)).tolist() == [0, 1, 2]


def test_divergences():
    some = Q > 0
    ratio = np.where(some, Q / np.where(P > 0, P, 1), 0)
    pair = categorical(Q), categorical(P)
    kl = np.sum(Q[some] * np.log2(ratio[some]))
    assert abs(recjax.kl_bits(*pair) - kl) < 1e-5
    assert abs(recjax.renyi_inf_bits(*pair) - np.log2(3)) < 1e-5
    h = (np.arange(300_000) + 0.5) * 1e-5
    w = (P * (ratio >= h[:, None])).sum(1)
    cs = -np.sum(w * np.log2(w)) * 1e-5
    assert abs(recjax.channel_simulation_bits(*pair) - cs) < 1e-4
    levels = np.float32([0.1, 1.0, 2.5, 3.5])
    w_p, w_q = recjax.width_function(*pair, levels)
    np.testing.assert_allclose(w_p, (P * (ratio >= levels[:, None])).sum(1), atol=1e-6)
    np.testing.assert_allclose(w_q, (Q * (ratio >= levels[:, None])).sum(1), atol=1e-6)


@pytest.mark.parametrize(
    "coder",
    [
        recjax.GPRS(),
        *(
            pytest.param(coder, marks=pytest.mark.slow)
            for coder in (
                recjax.RejectionSampler(),
                recjax.AStar(),
                recjax.MinimalRandomCoder(budget_bits=10),
                recjax.OrderedRandomCoder(budget_bits=10),
            )
        ),
    ],
    ids=lambda coder: type(coder).__name__,
)
def test_coded_samples_follow_the_target(coder):
    n, q, p = 2000, categorical(Q), categorical(P)
    keys = jax.random.split(jax.random.key(3), n)
    codes = coder.encode_batch(keys, recjax.Categorical(jnp.broadcast_to(q.logits, (n, 5))), p)
    assert codes.sample.dtype == jnp.int32
    counts = np.bincount(codes.sample, minlength=5)
    assert (counts[Q == 0] == 0).all()
    assert stats.chisquare(counts[Q > 0], n * Q[Q > 0]).pvalue > 1e-3
    assert coder.decode(keys[5], codes.index[5], p) == codes.sample[5]


def test_bad_values_are_refused():
    with pytest.raises(ValueError, match="probability zero"):
        recjax.kl_bits(categorical(P), categorical(Q))
    with pytest.raises(ValueError, match="categories"):
        recjax.kl_bits(categorical(P[:3]), categorical(P))
    with pytest.raises(ValueError, match="NaN"):
        recjax.Categorical([0.0, np.nan])
    with pytest.raises(ValueError, match="-inf"):
        recjax.Categorical([-np.inf, -np.inf])
