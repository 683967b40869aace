"""The shared random stream: published vectors, frozen values, and its distribution.

The frozen values below belong to scheme 1. They must never change once a file written with it has been released: a
test that fails here says that older files no longer decode. A new stream needs a new scheme number and its own values.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from recjax import randomness
from recjax.randomness import Stream

ULPS = 4  # continuous values may differ by this much between backends
KEY = np.array([0x01234567, 0x89ABCDEF], np.uint32)
WORDS = np.array(
    [0, 1, 0x12345678, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xDEADBEEF, 0xFFFFFFFF],
    np.uint32,
)


def words(*values):
    return np.array(values, np.uint32)


def many_words():
    """Random words, and both sides of the median and of both tails."""
    middle = np.arange(2**31 - 500, 2**31 + 500)
    edges = np.concatenate([np.arange(500), middle, np.arange(2**32 - 500, 2**32)])
    return np.concatenate([edges, np.random.default_rng(0).integers(0, 2**32, 100_000)]).astype(
        np.uint32
    )


def quantiles(bits):
    """The uniform variable behind the tail-accurate maps: a sign bit, then the distance from the nearer end."""
    tail = ((bits & 0x7FFFFFFF) + 0.5) / 2**32
    return np.where(bits >> 31 == 0, tail, 1 - tail)


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_threefry_gives_the_known_answers_of_random123(key, counter, expected):
    left, right = jax.jit(randomness.threefry2x32)(words(*key), *words(*counter))
    assert (int(left), int(right)) == expected


def test_scheme_and_stream_numbers_are_frozen():
    assert randomness.SCHEME == 1
    assert {stream.name: stream.value for stream in Stream} == {
        "CANDIDATE": 0,
        "ARRIVAL": 1,
        "ACCEPT": 2,
        "SIGN": 3,
        "BRANCH": 4,
        "VECTOR": 5,
        "CHUNK": 6,
    }


@pytest.mark.parametrize(
    ("stream", "index", "expected"),
    [
        (Stream.CANDIDATE, 0, (0x8E43BB33, 0xD305D8E0)),
        (Stream.ARRIVAL, 0, (0x5D1D44D9, 0x54B03940)),
        (Stream.ACCEPT, 0, (0x969A1CF6, 0x994F6469)),
        (Stream.SIGN, 0, (0x54FC60F3, 0x93E7042C)),
        (Stream.BRANCH, 0, (0x20D1486E, 0x09FF5815)),
        (Stream.CANDIDATE, 1, (0x77E5BE95, 0x1765E967)),
        (Stream.BRANCH, np.uint32(0xFFFFFFFF), (0xFA6C6D71, 0xD51D5258)),
        (Stream.VECTOR, 7, (0xF984C12E, 0xFCCEA6DD)),
    ],
)
def test_stream_keys_are_frozen(stream, index, expected):
    np.testing.assert_array_equal(
        randomness.stream_key(jnp.asarray(KEY), stream, index), words(*expected)
    )


def test_candidate_bits_are_frozen():
    key = randomness.stream_key(jnp.asarray(KEY), Stream.CANDIDATE)
    bits = randomness.coordinate_bits(key, jnp.asarray(words(0, 1, 1 << 31, 0xFFFFFFFF)), 5)
    expected = [
        words(0x46244F73, 0x485A1AB0, 0x834D8600, 0x671C3E70, 0x58B6FB35),
        words(0x0B52D44F, 0x2D76462A, 0x808E4BA2, 0x28E02182, 0x007653AA),
        words(0x42A03B55, 0x0CB9EF90, 0xD4EE957E, 0x0119D905, 0xB9F182A7),
        words(0xC4E9C2B9, 0x8EB5AAFC, 0x85594852, 0x0F083439, 0x04378897),
    ]
    np.testing.assert_array_equal(bits, expected)


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (
            randomness.uniform,
            [
                *(5.9604645e-08, 5.9604645e-08, 7.111114e-02, 4.9999994e-01),
                *(5.0000006e-01, 5.0000006e-01, 8.6983865e-01, 9.9999994e-01),
            ],
        ),
        (
            randomness.normal,
            [
                *(-6.3379574e00, -6.1664286e00, -1.4675657e00, -2.9180997e-10),
                *(6.3379574e00, 6.1664286e00, 3.322807e-01, 2.9180997e-10),
            ],
        ),
        (
            randomness.laplace,
            [
                *(-2.218071e01, -2.1082098e01, -1.9503645e00, -2.3283064e-10),
                *(2.218071e01, 2.1082098e01, 3.0154127e-01, 2.3283064e-10),
            ],
        ),
        (
            randomness.exponential,
            [
                *(2.2873857e01, 2.1775244e01, 2.6435118e00, 6.931472e-01),
                *(1.1641532e-10, 3.4924597e-10, 4.6177942e-01, 6.931472e-01),
            ],
        ),
    ],
)
def test_values_are_frozen(transform, expected):
    expected = np.array(expected, np.float32)
    np.testing.assert_array_max_ulp(np.asarray(jax.jit(transform)(WORDS)), expected, ULPS)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniform_is_inside_the_open_interval(dtype):
    bits = many_words()
    with jax.enable_x64(dtype == np.float64):
        values = np.asarray(jax.jit(lambda bits: randomness.uniform(bits, dtype))(bits))
    assert values.dtype == dtype
    assert values.min() > 0 and values.max() < 1
    cell = 2.0**-23 if dtype == np.float32 else 2.0**-32
    assert np.abs(values - (bits + 0.5) / 2**32).max() <= cell / 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("transform", "inverse", "single", "double"),
    [
        (randomness.normal, special.ndtri, 4e-7, 4e-7),
        (
            randomness.laplace,
            lambda u: np.sign(0.5 - u) * np.log1p(-2 * np.abs(u - 0.5)),
            3e-7,
            1e-13,
        ),
        (randomness.exponential, lambda u: -np.log1p(u - 1), 3e-7, 1e-13),
    ],
    ids=["normal", "laplace", "exponential"],
)
def test_relative_accuracy_everywhere(transform, inverse, single, double, dtype):
    bits = many_words()
    with jax.enable_x64(dtype == np.float64):
        values = np.asarray(jax.jit(lambda bits: transform(bits, dtype))(bits))
    assert values.dtype == dtype
    error = np.abs(values.astype(float) / inverse(quantiles(bits)) - 1)
    assert error.max() < (single if dtype == np.float32 else double)


def test_narrow_candidates_are_the_leading_columns_of_wide_ones():
    key, candidates = jnp.asarray(KEY), jnp.arange(6, dtype=jnp.uint32)
    coordinate_bits = jax.jit(randomness.coordinate_bits, static_argnums=(2, 3))
    wide = np.asarray(coordinate_bits(key, candidates, 9))
    for d in (0, 1, 4):
        np.testing.assert_array_equal(coordinate_bits(key, candidates, d), wide[:, :d])
    for start in (1, 4):
        np.testing.assert_array_equal(
            coordinate_bits(key, candidates, 4, start), wide[:, start : start + 4]
        )
    np.testing.assert_array_equal(coordinate_bits(key, candidates[5], 9), wide[5])


def test_candidates_and_streams_look_independent():
    n = 1 << 14
    streams = [randomness.stream_key(jnp.asarray(KEY), s, i) for s in Stream for i in range(2)]
    candidates = jnp.arange(n, dtype=jnp.uint32)
    bits = np.asarray(
        jax.vmap(lambda key: randomness.coordinate_bits(key, candidates, 2))(jnp.stack(streams))
    )
    ones = np.unpackbits(bits.reshape(len(streams), -1).view(np.uint8), axis=1)
    assert np.abs(ones.mean(axis=1) - 0.5).max() < 5 * 0.5 / ones.shape[1] ** 0.5
    u = (bits + 0.5) / 2**32
    for column in u.transpose(0, 2, 1).reshape(-1, n):
        assert stats.kstest(column, "uniform").pvalue > 1e-4
    columns = np.concatenate([u.transpose(0, 2, 1).reshape(-1, n)[:, :-1], u[:, 1:, 0]])
    correlation = np.corrcoef(columns) - np.eye(len(columns))
    assert np.abs(correlation).max() < 5 / n**0.5


@pytest.mark.parametrize(
    ("impl", "expected"),
    [
        ("threefry2x32", (0, 42)),
        ("rbg", (0x5B6B2B2C, 0x3796BCDC)),
        ("unsafe_rbg", (0x5B6B2B2C, 0x3796BCDC)),
    ],
)
def test_keys_of_every_generator_are_taken(impl, expected):
    key = jax.random.key(42, impl=impl)
    np.testing.assert_array_equal(randomness.key_words(key), words(*expected))
    np.testing.assert_array_equal(jax.jit(randomness.key_words)(key), words(*expected))


def test_raw_words_are_a_key():
    np.testing.assert_array_equal(randomness.key_words(jnp.asarray(KEY)), KEY)
    np.testing.assert_array_equal(randomness.key_words(KEY), KEY)


@pytest.mark.parametrize(
    "key",
    [
        np.zeros(2, np.int32),
        np.zeros(2, np.float32),
        np.zeros(3, np.uint32),
        np.zeros((4, 2), np.uint32),
        "batch",
    ],
    ids=lambda key: key if isinstance(key, str) else f"{key.dtype}{list(key.shape)}",
)
@pytest.mark.wrong_types
def test_what_is_not_one_key_is_refused(key):
    if isinstance(key, str):
        key = jax.random.split(jax.random.key(0), 3)
    with pytest.raises(ValueError, match="key must be"):
        randomness.key_words(key)
