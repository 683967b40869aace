"""Categorical distributions and pairs against sums, and coded samples against their law."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import recjax
from recjax.samplers import pair_of

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


# categories, and what `tokens` of them have
FROZEN = [(256, 293996357, 3658663729), (50_257, 1630023248, 431922567)]


def tokens(k, seed=0):
    """Logits of k categories that every machine computes alike; some do not occur."""
    place = np.arange(k) * (7919 + 2 * seed) % 4001
    return np.where(place % 97 == 3, -np.inf, place / np.float32(500)).astype(np.float32)


@pytest.mark.parametrize("k", [2, 64, 65, 50_257])
def test_many_categories_decode_as_integers_say(k):
    p = recjax.Categorical(tokens(k))
    ends = np.cumsum(np.asarray(p.weights(), np.uint64))
    # the ends of the range, and the first numbers of categories and the last ones before them
    first = ((ends[:-1] << np.uint64(32)) + ends[-1] - np.uint64(1))[:500] // ends[-1]
    first = first[first > 0]
    bits = np.concatenate([first, first - 1, [0, 2**32 - 1]]).astype(np.uint32)
    place = bits * ends[-1] >> np.uint64(32)
    x = jax.vmap(p.sample_from_bits)(bits[:, None])
    np.testing.assert_array_equal(x, np.searchsorted(ends, place, side="right"))
    assert (tokens(k)[x] > -np.inf).all()


def test_the_frequency_table_is_frozen():
    """By its last entry and its checksum."""
    for k, last, checksum in FROZEN:
        ends = np.asarray(recjax.Categorical(tokens(k)).ends())
        assert (int(ends[-1]), zlib.crc32(ends.astype("<u4").tobytes())) == (last, checksum)


@pytest.mark.parametrize("scale", [0, 1, 4, 20])
def test_rare_tokens_are_not_lifted(scale):
    logits = np.random.default_rng(scale).normal(size=50_257) * scale
    weights = np.asarray(recjax.Categorical(np.float32(logits)).weights(), np.float64)
    assert weights.sum() <= 2**31 + weights.size
    law = np.exp(np.float32(logits) - logits.max())
    assert 0.5 * abs(weights / weights.sum() - law / law.sum()).sum() < 1e-4


def test_look_ups():
    table = recjax.Categorical(np.stack([tokens(100), tokens(100, 1)]))
    log_probs = np.asarray(table.log_probs())
    x = np.random.default_rng(0).integers(100, size=(50, 2))
    expected = log_probs[0, x[:, 0]] + log_probs[1, x[:, 1]]
    np.testing.assert_allclose(table.log_prob(x), expected, rtol=1e-6)
    assert (
        jax.vmap(recjax.Categorical(tokens(100)).log_prob)(
            jnp.array([-1.0, 100.0, 0.5, jnp.nan, jnp.inf])
        )
        == -jnp.inf
    ).all()


@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_tables_change_nothing(shape):
    """A search prepares its pair: the same ratios, from tables that are made once."""
    k = 300
    q, p = (
        np.stack([tokens(k, s) for s in seeds]).reshape(*shape, k)
        for n in [int(np.prod(shape))]
        for seeds in (range(n), range(n, 2 * n))
    )
    q = np.where(p == -np.inf, -np.inf, q)
    plain = pair_of(recjax.Categorical(q), recjax.Categorical(p))
    tabled = plain.prepared()
    size = plain.proposal.event_size
    bits = jax.random.bits(jax.random.key(1), (200, size))
    x = jax.vmap(plain.proposal.sample_from_bits)(bits)
    np.testing.assert_array_equal(jax.vmap(tabled.proposal.sample_from_bits)(bits), x)
    np.testing.assert_array_equal(jax.vmap(tabled.log_ratio)(x), jax.vmap(plain.log_ratio)(x))
    assert tabled.log_ratio_max() == plain.log_ratio_max()


def test_integrals_of_many_categories():
    """By running sums, beside the sum over pairs of categories."""
    k = 4200
    p = tokens(k)
    q = np.where(p == -np.inf, p, 0.5 * p + np.random.default_rng(2).normal(size=k))
    plain = pair_of(recjax.Categorical(q), recjax.Categorical(p))
    tabled = plain.prepared()
    top = float(plain.log_ratio_max())
    for low, high in [(-np.inf, -1.0), (-np.inf, top - 0.1), (-0.5, 0.7), (top - 1, top - 1e-3)]:
        expected, found = (jax.jit(x.stretch)(low, high) for x in (plain, tabled))
        np.testing.assert_allclose(found, expected, rtol=2e-4)


@pytest.mark.parametrize(
    "coder", [recjax.AStar(), pytest.param(recjax.GPRS(), marks=pytest.mark.slow)], ids=repr
)
def test_coded_tokens_follow_the_target(coder):
    """One sample per token, tokens of many categories in one batch: sums of categories by chance."""
    k, n = 5000, 3000
    q, p = tokens(k, 1), tokens(k)
    q = np.where(p == -np.inf, -np.inf, 0.3 * q + 0.7 * np.where(p == -np.inf, 0, p))
    batch = recjax.Categorical(jnp.broadcast_to(q, (n, k)))
    keys = jax.random.split(jax.random.key(4), n)
    code = coder.encode_batch(keys, batch, recjax.Categorical(p))
    assert (code.status == recjax.Status.DONE).all()
    law = np.exp(np.asarray(recjax.Categorical(q).log_probs(), np.float64))
    order = np.argsort(law)  # 20 groups of about equal chance
    group = np.empty(k, int)
    group[order] = np.minimum(np.cumsum(law[order]) * 20, 19).astype(int)
    expected = n * np.bincount(group, law, 20)
    counts = np.bincount(group[code.sample], minlength=20)
    assert stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-4
    received = jax.vmap(coder.decode, (0, 0, None))(keys, code.index, recjax.Categorical(p))
    np.testing.assert_array_equal(received, code.sample)
