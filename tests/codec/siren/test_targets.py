"""Targets: which pixels, scaled how, in which subset."""

import numpy as np
import pytest

from recjax.codec.siren.efforts import EFFORTS
from recjax.codec.siren.targets import make_targets, phases_of, subsets_of, take_subset


@pytest.mark.parametrize(("n_points", "subsets"), [(64, 4), (60, 4), (9, 1), (1, 1), (2, 1)])
def test_subsets_are_a_fixed_partition_of_the_grid(n_points, subsets):
    points = subsets_of(n_points)
    assert points.shape == (subsets, n_points // subsets)
    np.testing.assert_array_equal(np.sort(points.ravel()), np.arange(n_points))
    np.testing.assert_array_equal(points, subsets_of(n_points))


def test_targets_hold_every_pixel_once():
    rng = np.random.default_rng(0)
    patches = rng.uniform(-0.5, 0.5, (3, 4, 6, 3)).astype(np.float32)
    weights = rng.integers(0, 2, (3, 4, 6)).astype(np.float32)
    targets = make_targets(patches, weights)
    assert targets.values.shape == (4, 3, 3, 6) and targets.weights.shape == (4, 3, 6)
    pixels, mask = np.full((3, 24, 3), np.nan), np.full((3, 24), np.nan)
    for i in range(4):
        subset = take_subset(targets, i)
        pixels[:, np.asarray(subset.points)] = np.asarray(subset.values).transpose(0, 2, 1)
        mask[:, np.asarray(subset.points)] = subset.weights
    np.testing.assert_array_equal(pixels, patches.reshape(3, 24, 3))
    np.testing.assert_array_equal(mask, weights.reshape(3, 24))
    assert np.all(np.asarray(make_targets(patches).weights) == 1)


@pytest.mark.parametrize("grid", [(8,), (2, 4), (4, 2, 6)])
def test_phases_are_the_parities_of_coordinates(grid):
    phases = phases_of(grid)
    assert phases.shape == (2 ** len(grid), np.prod(grid) // 2 ** len(grid))
    for number, points in enumerate(phases):
        places = np.stack(np.unravel_index(points, grid), axis=-1)
        bits = [number >> axis & 1 for axis in range(len(grid))][::-1]
        assert np.all(places % 2 == bits)
        # in the order of the coarser grid
        np.testing.assert_array_equal(points, np.sort(points))
    np.testing.assert_array_equal(np.sort(phases.ravel()), np.arange(np.prod(grid)))


def test_more_effort_is_more_work():
    assert sorted(EFFORTS) == list(range(1, 10))
    for low, high in zip(range(1, 9), range(2, 10), strict=True):
        a, b = EFFORTS[low], EFFORTS[high]
        assert (
            b.fit_steps > a.fit_steps
            and b.refine_steps > a.refine_steps
            and b.extra_bits >= a.extra_bits
        )
