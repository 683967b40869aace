"""The block coder against a plain NumPy search, and the laws of its samples and indices."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recjax.blocks import candidates, ordered_random
from recjax.blocks.ordered_random import BlockCoder

KEY = jax.random.key(5)


def blocks(count, d, seed=0, widths=None):
    """Random blocks: ids, mu, sigma, width."""
    rng = np.random.default_rng(seed)
    ids = np.stack([np.arange(count) // 7, np.arange(count) % 7], axis=1).astype(np.uint32)
    mu = rng.standard_normal((count, d)).astype(np.float32)
    sigma = (0.2 + 0.6 * rng.random((count, d))).astype(np.float32)
    width = np.full(count, d) if widths is None else rng.integers(*widths, count)
    return tuple(map(jnp.asarray, (ids, mu, sigma, width.astype(np.int32))))


def encode(coder, ids, mu, sigma, width, key=KEY):
    return coder.encode(coder.table(key, mu.shape[1]), key, ids, mu, sigma, width)


def scores(coder, ids, mu, sigma, width, key=KEY):
    """The score of every candidate and the candidate as each block sees it, in float64."""
    d = mu.shape[1]
    table = np.asarray(coder.table(key, d), np.float64)
    column, sign = map(np.asarray, candidates.signed_columns(key, ids, width, d))
    for m, s, w, c, g in zip(
        np.asarray(mu, np.float64), np.asarray(sigma, np.float64), width, column, sign
    ):
        z = table[:, d : 2 * d][:, c[:w]] * g[:w]
        yield 0.5 * (z**2 - ((z - m[:w]) / s[:w]) ** 2).sum(axis=1) + table[:, -1], z


@pytest.mark.parametrize(
    "budget,extra_bits",
    [(8, -2), (10, 2), *(pytest.param(b, 0, marks=pytest.mark.slow) for b in (4, 6))],
)
def test_chooses_the_candidate_that_a_plain_search_chooses(budget, extra_bits):
    coder = BlockCoder(budget=budget, extra_bits=extra_bits)
    batch = blocks(90, 5, widths=(0, 6))
    index, sample = map(np.asarray, encode(coder, *batch))
    for i, x, w, (score, z) in zip(index, sample, batch[3], scores(coder, *batch)):
        assert score[i] >= score.max() - 1e-4
        np.testing.assert_array_equal(x[:w], z[i].astype(np.float32))
        assert (x[w:] == 0).all()
    assert len(set(index)) > 10


@pytest.mark.parametrize("sigma", [2.0**-15, pytest.param(2.0**-12, marks=pytest.mark.slow)])
def test_sharp_blocks_are_searched_without_expanding_the_square(sigma):
    coder = BlockCoder(budget=16)
    ids, mu, _, width = blocks(40, 2)
    spread = jnp.full(mu.shape, 0.9).at[::2, 0].set(sigma).at[1::2, 1].set(sigma)
    mu, width = mu.at[:, 1].add(1), width.at[::8].set(1)
    index, _ = encode(coder, ids, mu, spread, width)
    sharp = (np.asarray(mu / spread) ** 2 * (np.arange(2) < np.asarray(width)[:, None])).sum(
        axis=1
    ) > 2**18
    assert sharp.sum() > 10
    for i, (score, _) in zip(
        np.asarray(index)[sharp],
        (s for s, hit in zip(scores(coder, ids, mu, spread, width), sharp) if hit),
    ):
        assert score[i] >= score.max() - 0.02 * max(1, abs(score.max()))


def test_decodes_to_the_encoders_sample_bit_for_bit():
    coder, batch = BlockCoder(budget=9), blocks(70, 7, widths=(1, 8))
    ids, _, _, width = batch
    index, sample = encode(coder, *batch)
    np.testing.assert_array_equal(coder.decode(KEY, ids, index, width, 7), sample)
    inside = jax.jit(lambda *args: 2 * encode(coder, *args)[1])(*batch)
    np.testing.assert_array_equal(inside, 2 * sample)
    one = [
        coder.decode(KEY, ids[k : k + 1], index[k : k + 1], width[k : k + 1], 9)[0, :7]
        for k in range(0, 70, 9)
    ]
    np.testing.assert_array_equal(jnp.stack(one), sample[::9])
    words = coder.decode(jax.random.key_data(KEY), ids, index, width, 7)
    np.testing.assert_array_equal(words, sample)


def test_a_block_does_not_depend_on_its_batch():
    coder, batch = BlockCoder(budget=12), blocks(1030, 25, widths=(1, 26))
    table = coder.table(KEY, 25)
    index, sample = coder.encode(table, KEY, *batch)
    for size, start in [(1, 0), (400, 630)]:
        part = slice(start, start + size)
        some, values = coder.encode(table, KEY, *(x[part] for x in batch))
        np.testing.assert_array_equal(some, index[part])
        np.testing.assert_array_equal(values, sample[part])


@pytest.mark.slow
def test_the_slots_themselves_do_not_depend_on_the_batch():
    """Stronger than equal winners: the winners of targets with many near ties, where the last bit decides."""
    coder = BlockCoder(budget=12)
    ids, mu, sigma, width = blocks(512, 6)
    table = jnp.tile(coder.table(KEY, 6)[:64], (64, 1))  # each candidate 64 times: ties everywhere
    index, _ = coder.encode(table, KEY, ids, mu, sigma, width)
    assert int(index.max()) < 64, "of equal scores the first candidate wins"
    for size in (1, 200):
        np.testing.assert_array_equal(
            coder.encode(table, KEY, ids[:size], mu[:size], sigma[:size], width[:size])[0],
            index[:size],
        )


@pytest.mark.slow
def test_generating_candidates_by_tiles_changes_nothing():
    kept, generated = BlockCoder(budget=13), BlockCoder(budget=13, table_bytes=0)
    batch = blocks(20, 4, widths=(1, 5))
    assert generated.table(KEY, 4).shape == (2**13, 1)
    for a, b in zip(encode(kept, *batch), encode(generated, *batch)):
        np.testing.assert_array_equal(a, b)


def test_padding_is_ignored_and_its_content_too():
    coder = BlockCoder(budget=8)
    ids, mu, sigma, _ = blocks(30, 4)
    width = jnp.full(30, 4)
    index, sample = encode(coder, ids, mu, sigma, width)
    wide = lambda x: jnp.pad(x, ((0, 0), (0, 3)), constant_values=jnp.nan)
    padded, values = encode(coder, ids, wide(mu), wide(sigma), width)
    np.testing.assert_array_equal(padded, index)
    np.testing.assert_array_equal(values[:, :4], sample)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0, 1e-30])
def test_blocks_without_a_meaningful_choice_are_marked_and_harm_no_other(bad):
    coder, (ids, mu, sigma, width) = BlockCoder(budget=8), blocks(9, 3)
    index, sample = encode(coder, ids, mu, sigma, width)
    marked, values = encode(coder, ids, mu, sigma.at[4, 1].set(bad), width)
    assert int(marked[4]) == -1 and bool(jnp.isnan(values[4]).all())
    others = np.arange(9) != 4
    np.testing.assert_array_equal(marked[others], index[others])
    np.testing.assert_array_equal(values[others], sample[others])
    for wrong in (mu.at[2, 0].set(jnp.nan), mu.at[2, 0].set(-jnp.inf)):
        assert int(encode(coder, ids, wrong, sigma, width)[0][2]) == -1
    for wrong in (-1, 4):
        assert int(encode(coder, ids, mu, sigma, width.at[2].set(wrong))[0][2]) == -1


@functools.cache
def equal_targets(kl_bits, d, extra_bits, tables, count=64):
    """Indices and normalised errors (z - mu) / sigma of ``count`` blocks with one target, for several tables."""
    coder = BlockCoder(budget=kl_bits, extra_bits=extra_bits)
    sigma = 0.5
    mu = math.sqrt(2 * (kl_bits * math.log(2) / d + math.log(sigma)) + 1 - sigma**2)
    ids = jnp.stack([jnp.zeros(count, jnp.uint32), jnp.arange(count, dtype=jnp.uint32)], axis=1)
    shape, width = (count, d), jnp.full(count, d)
    run = jax.jit(
        lambda key: encode(coder, ids, jnp.full(shape, mu), jnp.full(shape, sigma), width, key=key)
    )
    index, z = zip(*(run(jax.random.key(seed)) for seed in range(tables)))
    return np.stack(index), (np.stack(z) - mu) / sigma


# E[error^2] and E[log2(index + 1)], each with its standard error, of an independent NumPy simulation of ordered
# random coding with fresh candidates (500 to 20,000 blocks)
LAWS = [
    (8, 4, 0, 200, (1.520, 0.0062), (5.291, 0.0143)),
    (8, 4, 2, 150, (1.181, 0.0055), (6.314, 0.0173)),
    (8, 4, 4, 80, (1.054, 0.0081), (6.902, 0.0309)),
    (12, 8, 0, 48, (1.369, 0.0101), (8.610, 0.0478)),
    (12, 8, 2, 24, (1.146, 0.0134), (9.851, 0.0743)),
    (12, 8, 4, 8, (1.051, 0.0221), (10.605, 0.144)),
]


# the candidates of 12 bits and more take long
each_law = pytest.mark.parametrize(
    "kl_bits,d,extra_bits,tables,bias,log_index",
    [pytest.param(*law, marks=() if law[0] + law[2] <= 10 else pytest.mark.slow) for law in LAWS],
)


@each_law
def test_law_of_samples_and_indices(kl_bits, d, extra_bits, tables, bias, log_index):
    index, error = equal_targets(kl_bits, d, extra_bits, tables)
    # blocks of one table are not quite independent, tables are
    measured = (error**2).mean(axis=(1, 2)), np.log2(index + 1.0).mean(axis=1)
    for values, (expected, uncertainty) in zip(measured, (bias, log_index)):
        allowed = 5 * math.hypot(values.std() / math.sqrt(tables), uncertainty)
        assert abs(values.mean() - expected) < allowed < 0.1 * expected + 0.35


@each_law
def test_blocks_with_equal_targets_choose_independently(
    kl_bits, d, extra_bits, tables, bias, log_index
):
    _, error = equal_targets(kl_bits, d, extra_bits, tables)
    error = error - error.mean()
    count = error.shape[1]
    cross = (error.sum(axis=1) ** 2 - (error**2).sum(axis=1)).mean(axis=1) / (count * (count - 1))
    assert cross.mean() < 0.05 + 5 * cross.std() / math.sqrt(tables)
    assert 5 * cross.std() / math.sqrt(tables) < 0.1


def test_withoutsigned_columns_they_would_not(monkeypatch):
    plain = lambda key, ids, width, d: (
        jnp.tile(jnp.arange(d), (len(ids), 1)),
        jnp.ones((len(ids), d), jnp.int32),
    )
    monkeypatch.setattr(ordered_random, "signed_columns", plain)
    coder, shape = BlockCoder(budget=7), (5, 3)
    ids = blocks(*shape)[0]
    index, _ = encode(coder, ids, jnp.full(shape, 1.2), jnp.full(shape, 0.5), jnp.full(5, 3))
    assert len(set(index.tolist())) == 1


@pytest.mark.parametrize("platform,rows,lanes", [("cpu", 2048, 64), ("cuda", 4096, 1024)])
def test_products_have_the_shape_of_the_platform_compiled_for(platform, rows, lanes):
    coder, batch = BlockCoder(budget=12), blocks(9, 3)
    encode = jax.jit(lambda *blocks: coder.encode(coder.table(KEY, 3), KEY, *blocks))
    program = jax.export.export(encode, platforms=[platform])(*batch).mlir_module()
    assert re.findall(r"dot_general.*-> tensor<(\d+)x(\d+)xf32>", program) == [
        (str(rows), str(lanes))
    ]


GOLDEN_COLUMNS = [[4, 5, 1, 0, 3, 2, 6], [-1, -1, 1, 1, 1, 1, 1]]
GOLDEN_SAMPLE = [2.064708948, -0.408275455, 0.159383878]


def test_the_order_of_columns_is_uniform_within_the_width_and_frozen():
    ids = jnp.stack(
        [jnp.arange(6000, dtype=jnp.uint32) % 8, jnp.arange(6000, dtype=jnp.uint32)], axis=1
    )
    column, sign = map(np.asarray, candidates.signed_columns(KEY, ids, jnp.full(6000, 3), 5))
    assert (column[:, 3:] == [3, 4]).all() and (sign[:, 3:] == 1).all()
    states = column[:, :3] @ [9, 3, 1] * 8 + (sign[:, :3] > 0) @ [4, 2, 1]
    counts = np.unique(states, return_counts=True)[1]
    assert len(counts) == 48
    assert ((counts - 125) ** 2 / 125).sum() < 97  # chi-square, 47 degrees of freedom, p = 2e-5
    golden = candidates.signed_columns(
        jnp.array([1, 2], jnp.uint32), jnp.array([[3, 4]], jnp.uint32), jnp.array([6]), 7
    )
    assert [x[0].tolist() for x in golden] == GOLDEN_COLUMNS
    sample = BlockCoder(budget=16).decode(
        jnp.array([1, 2], jnp.uint32),
        jnp.array([[3, 4]], jnp.uint32),
        jnp.array([54321]),
        jnp.array([3]),
        3,
    )
    np.testing.assert_allclose(sample[0], GOLDEN_SAMPLE, rtol=4e-7)


def test_wide_blocks_are_sorted_into_the_same_order(monkeypatch):
    rng = np.random.default_rng(3)
    width = jnp.array([0, 1, 65, 99, 100, *rng.integers(0, 101, 40)], jnp.int32)
    ids = jnp.asarray(rng.integers(0, 2**31, (len(width), 2)), jnp.uint32)
    sorted_columns, signs = candidates.signed_columns(KEY, ids, width, 100)
    monkeypatch.setattr(candidates, "_FEW", 100)
    compared, others = candidates.signed_columns(KEY, ids, width, 100)
    np.testing.assert_array_equal(sorted_columns, compared)
    np.testing.assert_array_equal(signs, others)


@pytest.mark.slow
def test_float64():
    with jax.enable_x64(True):
        coder, (ids, mu, sigma, width) = BlockCoder(budget=8), blocks(50, 3)
        table = coder.table(KEY, 3, jnp.float64)
        index, sample = coder.encode(
            table, KEY, ids, mu.astype(jnp.float64), sigma.astype(jnp.float64), width
        )
        assert table.dtype == sample.dtype == jnp.float64 and index.dtype == jnp.int32
        np.testing.assert_array_equal(coder.decode(KEY, ids, index, width, 3, jnp.float64), sample)
    single, _ = encode(coder, ids, mu, sigma, width)
    np.testing.assert_array_equal(single, index)


@pytest.mark.wrong_types
def test_refuses_settings_and_shapes_that_do_not_fit():
    for settings in (
        {"budget": 3},
        {"budget": 21},
        {"budget": 20, "extra_bits": 5},
        {"budget": 5, "extra_bits": -2},
    ):
        with pytest.raises(ValueError, match="budget"):
            BlockCoder(**settings)
    coder, (ids, mu, sigma, width) = BlockCoder(budget=6), blocks(4, 3)
    with pytest.raises(ValueError, match="table"):
        coder.encode(coder.table(KEY, 2), KEY, ids, mu, sigma, width)
    with pytest.raises(ValueError, match="shapes"):
        coder.encode(coder.table(KEY, 3), KEY, ids, mu, sigma[:, :2], width)
    assert (
        hash(coder) == hash(BlockCoder(budget=6))
        and BlockCoder(budget=20, extra_bits=4).candidates == 2**24
    )


def test_no_blocks():
    index, sample = encode(BlockCoder(budget=6), *blocks(0, 3))
    assert index.shape == (0,) and sample.shape == (0, 3)
