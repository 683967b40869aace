"""Space partitioning of Gaussian blocks, as the experiments have it: receiver, law of the sample, and rate."""

import itertools

import jax
import numpy as np
import pytest

import recjax
from experiments import level_coders, partitioned_blocks
from experiments.partitioned_blocks import PartitionedBlocks
from experiments.partitioned_candidates import draw_bins, log_times, ranks
from recjax.codec.transform.layout import Blocks
from recjax.codec.transform.level_coding import LevelTask

pytestmark = pytest.mark.standard_promotion
KEY = jax.random.key(5)
MU, SIGMA = np.array([1.6, -1.1, 0.7, 0.4, -0.2, 0.1]), np.array([0.15, 0.3, 0.5, 0.7, 0.9, 0.95])
KL = (0.5 * (SIGMA**2 + MU**2 - 1) - np.log(SIGMA)) / np.log(2)


def blocks(count):
    ids = np.stack([np.arange(count), np.full(count, 3)], axis=1).astype(np.uint32)
    return ids, np.tile(MU, (count, 1)), np.tile(SIGMA, (count, 1)), np.full(count, len(MU))


@pytest.mark.slow
@pytest.mark.parametrize("best", [False, True])
def test_the_receiver_has_the_candidate_with_the_best_score(best):
    """All candidates, regenerated from bin and rank and scored one by one: the encoder's choice wins."""
    coder, count = PartitionedBlocks(partition_bits=5, search_bits=8, most_cut=3, best=best), 20
    ids, mu, sigma, width = blocks(count)
    width[::2] = 4
    bits = coder.allot(np.where(np.arange(len(MU)) < width[:, None], KL, 0))
    number, rank = coder.encode(coder.table(KEY, 4), KEY, ids, mu, sigma, width, bits)
    f32, n = np.float32, 1 << coder.search_bits
    noise = -np.asarray(log_times(KEY, ids, n))
    bins, log_shares = map(np.asarray, draw_bins(KEY, ids, mu[:, :3].astype(f32), sigma[:, :3].astype(f32),
                                                 bits.astype(np.uint32), n))  # fmt: skip
    for i in range(count):
        seen = [list(bins[i, :j]).count(bins[i, j]) for j in range(n)]
        own = [np.repeat(x[i : i + 1], n, axis=0) for x in (ids, width, bits)]
        z = coder.decode(KEY, own[0], bins[i], np.array(seen), own[1], own[2], 4)[
            :, : len(MU)
        ].astype(float)
        ratio = (0.5 * (z**2 - ((z - MU) / SIGMA) ** 2))[:, : width[i]].sum(axis=1)
        score = ratio - np.log1p(seen) if best else ratio + noise[i] - log_shares[i]
        assert (number[i], rank[i]) == (bins[i, score.argmax()], seen[score.argmax()])
        assert not z[:, width[i] :].any()


def moments(coder, count):
    """Standard errors by which the mean and the variance of the samples are off, largest over coordinates."""
    ids, mu, sigma, width = blocks(count)
    bits = coder.allot(np.tile(KL, (count, 1)))
    number, rank = coder.encode(coder.table(KEY, 4), KEY, ids, mu, sigma, width, bits)
    x = coder.decode(KEY, ids, number, rank, width, bits, 4)[:, : len(MU)]
    z = (x - MU) / SIGMA
    return np.abs(z.mean(axis=0)).max() * count**0.5, np.abs((z**2).mean(axis=0) - 1).max() * (
        count / 2
    ) ** 0.5


@pytest.mark.slow
def test_samples_have_the_mean_and_variance_of_the_target(monkeypatch):
    coder, count = PartitionedBlocks(partition_bits=5, search_bits=14, most_cut=3), 1500
    assert max(moments(coder, count)) < 5

    def without_shares(*args):
        number, log_shares = draw_bins(*args)
        return number, 0 * log_shares

    monkeypatch.setattr(partitioned_blocks, "draw_bins", without_shares)
    assert max(moments(coder, count)) > 5


@pytest.mark.slow
def test_places_of_equal_mass_in_the_prior():
    """A candidate lies in its bin, and over ranks it is distributed as the prior there."""
    coder, count = PartitionedBlocks(partition_bits=3, most_cut=2), 4096
    bits, ids, width = (
        np.tile([2, 1], (count, 1)),
        np.zeros((count, 2), np.uint32),
        np.full(count, 4),
    )
    for first, second in itertools.product(range(4), range(2)):
        number = np.full(count, 2 * first + second, np.uint32)
        z = coder.decode(KEY, ids, number, np.arange(count), width, bits, 2)
        u = np.asarray(jax.scipy.special.ndtr(z)) * [4, 2, 1, 1] - [first, second, 0, 0]
        assert (u > -1e-3).all() and (u < 1 + 1e-3).all()
        assert np.abs(u.mean(axis=0) - 0.5).max() < 5 * (1 / 12 / count) ** 0.5
        assert np.abs((u**2).mean(axis=0) - 1 / 3).max() < 5 * (4 / 45 / count) ** 0.5


def test_ranks_count_the_earlier_candidates_of_a_bin():
    number = np.array([[3, 3, 0, 3, 0, 1], [0, 0, 0, 0, 0, 0]], np.uint32)
    assert ranks(number, 4).tolist() == [[0, 1, 0, 2, 1, 0], [0, 1, 2, 3, 4, 5]]


def test_bits_are_allotted_as_the_library_allots_them():
    expected = np.sort(np.random.default_rng(0).uniform(0.5, 4.0, (30, 12)), axis=1)[:, ::-1]
    bits = PartitionedBlocks(partition_bits=6, most_cut=12).allot(expected)
    assert [tuple(row) for row in bits.tolist()] == [recjax.allot_bits(row, 6) for row in expected]
    assert PartitionedBlocks(partition_bits=6, most_cut=4).allot(
        np.array([[1.5, 0.2, 0, 0, 0]])
    ).tolist() == [[2, 1, 0, 0]]


def test_messages_cost_their_bins_and_ranks():
    coder = PartitionedBlocks(partition_bits=4, search_bits=8)
    rank = np.random.default_rng(0).integers(0, 256, 5000)
    assert coder.codelength(np.full(5000, 4), rank) == pytest.approx(5000 * 12, rel=1e-3)
    assert coder.codelength(np.full(5000, 4), 0 * rank) > 5000 * 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("partition_bits", -1),
        ("partition_bits", 21),
        ("search_bits", 5),
        ("search_bits", 21),
        ("search_bits", 8.0),
    ],
)
def test_numbers_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        PartitionedBlocks(**{"partition_bits": 4, name: value})


def test_tables_too_large_for_memory_are_refused(monkeypatch):
    """Of 2^20 candidates a coordinate takes 8 MiB."""
    monkeypatch.setattr(level_coders, "level_units", lambda *_: np.zeros(300))
    coder = level_coders.Partitioned(24, PartitionedBlocks(partition_bits=4, search_bits=20))
    blocks = Blocks(latents=np.arange(300), widths=np.array([300]))
    with pytest.raises(ValueError, match="300 latents needs a table of more than 2 GiB"):
        coder._code_image(None, LevelTask(0, None, 1, blocks, np.zeros(300), np.ones(300)))
