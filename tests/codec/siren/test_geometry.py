"""Which patches are neighbours and which share a region or image, in batches of images of any shape."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recjax.codec.siren.geometry import make_geometry
from recjax.codec.siren.groups import KINDS, kinds, n_rows

PATCHES = [(2, 3), (1, 1), (5, 1)]
CELLS = (2, 1)


@pytest.fixture(scope="module")
def geometry():
    return make_geometry(PATCHES, kinds(3)[:-1], 2, CELLS)


def test_parents_are_rows_of_their_groups(geometry):
    image, region = map(np.asarray, geometry.parents)
    assert image.tolist() == [0] * 6 + [1] + [2] * 5
    # regions of 2 x 2 patches: two in the first image, one in the second, three in the last
    assert region.tolist() == [0, 0, 1, 0, 0, 1, 2, 3, 3, 4, 4, 5]
    for kind, parent in zip(KINDS, (image, region), strict=False):
        assert parent.max() + 1 == sum(n_rows(kind, patches, 2) for patches in PATCHES)


def test_borders_are_the_neighbours_cells(geometry):
    rows = sum(np.prod(PATCHES, axis=1))
    grids = np.random.default_rng(0).standard_normal((rows, *CELLS, 3)).astype(np.float32)
    out = np.asarray(geometry.with_border(jnp.asarray(grids)))
    start = 0
    for height, width in PATCHES:
        count = height * width
        own = grids[start : start + count].reshape(height, width, *CELLS, 3).swapaxes(1, 2)
        image = np.pad(own.reshape(height * 2, width, 3), ((1, 1), (1, 1), (0, 0)))
        for patch in range(count):
            i, j = divmod(patch, width)
            np.testing.assert_array_equal(out[start + patch], image[2 * i : 2 * i + 4, j : j + 3])
        start += count


def test_single_patches_have_empty_borders():
    geometry = make_geometry([(1, 1)] * 3, (), 4, CELLS)
    assert geometry.cells is None and geometry.parents == ()
    grids = jnp.asarray(np.random.default_rng(0).standard_normal((3, *CELLS, 2)), jnp.float32)
    one_by_one = make_geometry([(1, 1)] * 3 + [(2, 1)], (), 4, CELLS)
    more = jnp.concatenate([grids, jnp.ones((2, *CELLS, 2))])
    np.testing.assert_array_equal(geometry.with_border(grids), one_by_one.with_border(more)[:3])


def test_gradient_of_a_cell_sums_over_its_places(geometry):
    rows = sum(np.prod(PATCHES, axis=1))
    grids = jnp.ones((rows, *CELLS, 1))
    places = np.asarray(jax.grad(lambda x: geometry.with_border(x).sum())(grids))
    counts = np.bincount(np.asarray(geometry.cells).reshape(-1), minlength=rows * 2)[: rows * 2]
    np.testing.assert_array_equal(places.reshape(-1), counts)
    assert counts.min() == 1 and counts.max() == 6
