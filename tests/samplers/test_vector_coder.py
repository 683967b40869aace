"""Vectors in blocks: the best rows, equal bits however it is called, the law of the samples."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from independent import decode_vector

import recjax
from recjax import Normal, Status, VectorCoder
from recjax.blocks import vector_layout, vector_methods, vector_search
from recjax.randomness import normal
from recjax.samplers._search.vectors import plan_for

KEY = jax.random.key(3)
STANDARD = Normal(0.0, 1.0)


def slow(*values):
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


def example(kind):
    """A coder, means, deviations and divergences of a target over N(0, 1)."""
    rng = np.random.default_rng(0)
    coder, d, std = VectorCoder(block_bits=10, extra_bits=4), 300, 1.0
    if kind == "curved":
        std = rng.uniform(0.5, 1.2, d)
    if kind == "sharp":  # its scores as a product are rounded to more than what differs
        coder, d, std = VectorCoder(block_bits=16, extra_bits=4), 1, 2.0**-10
    if kind == "slabs":  # three blocks of more columns than a slab has
        coder, d = VectorCoder(block_bits=8, extra_bits=5), 2000
    mean = rng.normal(size=d) * (0.04 if kind == "slabs" else 0.3)
    mean, std = np.float32(mean), np.float32(np.broadcast_to(std, d))
    bits = (0.5 * (mean**2.0 + std**2.0 - 1) - np.log(std)) / np.log(2)
    if kind == "profile":
        return coder, mean, std, bits
    return coder, mean, std, float(bits.sum())


def every_row(coder, kl, call, d):
    """The random words that each index stands for in all blocks, by the decoder."""
    layout = plan_for(coder, kl, (d,)).layout

    @jax.jit
    @jax.vmap
    def rows(i):
        words = vector_layout.call_key(KEY, call)
        row = vector_layout.ordered_rows(words, layout, jnp.full(layout.blocks, i))
        return vector_layout.vector_bits(KEY, words, layout, row, d)

    return layout, np.asarray(
        normal(rows(jnp.arange(1 << layout.log2_candidates, dtype=jnp.uint32)))
    )


@pytest.mark.parametrize("kind", ["curved", "sharp", "slabs", *slow("plain", "profile")])
def test_the_best_row_is_chosen(kind):
    coder, mean, std, kl = example(kind)
    code = coder.encode(KEY, Normal(mean, std), STANDARD, kl_bits=kl, call=5)
    assert code.status == Status.DONE
    layout, z = every_row(coder, kl, 5, mean.size)
    words = vector_layout.call_key(KEY, 5)
    block, _ = vector_layout.places(words, layout, jnp.arange(mean.size, dtype=jnp.uint32))
    log_ratio = 0.5 * z**2.0 - 0.5 * ((z.astype(float) - mean) / std) ** 2 - np.log(std)
    of_block = np.stack([log_ratio[:, block == b].sum(1) for b in range(layout.blocks)], 1)
    noise = vector_search.race_noise(KEY, words, layout, layout.blocks, len(z), jnp.float32)
    index = jnp.broadcast_to(jnp.arange(len(z), dtype=jnp.uint32)[:, None], of_block.shape)
    np.testing.assert_array_equal(code.index, (of_block + noise.at(index)).argmax(0))
    weight = np.exp(of_block - of_block.max(0))
    effective = weight.sum(0) ** 2 / (weight**2).sum(0)
    np.testing.assert_allclose(code.effective_samples, effective, rtol=1e-3)
    assert code.kl_bits == pytest.approx(np.sum(kl), rel=1e-4)


@pytest.mark.parametrize("scale", [1.0, 0.6, 2.0**-10])
def test_the_best_path_is_chosen(scale):
    d, calls = 30, 8
    coder = VectorCoder(block_bits=7, extra_bits=4, method="trellis")
    mean = np.float32(np.random.default_rng(2).normal(size=d) * 0.5)
    target, wide = Normal(mean, np.full(d, scale, np.float32)), Normal(np.zeros(d), 1.0)
    index = np.array(list(itertools.product(range(8), repeat=4)), np.uint32)
    decode = functools.partial(coder.decode, KEY, proposal=wide, kl_bits=11.9)
    paths = jax.jit(jax.vmap(lambda i, call: decode(i, call=call), (0, None)))
    for call in range(calls):
        code = coder.encode(KEY, target, STANDARD, kl_bits=11.9, call=call)
        z = np.asarray(paths(index, call), float)
        log_ratio = (0.5 * z**2 - 0.5 * ((z - mean) / scale) ** 2).sum(1)
        np.testing.assert_array_equal(code.index, index[log_ratio.argmax()])
        # the sharpest target is far beyond what these paths can say
        expected = Status.DONE if scale > 0.1 else Status.TOO_FEW_CANDIDATES
        assert code.status == expected and (code.effective_samples >= 1).all()


def test_windows_of_a_long_path_find_as_good_a_one(monkeypatch):
    coder, d = VectorCoder(block_bits=8, extra_bits=4, method="trellis"), 2000
    rng = np.random.default_rng(3)
    mean = np.float32(0.45 * rng.normal(size=d))
    target = Normal(mean, np.float32(rng.uniform(0.8, 1.1, d)))
    code = coder.encode(KEY, target, STANDARD, kl_bits=300, call=1)
    plan = plan_for(coder, 300, (d,))
    assert plan.layout.blocks == 150 == plan.method.shape(plan.layout, d).lanes - 106
    monkeypatch.setattr(vector_methods, "_GAINS", 1 << 14)
    assert plan.method.shape(plan.layout, d).lanes == 64
    other = coder.encode(KEY, target, STANDARD, kl_bits=300, call=1)
    # the first window decides 48 of its 64 steps: as before, unless a choice was all but a tie
    np.testing.assert_array_equal(other.index[:20], code.index[:20])
    np.testing.assert_allclose(other.effective_samples, code.effective_samples, rtol=1e-4)
    best, log_ratio = (
        target.log_prob(c.sample) - jnp.sum(STANDARD.log_prob(c.sample)) for c in (code, other)
    )
    assert best > 0 and 0.99 * best < log_ratio <= best
    assert coder.codelength(KEY, code.index, target, kl_bits=300) == 300


@pytest.mark.parametrize("kind", ["plain", "trellis", *slow("slabs", "profile")])
def test_equal_bits_however_it_is_called(kind):
    coder, mean, std, kl = example("plain" if kind == "trellis" else kind)
    if kind == "trellis":
        coder = dataclasses.replace(coder, method=kind)
    target, wide = Normal(mean, std), Normal(np.zeros_like(mean), 1.0)
    code = coder.encode(KEY, target, STANDARD, kl_bits=kl)

    def same(other):
        jax.tree.map(np.testing.assert_array_equal, other, code)

    same(coder.encode(KEY, target, wide, kl_bits=kl))
    # all columns, the first slab alone, or none that fills a slab
    same(coder.encode(KEY, target, wide, kl_bits=kl, table=coder.table(KEY, 600)))
    encode = functools.partial(coder.encode, kl_bits=kl)
    same(jax.jit(encode)(KEY, target, wide))
    keys = jnp.stack([KEY, jax.random.key(4)])
    targets = jax.tree.map(lambda x: jnp.stack([x, -x if x is target.loc else x]), target)
    codes = jax.vmap(encode, (0, 0, None))(keys, targets, wide)
    same(jax.tree.map(lambda x: x[0], codes))
    np.testing.assert_array_equal(
        coder.decode(KEY, np.asarray(code.index), wide, kl_bits=kl), code.sample
    )
    decode = jax.jit(functools.partial(coder.decode, kl_bits=kl))
    np.testing.assert_array_equal(decode(KEY, code.index, wide), code.sample)
    other = coder.decode(KEY, code.index, wide, kl_bits=kl, call=1)
    assert np.mean(other == code.sample) < 0.05


@pytest.mark.parametrize("method", ["ordered", "trellis"])
@pytest.mark.parametrize("kind", ["plain", "profile", "slabs", "narrow"])
def test_a_receiver_with_numpy_alone_decodes(kind, method):
    coder, mean, _, kl = example("plain" if kind == "narrow" else kind)
    coder = dataclasses.replace(coder, method=method)
    if kind == "narrow":  # steps of one coordinate, and of none; a register of many blocks' bits
        coder, mean, kl = VectorCoder(block_bits=8, extra_bits=6, method=method), mean[:9], 13.9
    plan = plan_for(coder, kl, mean.shape)
    index = np.random.default_rng(7).integers(0, 1 << plan.index_bits, plan.indices)
    proposal = Normal(np.linspace(-1, 1, mean.size), np.linspace(0.5, 2, mean.size))
    sample = coder.decode(KEY, index, proposal, kl_bits=kl, call=9)
    z = decode_vector(
        np.asarray(jax.random.key_data(KEY)), index, mean.size, kl,
        block_bits=coder.block_bits, extra_bits=coder.extra_bits, call=9, method=method,
    )  # fmt: skip
    np.testing.assert_allclose(sample, proposal.loc + proposal.scale * z, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("method", ["ordered", *slow("trellis")])
def test_batches_are_single_calls(method):
    coder = VectorCoder(block_bits=8, method=method)
    rng, n = np.random.default_rng(4), 5
    targets = Normal(np.float32(0.3 * rng.normal(size=(n, 90))), np.ones((n, 90), np.float32))
    keys, wide = jax.random.split(KEY, n), Normal(np.full(90, 0.1), 1.0)
    encode = functools.partial(coder.encode_batch, kl_bits=5.5)
    of_keys = encode(keys, targets, wide)
    of_key = encode(KEY, targets, STANDARD, call=7)
    of_table = encode(KEY, targets, STANDARD, call=7, table=coder.table(KEY, 128))
    jax.tree.map(np.testing.assert_array_equal, of_table, of_key)
    assert of_key.index.shape == (n, 2) and len(np.unique(of_key.index, axis=0)) > 3
    for i in range(n):
        target = Normal(targets.loc[i], targets.scale[i])
        for codes, key, proposal, call in [
            (of_keys, keys[i], wide, i),
            (of_key, KEY, STANDARD, 7 + i),
        ]:
            one = coder.encode(key, target, proposal, kl_bits=5.5, call=call)
            jax.tree.map(lambda x, y, i=i: np.testing.assert_array_equal(x[i], y), codes, one)
    few = Normal(targets.loc[:, :1], targets.scale[:, :1])
    assert encode(KEY, few, STANDARD).status.tolist() == [Status.TOO_FEW_DIMENSIONS] * n


def test_bad_batches_are_refused():
    coder, wide = VectorCoder(block_bits=8), Normal(np.zeros((3, 90)), 1.0)
    for keys, targets in [
        (jax.random.split(KEY, 2), wide),
        (jax.random.split(KEY, (3, 1)), wide),
        (KEY, Normal(np.zeros(90), 1.0)),
        (KEY, Normal(np.zeros((0, 90)), 1.0)),
    ]:
        with pytest.raises(ValueError, match="targets must have a batch axis"):
            coder.encode_batch(keys, targets, STANDARD, kl_bits=1)
    with pytest.raises(ValueError, match="table: examples with a key each"):
        coder.encode_batch(
            jax.random.split(KEY, 3), wide, STANDARD, kl_bits=1, table=coder.table(KEY, 64)
        )
    with pytest.raises(ValueError, match="call must be"):
        coder.encode_batch(KEY, wide, STANDARD, kl_bits=1, call=(1 << 32) - 2)
    with pytest.raises(ValueError, match="event shape"):
        coder.encode_batch(KEY, wide, Normal(np.zeros((2, 90)), 1.0), kl_bits=1)


# Bits of a vector of an earlier version: later releases must decode it to these numbers.
GOLDEN = [1147, 3141, 999, 0, 4095]
GOLDEN_VALUES = {
    "ordered": [0.4522356, -0.35097417, -1.9765775, -0.35145727, 1.4805367],
    "trellis": [
        -1.171911358833313,
        1.349769949913025,
        -1.541115164756775,
        0.6456152200698853,
        1.4385619163513184,
    ],
}


@pytest.mark.parametrize("method", ["ordered", "trellis"])
def test_golden_vector(method):
    coder = VectorCoder(block_bits=12, extra_bits=4, method=method)
    wide = Normal(np.zeros(70), 1.0)
    index = np.array(GOLDEN) % 256 if method == "trellis" else np.array(GOLDEN)
    x = coder.decode(jax.random.key(1), index, wide, kl_bits=40, call=2)
    places = np.asarray(x)[[0, 1, 2, 33, 69]]
    np.testing.assert_allclose(places, GOLDEN_VALUES[method], rtol=1e-6)


def test_near_divergences_share_a_program(caplog):
    coder, mean, std, _ = example("plain")
    target = Normal(mean, std)
    coder.encode(KEY, target, STANDARD, kl_bits=22.0)
    with jax.log_compiles():
        coder.encode(KEY, target, STANDARD, kl_bits=23.4, call=7)
    assert not [
        r for r in caplog.records if "ompil" in r.getMessage() and "best_rows" in r.getMessage()
    ]


D, BLOCKS, CALLS = 256, 4, 2000


@functools.cache
def many(extra_bits, scale, method="ordered"):
    """Samples of many calls with one target, whose four blocks have 5 bits each."""
    coder = VectorCoder(block_bits=5 + extra_bits, extra_bits=extra_bits, method=method)
    spent = D * (0.5 * (scale**2 - 1) - np.log(scale)) / np.log(2)
    size = np.sqrt(2 * np.log(2) * (5 * BLOCKS - spent) / D)
    mean = np.float32(size * np.random.default_rng(1).choice([-1, 1], D))
    target, wide = Normal(mean, np.full(D, scale, np.float32)), Normal(np.zeros(D, np.float32), 1.0)

    @jax.jit
    def encode(keys, calls):
        one = functools.partial(coder.encode, kl_bits=5.0 * BLOCKS)
        return jax.vmap(lambda k, c: one(k, target, wide, call=c).sample)(keys, calls)

    keys = jax.random.split(jax.random.key(5), CALLS)
    first, second = (np.asarray(encode(keys, jnp.full(CALLS, c))) for c in (0, 1))
    return mean, scale, first, second


def mean_and_error(x):
    return x.mean(), x.std(ddof=1) / np.sqrt(len(x))


@pytest.mark.parametrize("scale", [0.97, *slow(1.0)])
def test_samples_follow_the_target(scale):
    mean, scale, x, _ = many(6, scale)
    # along the mean, where the bias would be, and over all coordinates
    direction = mean / np.linalg.norm(mean)
    along = x @ direction / np.linalg.norm(mean)
    slope, error = mean_and_error(along)
    assert 0.92 < slope < 1
    z = (x - mean) / scale
    value, error = mean_and_error(z.mean(1))
    assert abs(value) < 5 * error
    value, error = mean_and_error((z**2).mean(1))
    assert abs(value - 1) < 5 * error + 0.01
    # a coordinate at a time: no coordinate is left out, none is twice as wide
    assert abs((z**2).mean(0) - 1).max() < 7 * np.sqrt(2 / CALLS) + 0.02


def test_paths_are_close_to_the_target():
    mean, _, x, y = many(6, 1.0, "trellis")
    # 20 bits are a short path: 700 bits have a slope of 0.97
    slope = (x @ mean).mean() / (mean @ mean)
    assert 0.82 < slope < 0.92
    z, w = x - mean, y - mean
    assert abs((z**2).mean() - 1) < 0.1
    sign = np.sign(mean)
    correlation = np.corrcoef((z * sign).mean(1), (w * sign).mean(1))[0, 1]
    assert abs(correlation) < 0.05 + 5 / np.sqrt(CALLS)


@pytest.mark.slow
def test_bias_falls_with_extra_bits():
    slopes = []
    for extra_bits in (0, 3, 6):
        mean, _, x, _ = many(extra_bits, 1.0)
        slopes.append(mean_and_error(x @ mean / (mean @ mean)))
    (a, _), (b, _), (c, error) = slopes
    assert 0.6 < a < b - 0.05 < b < c - 0.03 < 1 + 5 * error, slopes


def test_coordinates_and_calls_are_independent():
    """Noise of different coordinates, and of two calls with one key, has no common part."""
    mean, scale, x, y = many(6, 0.97)
    z, w = ((a - a.mean(0)) / scale for a in (x, y))
    sign = np.sign(mean)
    # all coordinates have one mean up to its sign: equal choices of blocks would show here
    total = (z * sign).sum(1)
    value, error = mean_and_error(total**2 / D)
    assert value + 5 * error > 0.8 and value - 5 * error < 1.1
    for a, b in [((z * sign).mean(1), (w * sign).mean(1)), ((z**2).mean(1), (w**2).mean(1))]:
        correlation = np.corrcoef(a, b)[0, 1]
        assert abs(correlation) < 0.05 + 5 / np.sqrt(CALLS)


def test_too_few_dimensions():
    coder = VectorCoder(block_bits=12)
    target, wide = Normal(np.zeros(3), 0.01), Normal(np.zeros(3), 1.0)
    code = coder.encode(KEY, target, wide, kl_bits=30)
    assert code.status == Status.TOO_FEW_DIMENSIONS and np.isnan(code.sample).all()
    assert code.index.shape == (0,)
    with pytest.raises(
        ValueError, match="3 coordinates cannot be cut into blocks of at most 8 bits"
    ):
        coder.decode(KEY, np.zeros(4, np.uint32), wide, kl_bits=30)


def test_traced_parameters_that_are_invalid():
    coder = VectorCoder(block_bits=8)

    @jax.jit
    def status(loc, scale):
        code = coder.encode(KEY, Normal(loc, scale), STANDARD, kl_bits=2.0)
        return code.status, code.sample

    good = status(jnp.zeros(70), jnp.ones(70))
    assert good[0] == Status.DONE and np.isfinite(good[1]).all()
    for loc, scale in [(0.0, 0.0), (jnp.nan, 1.0), (0.0, jnp.inf)]:
        code = status(jnp.full(70, 0.1).at[3].set(loc), jnp.ones(70).at[5].set(scale))
        assert code[0] == Status.INVALID and np.isnan(code[1]).all()


@pytest.mark.parametrize(
    "kl,message",
    [
        (-1.0, "kl_bits must be from 0"),
        (np.nan, "kl_bits must be from 0"),
        (1.1e6, "kl_bits must be from 0"),
        (np.full(70, 2e4), "in sum"),
        (np.ones(69), "one number or have the vector's shape"),
        ("7", "must be numbers"),
        (True, "must be numbers"),
        (np.ones((70, 1)), "one number or have the vector's shape"),
        (np.r_[np.ones(69), -1], "kl_bits must be from 0"),
        (np.r_[np.ones(69), np.nan], "kl_bits must be from 0"),
    ],
)
def test_bad_divergences_are_refused(kl, message):
    wide = Normal(np.zeros(70), 1.0)
    with pytest.raises(ValueError, match=message):
        VectorCoder().encode(KEY, Normal(np.zeros(70), 1.0), wide, kl_bits=kl)
    with pytest.raises(ValueError, match=message):
        VectorCoder().decode(KEY, np.zeros(6, np.uint32), wide, kl_bits=kl)


def test_bad_targets_are_refused():
    coder = VectorCoder()
    with pytest.raises(ValueError, match="scale must be positive"):
        coder.encode(
            KEY, jax.tree.map(jnp.zeros_like, Normal(np.zeros(9), 1.0)), STANDARD, kl_bits=1
        )
    with pytest.raises(ValueError, match="target: VectorCoder codes a Normal over a Normal"):
        coder.encode(KEY, recjax.Laplace(np.zeros(9), 1.0), STANDARD, kl_bits=1)
    with pytest.raises(ValueError, match="event shape"):
        coder.encode(KEY, Normal(np.zeros(9), 1.0), Normal(np.zeros(8), 1.0), kl_bits=1)
    with pytest.raises(ValueError, match="must not be traced"):
        jax.jit(lambda kl: coder.encode(KEY, Normal(np.zeros(9), 1.0), STANDARD, kl_bits=kl))(1.0)


@pytest.mark.parametrize(
    "index",
    [
        np.zeros(4, np.uint32),
        np.zeros((6, 1), np.uint32),
        np.full(5, 1 << 16),
        -np.ones(5, int),
        np.zeros(5),
    ],
)
def test_bad_indices_are_refused(index):
    wide = Normal(np.zeros(90), 1.0)
    for method in (VectorCoder().decode, VectorCoder().codelength):
        with pytest.raises(ValueError, match="index must hold"):
            method(KEY, index, wide, kl_bits=60.0)


@pytest.mark.parametrize(
    "options",
    [
        {"block_bits": 3},
        {"block_bits": 21},
        {"extra_bits": 16},
        {"extra_bits": -1},
        {"method": "x"},
    ],
)
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        VectorCoder(**options)


def test_a_table_of_another_key_is_noticed():
    coder, wide = VectorCoder(block_bits=8), Normal(np.full(70, 0.1), 1.0)
    code = coder.encode(KEY, wide, STANDARD, kl_bits=1, table=coder.table(jax.random.key(9), 64))
    assert code.status == Status.INVALID and np.isnan(code.sample).all()


@pytest.mark.parametrize("method", ["ordered", *slow("trellis")])
def test_more_divergence_than_candidates_has_a_status(method):
    coder = VectorCoder(block_bits=8, method=method)
    for target, status in [
        (Normal(np.full(70, 0.14), 1.0), Status.DONE),  # 1 bit
        (Normal(np.full(70, 1.0), 1.0), Status.TOO_FEW_CANDIDATES),  # 50 bits
        (Normal(np.zeros(70), 1e-30), Status.TOO_FEW_CANDIDATES),
    ]:
        code = coder.encode(KEY, target, STANDARD, kl_bits=1)
        assert code.status == status and np.isfinite(code.sample).all()
        assert (code.effective_samples >= 1).all()


def test_scalars_are_no_vectors():
    for method in (VectorCoder().decode, VectorCoder().codelength):
        with pytest.raises(ValueError, match="proposal must have the shape of the vectors"):
            method(KEY, np.zeros(1, np.uint32), STANDARD, kl_bits=3)


def test_no_divergence_needs_no_bits():
    coder, wide = VectorCoder(), Normal(np.zeros(100), 1.0)
    code = coder.encode(KEY, wide, STANDARD, kl_bits=0)
    assert code.index.tolist() == [0] and code.status == Status.DONE
    assert coder.codelength(KEY, code.index, wide, kl_bits=0) == 0
    assert 0.5 < np.std(code.sample) < 1.5


def test_shapes_and_sequences_that_a_user_has_at_hand():
    coder = VectorCoder(block_bits=8)
    mean = np.float32(np.random.default_rng(0).normal(size=(2, 5, 7))) * 0.3
    target, wide = Normal(mean, 1.0), Normal(np.zeros(mean.shape), 1.0)
    code = coder.encode(KEY, target, STANDARD, kl_bits=3)
    flat = coder.encode(KEY, Normal(mean.ravel(), 1.0), STANDARD, kl_bits=np.float32(3))
    np.testing.assert_array_equal(code.sample.ravel(), flat.sample)
    received = coder.decode(KEY, code.index.tolist(), wide, kl_bits=3)
    np.testing.assert_array_equal(received, code.sample)
    profile = np.full(mean.shape, 3 / mean.size)
    codes = [
        coder.encode(KEY, q, STANDARD, kl_bits=kl).index
        for q, kl in [(target, profile), (Normal(mean.ravel(), 1.0), profile.ravel().tolist())]
    ]
    np.testing.assert_array_equal(*codes)


def test_no_gradient_passes_through_the_search():
    coder, wide = VectorCoder(block_bits=6), Normal(np.zeros(70), 1.0)

    def total(loc, shift):
        p = Normal(wide.loc + shift, wide.scale)
        return coder.encode(KEY, Normal(loc, jnp.ones(70)), p, kl_bits=1).sample.sum()

    of_target, of_proposal = jax.grad(total, (0, 1))(jnp.full(70, 0.1), jnp.float32(0))
    assert (of_target == 0).all() and of_proposal == pytest.approx(70)


def test_bad_calls_and_tables_are_refused():
    coder, wide = VectorCoder(block_bits=8), Normal(np.zeros(70), 1.0)
    for call in (-1, 1 << 32, True, np.int64(-1), 0.5, np.zeros(2, int)):
        with pytest.raises(ValueError, match="call must be"):
            coder.encode(KEY, wide, wide, kl_bits=1, call=call)
    for shape in ((4, 128), (256,)):
        with pytest.raises(ValueError, match="table must be the result of table"):
            coder.encode(KEY, wide, wide, kl_bits=1, table=jnp.zeros(shape))
