"""Places of latents: integers that encoder and decoder must share, in signals of any rank and shape."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjax.codec.siren.layout import (
    KINDS,
    LatentGroup,
    block_table,
    group_layout,
    kinds,
    make_geometry,
    n_rows,
    source_rows,
)
from recjax.codec.siren.objective import with_border


def test_block_table_lists_the_blocks():
    order, widths = np.random.default_rng(0).permutation(20), np.array([3, 1, 9, 7])
    table = block_table(order, widths, 20)
    assert table.shape == (len(widths), widths.max()) and table.dtype == np.int32
    for row, block in zip(table, np.split(order, np.cumsum(widths)[:-1]), strict=True):
        np.testing.assert_array_equal(row[: len(block)], block)
        assert np.all(row[len(block) :] == 20)


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


def test_ids_and_members_of_a_group():
    order, widths = np.array([4, 0, 3, 1], np.int32), np.array([3, 1], np.int32)
    ones = np.ones(6, np.float32)
    group = LatentGroup(kind="patch", scale=ones, log_std=-ones, order=order, widths=widths)
    words = np.arange(6, dtype=np.uint32)
    layout = group_layout(group, [3, 1], words, first=10, width=5)
    # slot within the signal, and number among the blocks of all groups
    expected = [[[0, 10], [0, 11]], [[1, 10], [1, 11]], [[2, 10], [2, 11]], [[0, 10], [0, 11]]]
    assert layout.ids.tolist() == expected and layout.ids.dtype == np.uint32
    assert layout.blocks.tolist() == [[4, 0, 3, 6, 6], [1, 6, 6, 6, 6]]
    assert layout.member.T.tolist() == [[1, 0, 0, 1, 1, 0], [0, 1, 0, 0, 0, 0]]
    np.testing.assert_array_equal(layout.source, source_rows([3, 1], words)[0])


# signals of three shapes per rank, regions, and cells of a patch's grid
CASES = {
    1: ([(7,), (1,), (4,)], (3,), (2,)),
    2: ([(2, 3), (1, 1), (5, 1)], (2, 2), (2, 1)),
    3: ([(3, 2, 3), (1, 1, 1), (2, 1, 1)], (2, 1, 2), (1, 2, 3)),
}


@pytest.fixture(params=CASES, ids=lambda rank: f"rank{rank}")
def case(request):
    patches, region, cells = CASES[request.param]
    return patches, region, cells, make_geometry(patches, kinds(3)[:-1], region, cells)


def test_parents_are_rows_of_their_groups(case):
    patches, region, _, geometry = case
    signals, regions, first = [], [], 0
    for number, counts in enumerate(patches):
        along = [-(-n // side) for n, side in zip(counts, region, strict=True)]
        places = list(itertools.product(*map(range, along)))
        for patch in itertools.product(*map(range, counts)):
            signals.append(number)
            inside = tuple(at // side for at, side in zip(patch, region, strict=True))
            regions.append(first + places.index(inside))
        first += len(places)
    assert [parent.tolist() for parent in geometry.parents] == [signals, regions]
    for kind, parent in zip(KINDS, geometry.parents, strict=False):
        assert parent.max() + 1 == sum(n_rows(kind, counts, region) for counts in patches)


def test_regions_of_the_known_case():
    # regions of 2 x 2 patches: two in the first signal, one in the second, three in the last
    geometry = make_geometry(CASES[2][0], ("region",), (2, 2), None)
    assert geometry.parents[0].tolist() == [0, 0, 1, 0, 0, 1, 2, 3, 3, 4, 4, 5]


def test_borders_are_the_neighbours_cells(case):
    patches, _, cells, geometry = case
    rows, rank = sum(int(np.prod(counts)) for counts in patches), len(cells)
    grids = np.random.default_rng(0).standard_normal((rows, *cells, 3)).astype(np.float32)
    out = np.asarray(with_border(geometry, jnp.asarray(grids)))
    assert out.shape == (rows, *(n + 2 for n in cells), 3)
    start = 0
    for counts in patches:
        sides = [count * n for count, n in zip(counts, cells, strict=True)]
        stitched = np.zeros((*sides, 3), np.float32)
        places = list(itertools.product(*map(range, counts)))
        boxes = [
            tuple(slice(at * n, at * n + n) for at, n in zip(place, cells, strict=True))
            for place in places
        ]
        for number, box in enumerate(boxes):
            stitched[box] = grids[start + number]
        wide = np.pad(stitched, [(1, 1)] * rank + [(0, 0)])
        for number, box in enumerate(boxes):
            window = wide[tuple(slice(s.start, s.stop + 2) for s in box)]
            np.testing.assert_array_equal(out[start + number], window)
        start += len(places)


def test_tables_of_images_are_those_of_code_for_two_axes():
    patches, region, cells = CASES[2]
    geometry = make_geometry(patches, ("signal", "region"), region, cells)
    (height, width), outside = cells, sum(r * c for r, c in patches) * cells[0] * cells[1]
    parents, tables, start, row = [[], []], [], 0, [0, 0]
    for rows, columns in patches:
        y, x = np.divmod(np.arange(rows * columns), columns)
        for level, side in enumerate((1 << 30, region[0])):
            parents[level].append(row[level] + y // side * -(-columns // side) + x // side)
            row[level] += -(-rows // side) * -(-columns // side)
        count = rows * columns * height * width
        numbers = start + np.arange(count).reshape(rows, columns, height, width)
        image = np.pad(
            numbers.swapaxes(1, 2).reshape(rows * height, columns * width),
            1,
            constant_values=outside,
        )
        windows = np.lib.stride_tricks.sliding_window_view(image, (height + 2, width + 2))
        tables.append(windows[::height, ::width].reshape(-1, height + 2, width + 2))
        start += count
    np.testing.assert_array_equal(geometry.cells, np.concatenate(tables))
    for ours, theirs in zip(geometry.parents, parents, strict=True):
        np.testing.assert_array_equal(ours, np.concatenate(theirs))


def test_single_patches_have_empty_borders(case):
    _, _, cells, _ = case
    rank = len(cells)
    geometry = make_geometry([(1,) * rank] * 3, (), (4,) * rank, cells)
    assert geometry.cells is None and geometry.parents == ()
    rng = np.random.default_rng(0)
    grids = jnp.asarray(rng.standard_normal((3, *cells, 2)), jnp.float32)
    one_by_one = make_geometry(
        [(1,) * rank] * 3 + [(2, *(1,) * (rank - 1))], (), (4,) * rank, cells
    )
    more = jnp.concatenate([grids, jnp.ones((2, *cells, 2))])
    np.testing.assert_array_equal(with_border(geometry, grids), with_border(one_by_one, more)[:3])


def test_gradient_of_a_cell_sums_over_its_places(case):
    patches, _, cells, geometry = case
    rows = sum(int(np.prod(counts)) for counts in patches)
    grids = jnp.ones((rows, *cells, 1))
    places = np.asarray(jax.grad(lambda x: with_border(geometry, x).sum())(grids))
    counts = np.bincount(geometry.cells.reshape(-1), minlength=grids.size)[: grids.size]
    np.testing.assert_array_equal(places.reshape(-1), counts)
    assert counts.min() == 1 and counts.max() > 1
