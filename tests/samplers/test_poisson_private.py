"""The private coder: the law of its index, and what the index reveals to someone who knows all candidates."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import PAIRS, N, case_id, cases, error, follows, frozen, keys, law, make
from scipy import special, stats

import recjax
from recjax import Status, read_indices, write_indices

EPSILON, ALPHA = 1.5, 2.0
# Two neighbours, the ends of [0, 1], under the Laplace mechanism: its worst case.
MECHANISM = [recjax.Laplace(x, 1 / EPSILON) for x in (0.0, 1.0)]
MIDDLE = recjax.Laplace(0.5, 1 / EPSILON)
LONGEST = 4000
CODER = recjax.PoissonPrivate(alpha=ALPHA, max_steps=LONGEST)


@functools.cache
def codes(coder, case):
    family, target, proposal = case
    q, p = (
        make(family, target),
        make({"Triangular": "Uniform", "UniformMixture": "Uniform"}.get(family, family), proposal),
    )
    encode = jax.jit(jax.vmap(lambda a, b: coder.encode(a, q, p, private_key=b)))
    return jax.tree.map(np.asarray, encode(keys(N, 300), keys(N, 301)))


@functools.cache
def candidates(count):
    """The first candidates of one shared key."""
    key = jax.random.key(11)
    return np.asarray(
        jax.vmap(lambda i: recjax.AStar().decode(key, i, MIDDLE))(
            jnp.arange(count, dtype=jnp.uint32)
        )
    )


def log_weights(target, z, times, alpha=ALPHA):
    """ln of (t_k / r(z_k))^-alpha."""
    log_ratio = target.log_prob(z) - MIDDLE.log_prob(z)
    return alpha * (np.asarray(log_ratio, float) - np.log(times))


@functools.cache
def tilted_law(number, draws=2000):
    """The law of the index for one list of candidates: the mean over arrival times of the normalised weights."""
    target = MECHANISM[number]
    z, rng = candidates(LONGEST), np.random.default_rng(5)
    total = np.zeros(LONGEST)
    for _ in range(draws):
        total += special.softmax(log_weights(target, z, np.cumsum(rng.exponential(size=LONGEST))))
    return total / draws


def indices(target, coder=CODER):
    """N indices for one shared key, each with a private key of its own."""
    return np.asarray(_encode(coder, keys(N, 302), target).index)


@functools.partial(jax.jit, static_argnums=0)
def _encode(coder, private_keys, target):
    encode = functools.partial(coder.encode, jax.random.key(11), target, MIDDLE)
    return jax.vmap(lambda key: encode(private_key=key))(private_keys)


def pooled(counts, law, least=20):
    """Counts and expectations, with rare indices in bins of at least that many expected ones."""
    expected = law * counts.sum()
    bins = np.minimum(np.cumsum(expected) // least, np.sum(expected) // least - 1).astype(int)
    return np.bincount(bins, counts), np.bincount(bins, expected)


def agrees(index, law):
    counts, expected = pooled(np.bincount(index, minlength=LONGEST), law)
    some = expected > 0
    return (
        stats.chisquare(counts[some], expected[some] * counts.sum() / expected.sum()).pvalue > 1e-4
    )


# Exact samples.


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case, id=case_id(case), marks=() if case in cases(PAIRS)[:1] else pytest.mark.slow
        )
        for case in cases(PAIRS)
    ],
)
@pytest.mark.parametrize("alpha", [pytest.param(1.8, marks=pytest.mark.slow), 2.0])
def test_samples_follow_the_target_and_the_index_is_bounded(alpha, case):
    family, target, _ = case
    code = codes(recjax.PoissonPrivate(alpha=alpha), case)
    assert (code.status == Status.DONE).mean() > 1 - 1e-3
    assert follows(code.sample, frozen(family, target))
    log_index = np.log2(code.index + 1.0)
    bound = recjax.poisson_private_log_index_bound_bits(law(*case).kl_bits(), alpha)
    assert log_index.mean() + 5 * error(log_index) < bound
    assert code.steps[code.status == Status.DONE].mean() < 3 * law(*case).peak + 110


def test_constants_of_a_program_are_checked():
    p, targets = make("Uniform", (0, 4)), [make("Triangular", ends) for ends in ((1, 2.5), (1, 5))]
    inside, outside = (
        jax.jit(lambda key, q=q: recjax.PoissonPrivate().encode(key, q, p, private_key=key))
        for q in targets
    )
    assert inside(jax.random.key(0)).status == Status.DONE
    with pytest.raises(ValueError, match="within the proposal"):
        outside(jax.random.key(0))


@pytest.mark.parametrize("number", [0, 1])
def test_the_index_has_the_law_of_the_weights(number):
    assert agrees(indices(MECHANISM[number]), tilted_law(number))


@pytest.mark.slow
def test_another_law_is_noticed():
    assert not agrees(indices(MECHANISM[0]), tilted_law(1))
    other = indices(MECHANISM[0], dataclasses.replace(CODER, alpha=1.1 * ALPHA))
    assert not agrees(other, tilted_law(0))


def test_the_whole_list_is_in_the_race():
    """A list so short that its end matters: the law is that of its candidates alone."""
    code = _encode(dataclasses.replace(CODER, max_steps=3), keys(N, 303), MECHANISM[0])
    times = np.cumsum(np.random.default_rng(6).exponential(size=(100_000, 3)), axis=1)
    expected = special.softmax(log_weights(MECHANISM[0], candidates(3), times), axis=1).mean(0)
    assert stats.chisquare(np.bincount(code.index, minlength=3), N * expected).pvalue > 1e-4
    assert 0.01 < np.mean(code.status == Status.MAX_STEPS) < 0.99
    assert (code.steps <= 3).all()


# Privacy.


def losses(alpha, lists=300, longest=1000):
    """The largest |ln P(k | z, t, x) - ln P(k | z, t, x')| over k for many lists of candidates and times.

    Of sums over all candidates the first 1,000 are kept: a bound for these is one for any list.
    """
    rng = np.random.default_rng(7)
    for _ in range(lists):
        z = rng.laplace(0.5, 1 / EPSILON, longest).astype(np.float32)
        times = np.cumsum(rng.exponential(size=longest))
        a, b = (special.log_softmax(log_weights(q, z, times, alpha)) for q in MECHANISM)
        yield np.max(np.abs(a - b))


@pytest.mark.parametrize("alpha", [1.1, 2.0, pytest.param(5.0, marks=pytest.mark.slow)])
def test_the_loss_of_privacy_is_bounded(alpha):
    worst = max(losses(alpha))
    promised = recjax.poisson_private_epsilon(EPSILON, alpha)
    assert worst <= promised * (1 + 1e-5)
    # and the promise is not an empty one
    assert worst > 0.8 * promised
    assert worst > recjax.poisson_private_epsilon(EPSILON / 2, alpha)


def test_frequencies_of_the_coder_keep_the_bound():
    """Counts for one list of candidates under both neighbours, as far as counts can tell."""
    a, b = (np.bincount(indices(target), minlength=LONGEST) for target in MECHANISM)
    some = (a + b) > 200
    promised = recjax.poisson_private_epsilon(EPSILON, ALPHA)
    loss = np.abs(np.log((a[some] + 0.5) / (b[some] + 0.5)))
    assert some.sum() > 5 and (loss < promised).all() and loss.max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("coder", [recjax.AStar(), recjax.GPRS()], ids=repr)
def test_other_coders_have_no_bound(coder):
    """Given the shared randomness their index is a function of the input, and often another for a neighbour: one
    transcript excludes one of them."""
    a, b = (
        jax.vmap(coder.encode, (0, None, None))(keys(500, 304), target, MIDDLE).index
        for target in MECHANISM
    )
    again = jax.vmap(coder.encode, (0, None, None))(keys(500, 304), MECHANISM[0], MIDDLE).index
    np.testing.assert_array_equal(a, again)
    assert np.mean(a != b) > 0.2


@pytest.mark.slow
def test_a_private_gaussian_mechanism_that_fails_with_delta():
    """(2 alpha epsilon, 2 delta) of the index for an (epsilon, delta) mechanism: published, seen here in one case."""
    epsilon, scale, alpha = 1.0, 1.5, 1.5
    delta = special.ndtr(0.5 / scale - epsilon * scale) - np.exp(epsilon) * special.ndtr(
        -0.5 / scale - epsilon * scale
    )
    rng, excess = np.random.default_rng(8), []
    for _ in range(2000):
        z = rng.normal(0.5, 2.0, 1000)
        log_time = np.log(np.cumsum(rng.exponential(size=1000)))
        log_a, log_b = (
            special.log_softmax(
                alpha * (stats.norm(x, scale).logpdf(z) - stats.norm(0.5, 2.0).logpdf(z) - log_time)
            )
            for x in (0.0, 1.0)
        )
        excess.append(np.maximum(np.exp(log_a) - np.exp(2 * alpha * epsilon + log_b), 0).sum())
    assert delta > 0.001 and np.mean(excess) + 5 * error(np.array(excess)) < 2 * delta


# The private key.


def test_a_private_key_is_needed():
    coder, key = recjax.PoissonPrivate(), jax.random.key(0)
    with pytest.raises(ValueError, match="private_key is needed"):
        coder.encode(key, MECHANISM[0], MIDDLE)
    for same in (key, jax.random.key_data(key)):
        with pytest.raises(ValueError, match="private_key must not be the shared key"):
            coder.encode(key, MECHANISM[0], MIDDLE, private_key=same)
    with pytest.raises(ValueError, match="key must be"):
        coder.encode(key, MECHANISM[0], MIDDLE, private_key=jnp.zeros(3, jnp.uint32))
    targets = jax.tree.map(lambda x: jnp.stack([x, x]), MECHANISM[0])
    for private in (None, jax.random.key(1), jax.random.split(jax.random.key(1), 3)):
        with pytest.raises(ValueError, match="private_keys are needed"):
            coder.encode_batch(keys(2, 0), targets, MIDDLE, private_keys=private)


def test_the_decoder_needs_the_shared_key_alone():
    """Many private keys give many indices of one list."""
    code = jax.tree.map(np.asarray, _encode(CODER, keys(N, 302), MECHANISM[0]))
    assert len(np.unique(code.index)) > 20
    np.testing.assert_array_equal(code.sample, candidates(LONGEST)[code.index])


def test_indices_in_one_file():
    index, shared = indices(MECHANISM[0]), keys(N, 306)
    data = write_indices(CODER, shared, index, rate_bits=2.0)
    np.testing.assert_array_equal(read_indices(CODER, data, shared, rate_bits=2.0), index)
    bits = jax.vmap(lambda key, i: CODER.codelength(key, i, MIDDLE, rate_bits=2.0))(
        shared, jnp.asarray(index)
    )
    assert abs(8 * len(data) - np.sum(bits, dtype=float)) < 64 + 1e-3 * N


# The promise as a number.


def test_epsilon_of_index_and_shared_randomness():
    np.testing.assert_allclose(
        recjax.poisson_private_epsilon(np.float32([0.5, 1.0]), 2.0), [2.0, 4.0]
    )
    assert float(jax.jit(lambda e: recjax.poisson_private_epsilon(e, 1.5))(2.0)) == 6.0
    assert recjax.poisson_private_epsilon(1.0, np.inf) == np.inf
    for epsilon, alpha in itertools.product((0.0, -1.0, np.nan, np.array([1.0, 0.0])), (2.0,)):
        with pytest.raises(ValueError, match="mechanism_epsilon must be positive"):
            recjax.poisson_private_epsilon(epsilon, alpha)
    for alpha in (1.0, 0.5, -2.0, np.nan):
        with pytest.raises(ValueError, match="alpha must be greater than 1"):
            recjax.poisson_private_epsilon(1.0, alpha)
        with pytest.raises(ValueError, match="alpha must be greater than 1"):
            recjax.poisson_private_log_index_bound_bits(1.0, alpha)
    np.testing.assert_allclose(recjax.poisson_private_log_index_bound_bits(1.0, 3.0), 2.83187724)
    assert recjax.poisson_private_log_index_bound_bits(
        1.0, 9.0
    ) == recjax.poisson_private_log_index_bound_bits(1.0, 3.0)


# Vectors in chunks.

CHUNKED = recjax.PoissonPrivate(alpha=ALPHA)


def normal_vectors(n, d, sigma=0.8):
    x = np.random.default_rng(9).normal(size=(n, d)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x, recjax.Normal(x, np.full_like(x, sigma)), recjax.Normal(np.zeros(d), np.full(d, 0.9))


def test_chunks_are_samples_that_the_decoder_finds():
    n, d, sigma = 300, 60, 0.8
    x, targets, p = normal_vectors(n, d)
    code = CHUNKED.encode_chunks(keys(n, 310), targets, p, chunk=20, private_keys=keys(n, 311))
    assert code.index.shape == code.status.shape == code.steps.shape == (n, 3)
    assert (code.status == Status.DONE).mean() > 0.99
    z = (np.asarray(code.sample) - x) / sigma
    assert z.shape == (n, d) and stats.kstest(z.ravel(), "norm").pvalue > 1e-4
    # no two chunks of a vector, nor the same one of two vectors, share their noise
    parts = z.reshape(n, 3, 20)
    for a, b in [(parts[:, 0], parts[:, 1]), (parts[:-1, 2], parts[1:, 2])]:
        assert abs((a * b).mean()) < 5 / np.sqrt(a.size)
    np.testing.assert_array_equal(CHUNKED.decode_chunks(keys(n, 310), code.index, p), code.sample)


@pytest.mark.slow
def test_one_chunk_is_a_vector():
    _, targets, p = normal_vectors(4, 10)
    code = CHUNKED.encode_chunks(keys(4, 310), targets, p, chunk=10, private_keys=keys(4, 311))
    shared, private = (CHUNKED.chunk_keys(keys(4, word), 1) for word in (310, 311))
    whole = CHUNKED.encode_batch(shared, targets, p, private_keys=private)
    np.testing.assert_array_equal(code.index[:, 0], whole.index)
    np.testing.assert_array_equal(code.sample, whole.sample)


@pytest.mark.slow
def test_chunks_may_differ_in_their_proposal():
    """A proposal that is not the same for all components, cut in its order."""
    d, n = 6, 2000
    p = recjax.Laplace(np.arange(d) * 10.0, np.arange(1, d + 1) * 0.5)
    q = recjax.Laplace(np.tile(p.loc + 0.2, (n, 1)), np.tile(p.scale * 0.9, (n, 1)))
    code = CHUNKED.encode_chunks(keys(n, 312), q, p, chunk=2, private_keys=keys(n, 313))
    z = (np.asarray(code.sample) - q.loc) / q.scale
    assert all(stats.kstest(z[:, j], "laplace").pvalue > 1e-4 for j in range(d))
    np.testing.assert_array_equal(CHUNKED.decode_chunks(keys(n, 312), code.index, p), code.sample)


def test_strings_of_chunks():
    n, d = 5, 40
    _, targets, p = normal_vectors(n, d)
    code = CHUNKED.encode_chunks(keys(n, 314), targets, p, chunk=10, private_keys=keys(n, 315))
    each = CHUNKED.chunk_keys(keys(n, 314), 4)
    data = write_indices(CHUNKED, each, code.index.reshape(-1), rate_bits=2.0)
    index = read_indices(CHUNKED, data, each, rate_bits=2.0)
    np.testing.assert_array_equal(index.reshape(n, 4), code.index)


def test_the_loss_of_all_chunks_is_that_of_the_vector():
    """Neighbours that differ in every component: the largest losses of three chunks, added up."""
    shifts = np.array([1.0, 0.4, 0.1])  # the L1 distance is 1.5
    alpha, scale, worst = 2.0, 1 / EPSILON, 0.0
    rng = np.random.default_rng(10)
    for _ in range(100):
        total = 0.0
        for shift in shifts:
            z, times = rng.laplace(0, scale, 500), np.cumsum(rng.exponential(size=500))
            a, b = (
                special.log_softmax(-alpha * (np.abs(z - x) / scale + np.log(times)))
                for x in (0, shift)
            )
            total += np.max(np.abs(a - b))
        worst = max(worst, total)
    promised = recjax.poisson_private_epsilon(shifts.sum() / scale, alpha)
    assert 0.7 * promised < worst <= promised


def test_bad_chunks():
    _, targets, p = normal_vectors(3, 10)
    shared, private = keys(3, 310), keys(3, 311)
    for chunk in (3, 0, -5, 2.5, True, None, 20):
        with pytest.raises(ValueError, match="chunk must divide"):
            CHUNKED.encode_chunks(shared, targets, p, chunk=chunk, private_keys=private)
    for secret in (None, private[:2], private[0]):
        with pytest.raises(ValueError, match="private_keys are needed"):
            CHUNKED.encode_chunks(shared, targets, p, chunk=5, private_keys=secret)
    for bad in (
        jax.tree.map(lambda x: x[0], targets),
        jax.tree.map(lambda x: x[:, :5], targets),
        3.0,
    ):
        with pytest.raises(ValueError, match="targets: a batch of shape"):
            CHUNKED.encode_chunks(shared, bad, p, chunk=5, private_keys=private)
    for index in (np.zeros(3, int), np.zeros((2, 5), int), np.zeros((3, 0), int)):
        with pytest.raises(ValueError, match=r"index must be whole numbers \[vectors, chunks\]"):
            CHUNKED.decode_chunks(shared, index, p)
    with pytest.raises(ValueError, match="3 chunks do not divide 10"):
        CHUNKED.decode_chunks(shared, np.zeros((3, 3), np.int32), p)


def test_epsilon_of_normal_noise_in_chunks():
    """Each chunk's bound is one of the normal mechanism, wherever the distance lies."""
    distance, alpha, delta, chunks = 2.0, 1.5, 1e-5, 20
    promised = recjax.poisson_private_normal_epsilon(distance, alpha, delta=delta, chunks=chunks)
    rng, each = np.random.default_rng(11), delta / (2 * chunks)
    for parts in (np.ones(chunks), np.eye(chunks)[0], *rng.exponential(size=(20, chunks))):
        s = distance * parts / np.linalg.norm(parts)
        epsilon = s**2 / 2 + s * np.sqrt(2 * np.log(1 / each))
        assert 2 * alpha * epsilon.sum() <= promised * (1 + 1e-12)
        shift = s[s > 0]
        epsilon = epsilon[s > 0]
        exact = special.ndtr(shift / 2 - epsilon / shift) - np.exp(
            epsilon + special.log_ndtr(-shift / 2 - epsilon / shift)
        )
        assert (exact <= each).all()
    one = recjax.poisson_private_normal_epsilon(distance, alpha, delta=delta)
    assert one < promised
    for bad in ({"distance": 0.0}, {"alpha": 1.0}, {"delta": 1.0}, {"delta": 0.0}, {"chunks": 0}):
        given = {"distance": 1.0, "alpha": 2.0, "delta": 1e-5, "chunks": 2} | bad
        with pytest.raises(ValueError, match=next(iter(bad))):
            recjax.poisson_private_normal_epsilon(**given)
