"""Range-coded paths in binary trees: round trips, cost, hostile bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recjax.bits import heap_path, zipf
from recjax.errors import FormatError


def node_frequencies(seed):
    """Frequencies that depend on the whole path so far, impossible branches among them."""

    def next_frequencies(level, branches):
        node = np.full(len(branches), seed + 1, np.uint64)
        for right in branches.T:
            node = node * np.uint64(2654435761) + right.astype(np.uint64) + np.uint64(1)
        mixed = ((node ^ (node >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
        # one node in 64 has no left side, one no right side
        return np.select([mixed % 64 == 0, mixed % 64 == 1], [0, 2**24], mixed.astype(np.int64))

    return next_frequencies


def frequencies_along(branches, next_frequencies):
    levels = [next_frequencies(level, branches[:, :level]) for level in range(branches.shape[1])]
    return np.stack(levels, 1) if levels else np.zeros(branches.shape, np.int64)


def random_paths(rng, n, seed, depths):
    """Paths that follow the frequencies, with all branches beyond their ends False."""
    next_frequencies, levels = node_frequencies(seed), int(depths.max(initial=1)) - 1
    branches = np.zeros((n, levels), bool)
    for level in range(levels):
        right = rng.integers(0, 2**24, n) >= next_frequencies(level, branches[:, :level])
        branches[:, level] = right & (depths - 1 > level)
    return branches, frequencies_along(branches, next_frequencies)


def test_ten_thousand_paths():
    rng = np.random.default_rng(0)
    depths = np.minimum(rng.geometric(1 / 8, 10_000), 40)
    branches, left = random_paths(rng, depths.size, 5, depths)
    a = zipf.best_exponent(depths - 1, np.full(depths.shape, 7))
    data = heap_path.encode_paths(depths, branches, left, a)
    decoded = heap_path.decode_paths(data, depths.size, a, node_frequencies(5))
    np.testing.assert_array_equal(decoded[0], depths)
    np.testing.assert_array_equal(decoded[1], branches)
    assert abs(8 * len(data) - heap_path.path_lengths(depths, branches, left, a).sum()) < 64


@given(st.lists(st.integers(1, 128), max_size=30), st.integers(0, 255), st.integers(0, 2**32))
def test_round_trip(depths, a, seed):
    depths, rng = np.array(depths, np.int64), np.random.default_rng(seed)
    # any branches, the clamped ones too
    branches = rng.random((depths.size, int(depths.max(initial=1)) - 1)) < 0.5
    branches &= np.arange(branches.shape[1]) < depths[:, None] - 1
    left = frequencies_along(branches, node_frequencies(seed))
    data = heap_path.encode_paths(depths, branches, left, a)
    decoded = heap_path.decode_paths(data, depths.size, a, node_frequencies(seed))
    np.testing.assert_array_equal(decoded[0], depths)
    np.testing.assert_array_equal(decoded[1], branches)
    # rounding the interval costs a branch up to 2^-8 of its width, mostly far less
    bits = heap_path.path_lengths(depths, branches, left, a).sum()
    assert 8 * len(data) < bits + 8.1 + 1e-3 * branches.size


def test_each_branch_costs_its_frequency():
    left = np.array([[2**22, 2**23, 3]])
    for branches, cost in [
        ([0, 0, 0], 2 + 1 + 24 - np.log2(3)),
        ([1, 1, 1], 24 - np.log2(3 * 2**22) + 1),
    ]:
        bits = heap_path.path_lengths(np.array([4]), np.array([branches], bool), left, 0)
        np.testing.assert_allclose(bits, 7 + cost, rtol=1e-6)
    cut = heap_path.path_lengths(np.array([2]), np.array([[False, True, True]]), left, 0)
    np.testing.assert_allclose(cut, 7 + 2)


def test_impossible_branches_are_written_at_the_highest_cost():
    for frequency, branch in [(0, False), (2**24, True), (-5, False), (2**30, True)]:
        depths, branches, left = np.array([2]), np.array([[branch]]), np.array([[frequency]])
        assert heap_path.path_lengths(depths, branches, left, 0) == 7 + 24
        data = heap_path.encode_paths(depths, branches, left, 0)
        decoded = heap_path.decode_paths(
            data, 1, 0, lambda level, so_far, f=frequency: np.array([f])
        )
        assert (decoded[0], decoded[1]) == (2, branch)


def test_what_lies_beyond_a_path_is_ignored():
    depths = np.array([1, 2, 4])
    inside = np.arange(5) < depths[:, None] - 1
    encodings = {
        heap_path.encode_paths(depths, inside | beyond, np.where(inside, 2**22, other), 64)
        for beyond in (np.zeros((3, 5), bool), ~inside)
        for other in (0, 77, 2**24)
    }
    assert len(encodings) == 1


def test_frequencies_are_asked_for_once_a_level():
    depths, branches = np.array([1, 4, 3]), np.array([[0, 0, 0], [1, 0, 1], [1, 1, 0]], bool)
    data, asked = heap_path.encode_paths(depths, branches, np.full((3, 3), 2**23), 64), []

    def next_frequencies(level, so_far):
        asked.append((level, so_far.tolist()))
        return np.full(3, 2**23)

    heap_path.decode_paths(data, 3, 64, next_frequencies)
    assert asked == [(level, branches[:, :level].tolist()) for level in range(3)]


def test_no_paths_and_roots_alone():
    for n in (0, 5):
        depths, none = np.ones(n, np.int64), np.zeros((n, 0), bool)
        data = heap_path.encode_paths(depths, none, np.zeros((n, 0), np.int64), 255)
        decoded = heap_path.decode_paths(data, n, 255, node_frequencies(0))
        np.testing.assert_array_equal(decoded[0], depths)
        assert decoded[1].shape == (n, 0)


@given(st.binary(max_size=60), st.integers(0, 20), st.integers(0, 255))
def test_any_bytes_decode_or_raise(data, n, a):
    try:
        depths, branches = heap_path.decode_paths(data, n, a, node_frequencies(1))
    except FormatError:
        return
    assert ((depths >= 1) & (depths <= 128)).all()
    left = frequencies_along(branches, node_frequencies(1))
    assert heap_path.encode_paths(depths, branches, left, a) == data


def test_damaged_streams_are_refused_or_are_other_paths():
    rng = np.random.default_rng(2)
    depths = np.minimum(rng.geometric(1 / 6, 50), 30)
    branches, left = random_paths(rng, depths.size, 3, depths)
    data = heap_path.encode_paths(depths, branches, left, 70)
    for wrong in (data + b"\0", data + b"\1"):
        with pytest.raises(FormatError):
            heap_path.decode_paths(wrong, depths.size, 70, node_frequencies(3))
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        for wrong in (bytes(flipped), data[:position]):
            try:
                other = heap_path.decode_paths(wrong, depths.size, 70, node_frequencies(3))
            except FormatError:
                continue
            assert not (np.array_equal(other[0], depths) and np.array_equal(other[1], branches))


@pytest.mark.parametrize(
    ("depths", "branches", "left", "named"),
    [
        ([0], [[True]], [[1]], "depths"),
        ([3], [[True]], [[1]], "depths"),
        ([129], [[True] * 200], [[1] * 200], "depths"),
        ([1.0], [[True]], [[1]], "integers"),
        ([1], [[1]], [[1]], "booleans"),
        ([1], [[True]], [[0.5]], "integers"),
        ([1], [[True]], [[1, 2]], "shapes"),
        ([1, 1], [[True]], [[1]], "shapes"),
    ],
)
@pytest.mark.wrong_types
def test_bad_paths_are_named(depths, branches, left, named):
    for function in (heap_path.encode_paths, heap_path.path_lengths):
        with pytest.raises(ValueError, match=named):
            function(np.array(depths), np.array(branches), np.array(left), 64)


def test_bad_frequencies_are_named():
    data = heap_path.encode_paths(np.array([2]), np.array([[True]]), np.array([[5]]), 64)
    for wrong in (np.array([0.5]), np.array([1, 2]), 5):
        with pytest.raises(ValueError, match="next_frequencies"):
            heap_path.decode_paths(data, 1, 64, lambda level, so_far, wrong=wrong: wrong)
