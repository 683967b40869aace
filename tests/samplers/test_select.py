"""`recjax.select`: the coders' own choices from scores, its laws, its statuses, and bad arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import recjax
from recjax.samplers import pair_of

N = 256
KEY = jax.random.key(11)
Q, P = recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0)
TOP = float(pair_of(Q, P).log_ratio_max())
ORDERED = recjax.OrderedRandomCoder(budget_bits=8)
EXACT = recjax.AStar(max_steps=N)
PROBABILITIES = np.array([0.05, 0.3, 0.02, 0.0, 0.63])
UNIFORM = np.log(5 * np.maximum(PROBABILITIES, 1e-30))


def scores(coder, key):
    """ln dQ/dP of the candidates that the coder draws from P."""
    index = jnp.arange(N, dtype=jnp.uint32)
    return jax.vmap(lambda i: pair_of(Q, P).log_ratio(coder.decode(key, i, P)))(index)


def draws(count, n, bound, seed, log_weights, draw):
    """Indices, samples and statuses of many selections among candidates that NumPy draws."""
    x = draw(np.random.default_rng(seed), (count, n))
    keys = jax.random.split(jax.random.key(seed), count)
    many = jax.jit(jax.vmap(lambda k, w: recjax.select(k, w, log_bound=bound)))
    code = jax.tree.map(np.asarray, many(keys, jnp.float32(log_weights(x))))
    return code, x[np.arange(count), code.index]


def normal_weights(x):
    return stats.norm.logpdf(x, 1, 0.5) - stats.norm.logpdf(x)


@pytest.mark.parametrize(("coder", "bound"), [(ORDERED, None), (EXACT, TOP)])
def test_it_makes_the_choice_of_the_coder(coder, bound):
    keys = jax.random.split(KEY, 200)
    codes = jax.vmap(lambda k: coder.encode(k, Q, P))(keys)
    found = jax.vmap(lambda k: recjax.select(k, scores(coder, k), log_bound=bound))(keys)
    for name in ("index", "steps", "status"):
        np.testing.assert_array_equal(getattr(found, name), getattr(codes, name), name)


@pytest.mark.parametrize(
    ("coder", "bound"), [(recjax.OrderedRandomCoder(budget_bits=7), None), (EXACT, 3.0)]
)
def test_the_strings_of_the_coder_hold_the_indices(coder, bound):
    def weights(rng, shape):
        return np.minimum(rng.normal(size=shape), 3.0)

    code, _ = draws(300, 100, bound, 2, lambda x: x, weights)
    keys = jax.random.split(KEY, 300)
    data = recjax.write_indices(coder, keys, code.index, rate_bits=1.0)
    read = recjax.read_indices(coder, data, keys, rate_bits=1.0)
    np.testing.assert_array_equal(read, code.index)
    length = jax.vmap(lambda k, i: coder.codelength(k, i, P, rate_bits=1.0))
    assert 8 * len(data) <= length(keys, code.index).sum() * 1.01 + 64


def test_the_exact_choice_follows_categories():
    code, x = draws(
        20_000,
        300,
        UNIFORM.max(),
        3,
        lambda x: UNIFORM[x],
        lambda rng, shape: rng.integers(5, size=shape),
    )
    assert (code.status == recjax.Status.DONE).all()
    counts, some = np.bincount(x, minlength=5), PROBABILITIES > 0
    assert counts[~some].sum() == 0
    assert stats.chisquare(counts[some], x.size * PROBABILITIES[some]).pvalue > 1e-4


def test_the_exact_choice_follows_a_normal():
    code, x = draws(20_000, 256, TOP, 4, normal_weights, lambda rng, shape: rng.normal(size=shape))
    assert (code.status == recjax.Status.DONE).all()
    assert stats.kstest(x, stats.norm(1, 0.5).cdf).pvalue > 1e-4
    assert code.index.mean() < code.steps.mean() < 4 * np.exp(TOP) + 4


def test_the_ordered_choice_has_the_law_of_sorted_noise():
    """Beside brute force, for 6 candidates, where the bias is large: argmax of ln w - ln E_(k)."""
    weights = np.array([0.0, 0.8, 1.4, -np.inf, 2.4, 3.2])
    count = 40_000
    keys = jax.random.split(jax.random.key(5), count)
    found = jax.jit(jax.vmap(recjax.select, (0, None)))(keys, jnp.float32(weights))
    noise = np.sort(np.random.default_rng(5).exponential(size=(count, 6)), axis=1)
    brute = np.argmax(weights - np.log(noise), axis=1)
    table = np.stack([np.bincount(np.asarray(i), minlength=6) for i in (found.index, brute)])
    some = weights > -np.inf
    assert table[:, ~some].sum() == 0 and table[:, some].min() > 50
    assert stats.chi2_contingency(table[:, some]).pvalue > 1e-4
    # small indices are likelier than by weight alone, as the code of the coder expects
    assert found.index.mean() < np.average(np.arange(6), weights=np.exp(weights)) - 0.2
    np.testing.assert_allclose(
        found.effective_samples[0],
        np.exp(weights).sum() ** 2 / np.exp(2 * weights).sum(),
        rtol=1e-5,
    )


def test_too_few_candidates_have_a_status():
    weights = jnp.zeros(3).at[1].set(-1.0)
    code = recjax.select(KEY, weights, log_bound=20.0)
    assert code.status == recjax.Status.MAX_STEPS
    assert code.steps == 3
    assert code.index < 3
    one = recjax.select(KEY, jnp.zeros(1))
    assert (one.index, one.status, one.steps) == (0, recjax.Status.DONE, 1)


@pytest.mark.slow
def test_long_lists_and_double_precision():
    rng = np.random.default_rng(6)
    weights = rng.normal(size=5000)
    weights[4321] = 60.0  # wins whatever its noise
    assert recjax.select(KEY, jnp.float32(weights)).index == 4321
    with jax.enable_x64(True):
        code = recjax.select(KEY, jnp.asarray(weights), log_bound=60.0)
        assert code.effective_samples.dtype == jnp.float64
        # a weight at the bound ends the search: every later candidate has later times
        assert (code.index, code.steps, code.status) == (4321, 4323, recjax.Status.DONE)
    half = recjax.select(KEY, jnp.asarray(weights[:100], jnp.bfloat16))
    assert half.effective_samples.dtype == jnp.float32


BAD = [
    ([0.0, np.nan], None, "log_weights must not be NaN"),
    ([0.0, np.inf], None, "log_weights must not be NaN"),
    ([-np.inf, -np.inf], None, "log_weights must not all be -inf"),
    ([0.0, 1.1], 1.0, "log_weights must not exceed log_bound"),
    ([0.0, 1.0], np.inf, "log_bound must be finite"),
    ([0.0, 1.0], np.nan, "log_bound must be finite"),
]


@pytest.mark.parametrize(("weights", "bound", "message"), BAD)
def test_bad_weights(weights, bound, message):
    weights = jnp.float32(weights)
    with pytest.raises(ValueError, match=message):
        recjax.select(KEY, weights, log_bound=bound)
    code = jax.jit(lambda w: recjax.select(KEY, w, log_bound=bound))(weights)
    assert code.status == recjax.Status.INVALID
    assert code.steps == 0


def test_a_bad_lane_leaves_the_others_alone():
    weights = jnp.stack([jnp.zeros(4), jnp.full(4, jnp.nan), jnp.zeros(4)])
    code = jax.vmap(lambda w: recjax.select(KEY, w))(weights)
    assert code.status.tolist() == [0, recjax.Status.INVALID, 0]
    assert code.index[0] == code.index[2]


def test_rounding_above_the_bound_is_no_error():
    code = recjax.select(KEY, jnp.full(50, 1 + 3e-7), log_bound=1.0)
    assert code.status == recjax.Status.DONE


@pytest.mark.parametrize(
    ("key", "weights", "bound", "message"),
    [
        (KEY, jnp.zeros((2, 3)), None, "log_weights must be a vector"),
        (KEY, 0.0, None, "log_weights must be a vector"),
        (KEY, jnp.zeros(0), None, "log_weights must be a vector"),
        (KEY, jnp.zeros(3), jnp.zeros(3), "log_bound must be one number"),
        (jax.random.split(KEY, 3), jnp.zeros(3), None, "key must be one key"),
        ("key", jnp.zeros(3), None, "keys must be an array"),
    ],
)
def test_bad_arguments(key, weights, bound, message):
    with pytest.raises(ValueError, match=message):
        recjax.select(key, weights, log_bound=bound)
