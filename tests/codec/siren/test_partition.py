"""Blocks of latents and the shifts across patches: integers that encoder and decoder must share."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjax.codec.siren.partition import (
    NEGLIGIBLE,
    block_table,
    informative,
    partition,
    source_rows,
)

KL = np.random.default_rng(0).gamma(0.3, 2.0, 500)


def blocks_of(order, widths):
    return np.split(order, np.cumsum(widths)[:-1])


@pytest.mark.parametrize("budget", [4, 8, 16])
def test_every_latent_is_in_one_block(budget):
    order, widths = partition(KL, budget, seed=3)
    assert order.dtype == widths.dtype == np.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(len(KL)))
    assert widths.sum() == len(KL) and widths.min() >= 1


@pytest.mark.parametrize("budget", [4, 8, 16])
def test_block_kl_is_as_near_to_the_budget_as_it_gets(budget):
    blocks = blocks_of(*partition(KL, budget, seed=3))
    for block, after in itertools.pairwise(blocks):
        kl, following = KL[block].sum(), KL[after[0]]
        # neither the last latent of the block nor the next one would have brought it closer
        assert abs(kl - budget) <= abs(kl + following - budget) + 1e-9
        assert len(block) == 1 or abs(kl - budget) <= abs(kl - KL[block[-1]] - budget) + 1e-9
    assert KL[blocks[-1]].sum() <= budget + KL[blocks[-1]].max()


def test_partition_is_a_seeded_permutation():
    order, widths = partition(KL, 8, seed=3)
    again, same = partition(KL.copy(), 8, seed=3)
    np.testing.assert_array_equal(order, again)
    np.testing.assert_array_equal(widths, same)
    assert np.any(partition(KL, 8, seed=4)[0] != order)
    # not sorted by position or by KL: neighbouring latents must not land in one block
    assert abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) < 5 / np.sqrt(len(order))
    assert abs(np.corrcoef(KL[order], np.arange(len(order)))[0, 1]) < 5 / np.sqrt(len(order))


def test_a_latent_above_the_budget_gets_its_own_block():
    order, widths = partition(np.array([30.0, 30.0, 30.0]), 8, seed=0)
    assert widths.tolist() == [1, 1, 1] and sorted(order.tolist()) == [0, 1, 2]


def test_negligible_latents_are_those_that_carry_least():
    kept = informative(KL)
    assert kept.dtype == bool and 0 < kept.sum() < len(KL)
    assert KL[~kept].sum() <= NEGLIGIBLE * KL.sum()
    assert KL[~kept].max() <= KL[kept].min()
    # as many as possible
    assert KL[~kept].sum() + KL[kept].min() > NEGLIGIBLE * KL.sum()
    assert informative(np.full(10, 1.0)).all()


def test_block_table_lists_the_blocks():
    order, widths = partition(KL, 8, seed=3)
    table = block_table(order, widths, len(KL))
    assert table.shape == (len(widths), widths.max()) and table.dtype == np.int32
    for row, block in zip(table, blocks_of(order, widths), strict=True):
        np.testing.assert_array_equal(row[: len(block)], block)
        assert np.all(row[len(block) :] == len(KL))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 2**31))
def test_shifts_are_a_bijection_within_each_signal(counts, seed):
    words = np.random.default_rng(seed).integers(0, 2**32, 6, dtype=np.uint32)
    source, inverse = source_rows(counts, words)
    assert source.dtype == inverse.dtype == np.int32
    rows, columns = np.arange(sum(counts))[:, None], np.arange(6)[None]
    np.testing.assert_array_equal(source[inverse, columns], np.broadcast_to(rows, source.shape))
    np.testing.assert_array_equal(inverse[source, columns], np.broadcast_to(rows, source.shape))
    ends = np.cumsum(counts)
    for start, end in zip(ends - counts, ends, strict=True):
        assert np.all(np.sort(source[start:end], axis=0) == np.arange(start, end)[:, None])
        # what happens to a signal does not depend on its neighbours in the batch
        np.testing.assert_array_equal(
            source[start:end] - start, source_rows([int(end - start)], words)[0]
        )


def test_single_patches_stay_where_they_are():
    words = np.random.default_rng(0).integers(0, 2**32, 5, dtype=np.uint32)
    source, inverse = source_rows([1, 1, 1], words)
    for table in (source, inverse):
        np.testing.assert_array_equal(table, np.broadcast_to(np.arange(3)[:, None], (3, 5)))


def test_shifts_mix_patches():
    words = np.random.default_rng(0).integers(0, 2**32, 1000, dtype=np.uint32)
    source, _ = source_rows([4], words)
    share = np.bincount(source[0], minlength=4) / 1000
    assert np.all(np.abs(share - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 1000))
