"""Blocks of latents: every latent in one, each with about a budget of KL."""

import itertools

import numpy as np
import pytest

from recjax.codec.siren.partition import partition
from recjax.codec.training.informative import NEGLIGIBLE, informative

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
