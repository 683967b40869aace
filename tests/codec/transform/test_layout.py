"""Blocks that follow an image: what is coded, in which order, and how much lies in a block."""

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from recjax.codec.transform.layout import (
    FACTOR_UNIT,
    allocate,
    blocks_of,
    count_blocks,
    count_units,
    level_units,
    scaled,
)
from recjax.codec.transform.prior import MOST, UNIT


@st.composite
def images(draw):
    """Units of the latents of an image, words for those that are coded, few so that some are equal, and a budget."""
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 6)))
    amounts = st.one_of(st.just(0), st.integers(1, MOST), st.sampled_from([1, MOST]))
    units = draw(arrays.arrays(np.uint16, shape, elements=amounts))
    few = st.sampled_from([0, 1, 2**31, 2**32 - 1])
    words = draw(arrays.arrays(np.uint32, int(np.count_nonzero(units)), elements=few))
    return units, words, draw(st.integers(4, 20))


@given(images())
def test_what_has_units_is_coded_once_in_the_order_of_the_words(image):
    units, words, budget = image
    blocks = allocate(units, words, budget)
    candidates = np.flatnonzero(units)
    expected = sorted(
        zip(words.tolist(), candidates.tolist())
    )  # of equal words the first latent comes first
    assert blocks.latents.tolist() == [latent for _, latent in expected]
    assert blocks.widths.sum() == len(candidates)


@given(images())
def test_blocks_are_even_and_none_of_14_bits_is_empty(image):
    units, words, budget = image
    blocks = allocate(units, words, budget)
    own = units.reshape(-1)[blocks.latents].astype(np.int64)
    assert len(blocks.widths) == count_blocks(int(own.sum()), budget)
    if not len(own):
        assert len(blocks.widths) == 0
        return
    # every border lies within half a latent of where it should
    sums = [part.sum() for part in np.split(own, np.cumsum(blocks.widths)[:-1])]
    assert (np.abs(np.array(sums) - own.sum() / len(sums)) <= own.max() + 1).all()
    if budget >= 14:
        assert (blocks.widths > 0).all()


def test_blocks_of_many_latents_have_the_budget():
    rng = np.random.default_rng(0)
    units = rng.integers(0, 3 * UNIT, (64, 64, 8)).astype(np.uint16)
    words = rng.integers(0, 2**32, np.count_nonzero(units), dtype=np.uint32)
    blocks = allocate(units, words, 16)
    own = units.reshape(-1)[blocks.latents].astype(np.int64)
    bits = np.add.reduceat(own, np.cumsum([0, *blocks.widths[:-1]])) / UNIT
    assert abs(bits.mean() - 16) < 0.01 and np.abs(bits - 16).max() < 3.1


@pytest.mark.parametrize("units", [MOST, 16 * UNIT // 2])
def test_no_block_is_empty_however_many_there_are(units):
    """Where the mean of a block is just above a whole number of units too."""
    amounts = np.full(40000, units, np.uint16)
    amounts[0] = 1
    blocks = allocate(amounts, np.arange(40000, dtype=np.uint32), 16)
    assert (blocks.widths > 0).all() and len(blocks.widths) == round(
        amounts.sum(dtype=np.int64) / (16 * UNIT)
    )


@given(st.integers(0, 2**40), st.integers(4, 20))
def test_the_number_of_blocks_is_the_nearest(units, budget):
    count = count_blocks(units, budget)
    assert (count == 0) == (units == 0)
    if count > 1:
        assert abs(units - count * budget * UNIT) <= budget * UNIT / 2
    elif count:
        assert units < 1.5 * budget * UNIT


def test_tables_show_the_latents_of_each_block():
    units = np.array([[3, 0, 4, 10, 2]], np.uint16) * UNIT
    blocks = allocate(units, np.array([3, 2, 1, 0], np.uint32), 10)
    assert blocks.latents.tolist() == [4, 3, 2, 0] and blocks.widths.tolist() == [2, 2]
    assert blocks.table.tolist() == [[4, 3], [2, 0]]
    uneven = allocate(np.array([1, 1, 1, 9], np.uint16) * UNIT, np.arange(4, dtype=np.uint32), 6)
    assert uneven.widths.tolist() == [3, 1] and uneven.table.tolist() == [[0, 1, 2], [3, -1, -1]]
    empty = allocate(0 * units, np.zeros(0, np.uint32), 10)
    assert empty.table.shape == (0, 0) and empty.latents.shape == (0,)


@pytest.mark.parametrize("shape", [(2, 2), (2, 6), (4, 2)])
def test_units_of_levels_are_counted_without_them(transforms, shape):
    """And belong to the cells whose class they hang on: 2 x 2 of the lowest."""
    prior = transforms.priors[1]
    classes = np.random.default_rng(1).integers(0, 4, shape)
    for level, side in ((0, 2), (1, 1)):
        units = level_units(prior, level, classes, FACTOR_UNIT)
        assert units.shape == (side * shape[0], side * shape[1], prior.config.depths[level])
        for y, x in np.ndindex(units.shape[:2]):
            np.testing.assert_array_equal(
                units[y, x], prior.expected[level][classes[y // side, x // side]]
            )
    for level, factor in itertools.product(range(2), (1, 20, FACTOR_UNIT, 256)):
        units, blocks = (
            level_units(prior, level, classes, factor),
            blocks_of(prior, level, classes, factor),
        )
        assert count_units(prior, level, classes, factor) == units.sum(dtype=np.int64)
        assert len(blocks.widths) == count_blocks(
            count_units(prior, level, classes, factor), prior.budget
        )
        assert len(blocks.latents) == np.count_nonzero(units)
    orders = [blocks_of(prior, level, classes, FACTOR_UNIT).latents for level in (0, 1)]
    assert (np.diff(orders[0]) < 0).any() and not np.array_equal(
        orders[0][: len(orders[1])], orders[1]
    )


def test_latents_are_dealt_alike_over_an_image(transforms):
    """The order is random: the first half of it has its share of every quarter of the image."""
    prior = transforms.priors[1]
    classes = np.full((32, 32), 2)
    order, units = (
        blocks_of(prior, 0, classes, FACTOR_UNIT).latents,
        level_units(prior, 0, classes, FACTOR_UNIT),
    )
    first = np.zeros(units.size, bool)
    first[order[: len(order) // 2]] = True
    coded, quarter = units > 0, np.s_[:32, 32:]
    n = coded[quarter].sum()
    assert n > 1000
    share = first.reshape(units.shape)[quarter].sum() / n
    assert abs(share - 0.5) < 5 * np.sqrt(0.25 / n)


def test_scaled_units_keep_their_zeros_and_bounds():
    units = np.array([0, 1, 3, 100, 2000, 2560], np.uint16)
    assert scaled(units, FACTOR_UNIT).tolist() == units.tolist()
    assert scaled(units, 1).tolist() == [0, 1, 1, 3, 63, 80]
    assert scaled(units, 256).tolist() == [0, 8, 24, 800, MOST, MOST]
