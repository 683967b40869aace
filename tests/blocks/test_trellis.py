"""The trellis coder against a plain search of all paths, and what it gains over blocks that stand alone."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recjax.blocks.ordered_random import BlockCoder
from recjax.blocks.trellis import TrellisCoder

KEY = jax.random.key(5)


def chains(coder, count, window, d, seed=0):
    """Random arguments of `encode` but for table and key."""
    rng = np.random.default_rng(seed)
    ids = np.stack(
        np.broadcast_arrays(np.arange(count)[:, None], np.arange(window)), axis=-1
    ).astype(np.uint32)
    mu = rng.standard_normal((count, window, d)).astype(np.float32)
    sigma = (0.2 + 0.6 * rng.random((count, window, d))).astype(np.float32)
    width = rng.integers(0, d + 1, (count, window)).astype(np.int32)
    width[0, 0], width[1, -1] = 1, 0
    previous = rng.integers(0, 1 << coder.budget, count).astype(np.int32)
    return tuple(map(jnp.asarray, (ids, mu, sigma, width, previous)))


def encode(coder, ids, mu, sigma, width, previous, key=KEY):
    return coder.encode(coder.table(key, mu.shape[2]), key, ids, mu, sigma, width, previous)


def log_ratio(z, mu, sigma):
    """Up to a constant, in nats: log q(z) / p(z)."""
    z = np.asarray(z, np.float64)
    return 0.5 * (z**2 - ((z - mu) / sigma) ** 2).sum(axis=-1)


def best_first_blocks(coder, ids, mu, sigma, width, previous):
    """For every chain and first index the score of the best path, from `decode` alone."""
    n = 1 << coder.budget
    pairs = np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), axis=-1).reshape(-1, 2)
    for own, m, s, w, before in zip(ids, mu, sigma, np.asarray(width), np.asarray(previous)):
        future = np.zeros(n)
        for k in range(len(w) - 1, -1, -1):
            sent = pairs if k else np.stack([np.full(n, before), np.arange(n)], axis=-1)
            block = jnp.broadcast_to(own[k], (len(sent), 2))
            z = coder.decode(
                KEY, block, sent[:, 1], sent[:, 0], jnp.full(len(sent), w[k]), mu.shape[2]
            )
            gain = log_ratio(z[:, : w[k]], np.asarray(m[k, : w[k]]), np.asarray(s[k, : w[k]]))
            if k:
                future = (gain.reshape(n, n) + future).max(axis=1)
        yield gain + future


@pytest.mark.parametrize(
    "budget,extra_bits,window",
    [
        (5, 2, 2),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [(4, 0, 3), (5, 0, 2), (6, 3, 3)]
        ),
    ],
)
def test_chooses_the_first_block_of_the_best_path(budget, extra_bits, window):
    coder = TrellisCoder(budget=budget, extra_bits=extra_bits, lookahead=window - 1)
    batch = chains(coder, 9, window, 5)
    index, _ = encode(coder, *batch)
    for i, score in zip(np.asarray(index), best_first_blocks(coder, *batch)):
        assert score[i] >= score.max() - 1e-4
    assert len(set(index.tolist())) > 3


def path_scores(coder, ids, mu, sigma, width):
    """Scores of all paths through one chain of T blocks, ``[2^budget] * T``, from `decode` alone."""
    n, length = 1 << coder.budget, len(width)
    pairs = np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), axis=-1).reshape(-1, 2)
    total = np.zeros((n,) * length)
    for k in range(length):
        block, w = jnp.broadcast_to(ids[k], (len(pairs), 2)), int(width[k])
        z = coder.decode(KEY, block, pairs[:, 1], pairs[:, 0], jnp.full(len(pairs), w), mu.shape[1])
        gain = log_ratio(z[:, :w], np.asarray(mu[k, :w]), np.asarray(sigma[k, :w])).reshape(n, n)
        # by the index before, which is 0 at the start, and its own
        total += (gain[0] if k == 0 else gain).reshape(
            (1,) * (k - 1) + (n,) * min(k + 1, 2) + (1,) * (length - k - 1)
        )
    return total


def whole_chains(coder, batch):
    """`encode_chains` of the arguments that `encode` takes, ``[B, T]``."""
    ids, mu, sigma, width = (x.swapaxes(0, 1) for x in batch[:4])
    return np.asarray(
        coder.encode_chains(coder.table(KEY, mu.shape[2]), KEY, ids, mu, sigma, width)
    ).T


@pytest.mark.parametrize(
    "budget,extra_bits,length",
    [
        (4, 2, 3),
        (5, 1, 2),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in [(4, 0, 3), (4, 1, 1)]),
    ],
)
def test_whole_chains_take_the_best_of_all_paths(budget, extra_bits, length):
    coder = TrellisCoder(budget=budget, extra_bits=extra_bits, lookahead=0)
    batch = chains(coder, 7, length, 5, seed=length)
    index = whole_chains(coder, batch)
    assert index.shape == (7, length) and index.min() >= 0 and index.max() < 1 << budget
    for own, *chain in zip(index, *map(np.asarray, batch[:4])):
        scores = path_scores(coder, *chain)
        assert scores[tuple(own)] >= scores.max() - 1e-4
    assert len(np.unique(index)) > 5


@pytest.mark.parametrize("shape", [(0, 4), (3, 0)])
def test_no_chains_and_chains_of_no_blocks_have_no_indices(shape):
    mu = jnp.zeros((*shape, 5))
    parts = jnp.zeros((*shape, 2), jnp.uint32), mu, mu + 1, jnp.zeros(shape, jnp.int32)
    assert whole_chains(TrellisCoder(budget=4), parts).shape == shape


def test_blocks_of_no_width_change_nothing():
    """Whatever their means are, and however many come after a chain's end."""
    coder = TrellisCoder(budget=6, extra_bits=1)
    ids, mu, sigma, width, _ = chains(coder, 7, 4, 5)
    width = jnp.maximum(width, 1)
    index = whole_chains(coder, (ids, mu, sigma, width))
    after = [(0, 0), (0, 3)]
    padded = whole_chains(
        coder,
        (
            jnp.pad(ids, [*after, (0, 0)], constant_values=9),
            jnp.pad(mu, [*after, (0, 0)], constant_values=50),
            jnp.pad(sigma, [*after, (0, 0)], constant_values=1e-3),
            jnp.pad(width, after),
        ),
    )
    np.testing.assert_array_equal(padded[:, :4], index)
    # nor do coordinates beyond a block's width
    beyond = jnp.arange(5, dtype=jnp.int32)[None, None] >= width[:, :, None]
    changed = whole_chains(
        coder, (ids, jnp.where(beyond, 50, mu), jnp.where(beyond, 1e-3, sigma), width)
    )
    np.testing.assert_array_equal(changed, index)


@pytest.mark.slow
@pytest.mark.parametrize(
    "d,most",
    [
        (6, (6, 6, 6, 6)),
        (100, (20, 33, 64, 99)),
        (100, (32, 49, 96, 100)),
        (81, (81, 48, 0, 80)),
    ],
)
def test_windows_that_hold_a_whole_chain_choose_its_path(d, most):
    """Block by block with all that remains in view, as `encode_chains` does it in one go, whatever the widths."""
    coder = TrellisCoder(budget=8, extra_bits=2, lookahead=3)
    ids, mu, sigma, width, _ = chains(coder, 9, 4, d)
    width = jnp.minimum(width, jnp.array([most])).at[0].set(jnp.array(most))
    index = whole_chains(coder, (ids, mu, sigma, width))
    before = jnp.zeros(9, jnp.int32)
    for k in range(4):
        view = tuple(x[:, k:] for x in (ids, mu, sigma, width))
        before, sample = encode(coder, *view, before)
        np.testing.assert_array_equal(before, index[:, k])
        assert bool(jnp.isfinite(sample).all())


def test_decodes_to_the_encoders_sample_and_does_not_depend_on_the_batch():
    coder = TrellisCoder(budget=12, extra_bits=1, lookahead=2)
    batch = chains(coder, 150, 3, 7)
    ids, width, previous = batch[0], batch[3], batch[4]
    index, sample = encode(coder, *batch)
    np.testing.assert_array_equal(
        coder.decode(KEY, ids[:, 0], index, previous, width[:, 0], 7), sample
    )
    assert (np.asarray(sample)[np.arange(7) >= np.asarray(width)[:, :1]] == 0).all()
    for part in (slice(3, 4), slice(40, 130)):
        some, values = encode(coder, *(x[part] for x in batch))
        np.testing.assert_array_equal(some, index[part])
        np.testing.assert_array_equal(values, sample[part])


@pytest.mark.slow
def test_scores_exceed_those_of_samples_and_of_the_best_of_as_many_candidates():
    budget, d, rows, length = 10, 8, 48, 10
    sigma = 0.5
    mu = math.sqrt(2 * (budget * math.log(2) / d + math.log(sigma)) + 1 - sigma**2)
    coder = TrellisCoder(budget=budget, extra_bits=2)
    rng = np.random.default_rng(1)
    target = jnp.asarray(mu * rng.choice([-1, 1], (rows, length, d)), jnp.float32)
    number = jnp.arange(length + coder.lookahead, dtype=jnp.uint32)
    ids = jnp.stack(
        jnp.broadcast_arrays(jnp.arange(rows, dtype=jnp.uint32)[:, None], number), axis=-1
    )
    beyond = ((0, 0), (0, coder.lookahead))
    widths = jnp.pad(jnp.full((rows, length), d), beyond)
    padded = jnp.pad(target, (*beyond, (0, 0)))
    index, trellis = jnp.zeros(rows, jnp.int32), []
    for k in range(length):
        view = slice(k, k + coder.lookahead + 1)
        mu_seen = padded[:, view]
        index, z = encode(
            coder, ids[:, view], mu_seen, jnp.full(mu_seen.shape, sigma), widths[:, view], index
        )
        trellis.append(log_ratio(z, np.asarray(target[:, k]), sigma))
    single = BlockCoder(budget=budget)
    flat = target.reshape(-1, d)
    shape = rows * length, d
    _, z = single.encode(
        single.table(KEY, d),
        KEY,
        ids[:, :length].reshape(-1, 2),
        flat,
        jnp.full(shape, sigma),
        jnp.full(shape[0], d),
    )
    samples = log_ratio(z, np.asarray(flat), sigma)
    best = log_ratio(
        rng.standard_normal((shape[0], 1 << budget, d)), np.asarray(flat)[:, None], sigma
    ).max(axis=1)
    chain_means = np.mean(trellis, axis=0)  # chains are independent, the blocks of one are not
    for other in (samples, best):
        error = math.hypot(chain_means.std() / math.sqrt(rows), other.std() / math.sqrt(len(other)))
        assert chain_means.mean() > other.mean() + 5 * error


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0, 1e-30])
def test_chains_without_a_meaningful_choice_are_marked_and_harm_no_other(bad):
    coder = TrellisCoder(budget=6, lookahead=1)
    ids, mu, sigma, _, previous = chains(coder, 9, 2, 4)
    width = jnp.full((9, 2), 3)
    index, sample = encode(coder, ids, mu, sigma, width, previous)
    marked, values = encode(coder, ids, mu, sigma.at[4, 1, 1].set(bad), width, previous)
    assert int(marked[4]) == -1 and bool(jnp.isnan(values[4]).all())
    others = np.arange(9) != 4
    np.testing.assert_array_equal(marked[others], index[others])
    np.testing.assert_array_equal(values[others], sample[others])
    np.testing.assert_array_equal(
        encode(coder, ids, mu, sigma.at[4, 1, 3].set(bad), width, previous)[0], index
    )
    assert int(encode(coder, ids, mu.at[2, 0, 0].set(jnp.nan), sigma, width, previous)[0][2]) == -1


GOLDEN = [0.5861302614, 0.6081172228, 0.3979655206, 0.0]


def test_candidates_are_frozen():
    sample = TrellisCoder(budget=16, extra_bits=2).decode(
        jnp.array([1, 2], jnp.uint32), jnp.array([[3, 4]], jnp.uint32), jnp.array([54321]), jnp.array([999]),
        jnp.array([3]), 4,
    )  # fmt: skip
    np.testing.assert_allclose(sample[0], GOLDEN, rtol=4e-7)


@pytest.mark.wrong_types
def test_refuses_settings_and_shapes_that_do_not_fit():
    for settings in ({"budget": 3}, {"budget": 21}):
        with pytest.raises(ValueError, match="budget"):
            TrellisCoder(**settings)
    for settings in ({"extra_bits": -1}, {"extra_bits": 5}, {"budget": 4, "extra_bits": 3}):
        with pytest.raises(ValueError, match="extra_bits"):
            TrellisCoder(**settings)
    with pytest.raises(ValueError, match="lookahead"):
        TrellisCoder(lookahead=-1)
    coder = TrellisCoder(budget=6, lookahead=1)
    ids, mu, sigma, width, previous = chains(coder, 4, 2, 3)
    with pytest.raises(ValueError, match="table"):
        coder.encode(coder.table(KEY, 5), KEY, ids, mu, sigma, width, previous)
    with pytest.raises(ValueError, match="shapes"):
        encode(coder, ids, mu, sigma[:, :1], width, previous)
    index, sample = encode(coder, *(x[:0] for x in (ids, mu, sigma, width, previous)))
    assert index.shape == (0,) and sample.shape == (0, 3)
    assert TrellisCoder(budget=20).register_bits == 20
