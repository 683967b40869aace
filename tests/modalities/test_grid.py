"""Cutting arrays of one to three axes into patches, against plain loops."""

import itertools

import numpy as np
import pytest

from recjax.modalities.grid import Grid, cut, filled_up, join, n_patches, weights_of

CASES = [
    ((1,), (4,)),
    ((8,), (4,)),
    ((11,), (4,)),
    ((1, 1), (32, 32)),
    ((64, 96), (32, 32)),
    ((31, 33), (32, 16)),
    ((100, 7), (32, 8)),
    ((3, 5, 4), (2, 4, 4)),
    ((4, 1, 9), (1, 2, 3)),
]
each_case = pytest.mark.parametrize(("sides", "patch"), CASES, ids=str)


def drawn(sides):
    return np.random.default_rng(0).normal(size=(*sides, 3)).astype(np.float32)


def places(sides, patch):
    """The first cell of every patch, in order."""
    return list(itertools.product(*(range(0, n, step) for n, step in zip(sides, patch))))


@each_case
def test_patches_lie_in_order_and_continue_the_edge(sides, patch):
    values = drawn(sides)
    patches = cut(filled_up(values, patch), patch)
    starts = places(sides, patch)
    assert patches.shape == (len(starts), *patch, 3) and len(starts) == np.prod(
        n_patches(sides, patch)
    )
    for own, start in zip(patches, starts, strict=True):
        for cell in np.ndindex(patch):
            # the nearest cell of the signal
            inside = (min(a + b, n - 1) for a, b, n in zip(start, cell, sides))
            np.testing.assert_array_equal(own[cell], values[tuple(inside)])


@each_case
def test_joined_patches_are_the_signal(sides, patch):
    values = drawn(sides)
    joined = join(cut(filled_up(values, patch), patch), sides, patch)
    np.testing.assert_array_equal(joined, values)


@each_case
def test_weights_are_zero_beyond_the_edge_and_where_masked(sides, patch):
    values, mask = drawn(sides), np.random.default_rng(1).random(sides) < 0.7
    for own in (None, mask):
        weights = weights_of(Grid(values, mask=own), patch)
        assert weights.shape == filled_up(values, patch).shape[:-1]
        expected = np.zeros(weights.shape)
        expected[tuple(map(slice, sides))] = 1 if own is None else own
        np.testing.assert_array_equal(weights, expected)
