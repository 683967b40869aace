"""Grids of pixel centres and their Fourier features."""

import numpy as np
import pytest

from recjax.codec.siren.features import fourier_features, pixel_centres


def test_centres_are_symmetric_and_row_major():
    centres = pixel_centres((3, 4))
    assert centres.shape == (12, 2) and centres.dtype == np.float32
    np.testing.assert_allclose(centres, -centres[::-1], atol=1e-7)
    # the last axis is the fastest: one row of the grid first
    np.testing.assert_allclose(centres[:4, 0], -2 / 3, rtol=1e-6)
    np.testing.assert_allclose(centres[:4, 1], [-0.75, -0.25, 0.25, 0.75])


@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4)])
def test_centres_are_distinct_cells(shape):
    centres = pixel_centres(shape)
    assert np.abs(centres).max() < 1
    # (x + 1) n / 2 - 1/2 is the index of a cell
    cells = (centres + 1) / 2 * np.array(shape) - 0.5
    np.testing.assert_allclose(
        cells, np.stack(np.unravel_index(np.arange(np.prod(shape)), shape), -1), atol=1e-5
    )


def test_features_are_pairs_on_geometric_frequencies():
    coordinates = pixel_centres((6, 5))
    features = fourier_features(coordinates, 24, 16.0)
    assert features.shape == (30, 24) and features.dtype == np.float32
    frequencies = 0.5 * 32 ** (np.arange(6) / 5)
    expected = set()
    for axis in range(2):
        phase = np.pi * coordinates[:, axis : axis + 1].astype(np.float64) * frequencies
        expected |= {
            tuple(np.round(column, 4))
            for column in np.concatenate([np.cos(phase), np.sin(phase)], 1).T
        }
    assert {tuple(np.round(column.astype(np.float64), 4)) for column in features.T} == expected


def test_features_tell_all_cells_apart():
    features = fourier_features(pixel_centres((8, 8)), 8, 4.0)
    distance = np.abs(features[:, None] - features[None]).max(-1) + np.eye(64)
    assert distance.min() > 1e-2


@pytest.mark.parametrize("dim", [0, -4, 2, 6])
def test_refuses_dimensions_that_do_not_fit(dim):
    with pytest.raises(ValueError, match="dim"):
        fourier_features(pixel_centres((2, 2)), dim, 4.0)
