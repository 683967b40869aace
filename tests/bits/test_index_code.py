"""The Zipf code and the range-coded stream: tables, code lengths, round trips, hostile bytes."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from independent.entropy import RangeDecoder, index_code

from recjax.bits import range_coder, zipf
from recjax.errors import FormatError

index_lists = st.lists(
    st.integers(1, 31).flatmap(lambda n: st.tuples(st.integers(0, 2**n - 1), st.just(n))),
    max_size=40,
)
exponents = st.integers(0, zipf.MAX_EXPONENT)


def as_arrays(pairs):
    array = np.array(pairs, np.int64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


@pytest.mark.parametrize("log2_size", [1, 2, 3, 8, 16, 24, 25, 31])
@pytest.mark.parametrize("a", [0, 64, 255])
def test_bins_cover_the_support_and_satisfy_kraft(log2_size, a):
    edges, frequencies = zipf.bin_edges(log2_size), zipf.bin_frequencies(log2_size, a)
    assert edges[0] == 0 and edges[-1] == 2**log2_size and (np.diff(edges) > 0).all()
    assert len(frequencies) == len(edges) - 1 and min(frequencies) >= 1
    assert (
        sum(frequencies) == 2**24
    )  # each bin's share is split evenly: the Kraft sum over all indices is 1


@pytest.mark.parametrize("alpha", [0.5, 0.75, 1.0, 1.2])
@pytest.mark.parametrize("log2_size", [8, 16, 20])
def test_loss_against_exact_truncated_zipf(log2_size, alpha):
    a = round(alpha * 64)
    rank = np.arange(1, 2**log2_size + 1)
    pmf = rank ** (-a / 64)
    pmf /= pmf.sum()
    bits = zipf.codelength_bits(rank - 1, log2_size, a)
    np.testing.assert_allclose((2.0**-bits).sum(), 1, rtol=1e-9)
    assert 0 <= (pmf * (bits + np.log2(pmf))).sum() < 0.005


def test_tables_are_frozen():
    # Files depend on these integers: a change here needs a new format version.
    assert zipf.bin_frequencies(4, 64)[:4] == (4965060, 2482527, 1655018, 1241264)
    table = b"".join(
        f.to_bytes(3, "big")
        for n in (1, 8, 16, 24)
        for a in (0, 1, 77, 255)
        for f in zipf.bin_frequencies(n, a)
    )
    assert zlib.crc32(table) == 2906430876


@given(index_lists)
def test_best_exponent_is_best(pairs):
    indices, sizes = as_arrays(pairs)
    totals = [zipf.codelength_bits(indices, sizes, a).sum() for a in range(0, 256, 5)]
    best = zipf.best_exponent(indices, sizes)
    assert zipf.codelength_bits(indices, sizes, best).sum() <= min(totals) + 1e-3


@pytest.mark.parametrize(
    ("indices", "sizes", "named"),
    [
        ([16], [4], "indices"),
        ([-1], [4], "indices"),
        ([0], [0], "log2_sizes"),
        ([0], [32], "log2_sizes"),
        ([0.0], [4], "integers"),
    ],
)
@pytest.mark.wrong_types
def test_bad_indices_are_named(indices, sizes, named):
    with pytest.raises(ValueError, match=named):
        range_coder.encode_indices(np.array(indices), np.array(sizes), 64)


def reference_decode(data, sizes, a):
    """By the decoder of FORMAT.md, one symbol at a time, in the order for indices of several sizes."""
    decoder, bins = RangeDecoder(data), {}
    for i in np.argsort(sizes, kind="stable"):
        ranks, cumulated = index_code(int(sizes[i]), a)
        bins[int(i)] = ranks[decoder.read(cumulated)]
    out, unfinished = [], []
    for i, ranks in sorted(bins.items()):
        if sizes[i] > 24 and len(ranks) > 2**16:
            unfinished.append(i)
            out.append(ranks[0] - 1 + 2**16 * decoder.read_uniform(len(ranks) >> 16))
        else:
            out.append(ranks[decoder.read_uniform(len(ranks))] - 1)
    for i in unfinished:
        out[i] += decoder.read_uniform(2**16)
    return out


@given(index_lists, exponents)
def test_indices_round_trip(pairs, a):
    indices, sizes = as_arrays(pairs)
    data = range_coder.encode_indices(indices, sizes, a)
    np.testing.assert_array_equal(range_coder.decode_indices(data, sizes, a), indices)
    assert reference_decode(data, sizes, a) == indices.tolist()
    assert 8 * len(data) < zipf.codelength_bits(indices, sizes, a).sum() + 8.01


def test_long_streams_cost_their_code_length():
    rng = np.random.default_rng(0)
    sizes = rng.integers(4, 21, 50_000)
    indices = (2 ** (rng.random(sizes.size) * sizes)).astype(np.int64) - 1
    a = zipf.best_exponent(indices, sizes)
    data = range_coder.encode_indices(indices, sizes, a)
    np.testing.assert_array_equal(range_coder.decode_indices(data, sizes, a), indices)
    assert 8 * len(data) == pytest.approx(zipf.codelength_bits(indices, sizes, a).sum(), rel=1e-4)


def test_streams_are_frozen():
    # Files depend on these bytes: a change here needs a new format version.
    sizes = np.tile(np.arange(1, 25), 40)
    indices = (np.arange(sizes.size) * 2654435761) % 2**sizes >> np.arange(sizes.size) % 5
    data = range_coder.encode_indices(indices, sizes, 70)
    assert (len(data), zlib.crc32(data)) == (1518, 3661665886)


def test_wide_supports_cost_their_code_length():
    rng = np.random.default_rng(0)
    sizes = rng.integers(20, 32, 50_000)
    indices = (2 ** (rng.random(sizes.size) * sizes)).astype(np.int64) - 1
    data = range_coder.encode_indices(indices, sizes, 70)
    np.testing.assert_array_equal(range_coder.decode_indices(data, sizes, 70), indices)
    assert 8 * len(data) == pytest.approx(zipf.codelength_bits(indices, sizes, 70).sum(), rel=1e-4)


def test_carries_reach_the_cut_bytes():
    # the last symbol of every table keeps the interval at its upper end, where carries are pending
    for length in range(60):
        sizes = np.full(length, 6)
        indices = np.full(length, 63)
        data = range_coder.encode_indices(indices, sizes, 0)
        np.testing.assert_array_equal(range_coder.decode_indices(data, sizes, 0), indices)


@given(st.binary(max_size=40), st.lists(st.integers(1, 31), max_size=20), exponents)
def test_any_bytes_decode_in_range_or_raise(data, sizes, a):
    sizes = np.array(sizes, np.int64)
    try:
        indices = range_coder.decode_indices(data, sizes, a)
    except FormatError:
        return
    assert ((indices >= 0) & (indices < 2**sizes)).all()
    assert range_coder.encode_indices(indices, sizes, a) == data


def test_bytes_left_over_are_refused():
    sizes = np.array([4, 8, 12])
    data = range_coder.encode_indices(np.array([3, 200, 4000]), sizes, 64)
    for wrong in (data + b"\0", data + bytes(range(1, 9))):
        with pytest.raises(FormatError):
            range_coder.decode_indices(wrong, sizes, 64)
