"""Targets: which pixels, scaled how, in which subset."""

import numpy as np
import pytest

from recjax.codec.siren.efforts import EFFORTS as SIREN_EFFORTS
from recjax.codec.siren.targets import make_targets, subsets_of, take_subset
from recjax.codec.transform.efforts import EFFORTS as TRANSFORM_EFFORTS


@pytest.mark.parametrize(("n_points", "subsets"), [(64, 4), (60, 4), (9, 1), (1, 1), (2, 1)])
def test_subsets_are_a_fixed_partition_of_the_grid(n_points, subsets):
    points = subsets_of(n_points)
    assert points.shape == (subsets, n_points // subsets)
    np.testing.assert_array_equal(np.sort(points.ravel()), np.arange(n_points))
    np.testing.assert_array_equal(points, subsets_of(n_points))


def test_targets_hold_every_pixel_once():
    rng = np.random.default_rng(0)
    patches = rng.integers(0, 256, (3, 4, 6, 3), dtype=np.uint8)
    weights = rng.integers(0, 2, (3, 4, 6)).astype(np.float32)
    targets = make_targets(patches, weights)
    assert targets.values.shape == (4, 3, 3, 6) and targets.weights.shape == (4, 3, 6)
    pixels, mask = np.full((3, 24, 3), np.nan), np.full((3, 24), np.nan)
    for i in range(4):
        subset = take_subset(targets, i)
        pixels[:, np.asarray(subset.points)] = np.asarray(subset.values).transpose(0, 2, 1)
        mask[:, np.asarray(subset.points)] = subset.weights
    np.testing.assert_allclose((pixels + 0.5) * 255, patches.reshape(3, 24, 3), atol=1e-4)
    np.testing.assert_array_equal(mask, weights.reshape(3, 24))
    assert np.all(np.asarray(make_targets(patches).weights) == 1)


def test_more_effort_is_more_work():
    assert sorted(EFFORTS) == list(range(1, 10))
    for low, high in zip(range(1, 9), range(2, 10), strict=True):
        a, b = SIREN_EFFORTS[low], SIREN_EFFORTS[high]
        assert (
            b.fit_steps > a.fit_steps
            and b.refine_steps > a.refine_steps
            and b.extra_bits >= a.extra_bits
        )


def test_more_effort_is_more_work_for_transforms():
    for low, high in zip(range(1, 9), range(2, 10), strict=True):
        a, b = (TRANSFORM_EFFORTS[level] for level in (low, high))
        assert b.fit_steps > a.fit_steps and b.extra_bits >= a.extra_bits


@pytest.mark.parametrize("level", [0, 10, -1, True, np.True_, 5.0, "5", None, [5]])
def test_refuses_efforts_other_than_1_to_9(level):
    with pytest.raises(ValueError, match="effort must be"):
        SIREN_EFFORTS[level]


def test_efforts_may_be_integers_of_numpy():
    assert effort_of(np.uint8(5)) == SIREN_EFFORTS[5]
