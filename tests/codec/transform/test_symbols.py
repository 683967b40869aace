"""The quantised upper levels: numbers, their frequencies and their part of the stream."""

import contextlib

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays
from scipy.special import ndtr

from recjax.bits import stream
from recjax.codec.transform.symbols import (
    LARGEST,
    check_frequencies,
    put_symbols,
    step_sizes_of,
    symbol_bits,
    symbol_frequencies,
    symbols_of,
    take_symbols,
)
from recjax.errors import FormatError

STEP, SCALE, TAIL = np.array([[0.2, 1.0, 3.0], [1.0, 2.0, 0.5], [0.02, 0.5, 1.0]], np.float32)


def drawn(count, seed):
    """Means with the distribution of samples of the prior."""
    u = np.random.default_rng(seed).normal(size=(count, 3))
    return (SCALE * np.sinh(TAIL * u) / TAIL).astype(np.float32)


FREQUENCIES = symbol_frequencies(drawn(200_000, 5), STEP, SCALE, TAIL)

shapes = st.tuples(st.integers(1, 6), st.integers(1, 6))
amounts = st.one_of(st.sampled_from([-LARGEST, 0, LARGEST]), st.integers(-LARGEST, LARGEST))


def encoded(numbers):
    encoder = stream.queue.RangeEncoder()
    put_symbols(encoder, numbers, FREQUENCIES)
    return stream.shortest(encoder)


@given(shapes.flatmap(lambda shape: arrays.arrays(np.int32, (*shape, 3), elements=amounts)))
def test_numbers_come_back_and_cost_what_is_said(numbers):
    blob = encoded(numbers)
    back = take_symbols(stream.reader(blob), numbers.shape[:2], FREQUENCIES)
    assert back.dtype == np.int32 and np.array_equal(back, numbers)
    assert 8 * len(blob) < symbol_bits(numbers, FREQUENCIES) + 8 + 0.01


def test_long_streams_have_the_length_of_their_code():
    """Near the entropy, where the numbers have the distribution that was meant."""
    numbers = symbols_of(drawn(3000, 0).reshape(50, 60, 3), STEP)
    bits = symbol_bits(numbers, FREQUENCIES)
    assert 0 <= 8 * len(encoded(numbers)) - bits + 0.01 < 9
    shares = FREQUENCIES / 2**24
    information = -np.log2(shares)
    mean = (shares * information).sum(1)
    error = np.sqrt(((shares * information**2).sum(1) - mean**2).sum() * 3000)
    assert abs(bits - 3000 * mean.sum()) < 5 * error


@given(
    arrays.arrays(np.float32, 4, elements=st.floats(2**-10, 2**10, width=32)),
    arrays.arrays(np.float32, 4, elements=st.floats(2**-10, 2**10, width=32)),
    arrays.arrays(np.float32, 4, elements=st.floats(0.03125, 1, width=32)),
)
def test_frequencies_of_no_cells_follow_the_prior(step, scale, tail):
    frequencies = symbol_frequencies(np.zeros((0, 4), np.float32), step, scale, tail)
    assert frequencies.dtype == np.int32 and frequencies.shape == (4, 2 * LARGEST + 1)
    assert check_frequencies(frequencies) and (frequencies > 0).all()
    assert (frequencies.sum(1, dtype=np.int64) == 1 << 24).all()
    wide = [x.astype(np.float64)[:, None] for x in (step, scale, tail)]
    edges = (np.arange(-LARGEST, LARGEST) + 0.5) * wide[0]
    below = ndtr(np.arcsinh(wide[2] * edges / wide[1]) / wide[2])
    shares = np.diff(np.pad(below, ((0, 0), (1, 1)), constant_values=((0, 0), (0, 1))), axis=1)
    error = np.abs(frequencies / 2**24 - shares)
    # every number has a little that is taken from all, and 0 what rounding left
    assert (
        error.max() < 2 * 511 * 32 / 2**24
        and (frequencies[shares > 1e-3] > 0.9 * 2**24 * shares[shares > 1e-3]).all()
    )
    np.testing.assert_allclose(frequencies, frequencies[:, ::-1], rtol=1e-3, atol=16)


def test_frequencies_follow_the_means_and_their_opposites():
    """Which are less wide than samples: their numbers take fewer bits than with the prior's frequencies."""
    mean = 0.3 * drawn(20_000, 6)
    frequencies = symbol_frequencies(mean, STEP, SCALE, TAIL)
    assert check_frequencies(frequencies)
    numbers = symbols_of(mean, STEP)
    for number in range(-3, 4):
        share = (np.mean(numbers == number, axis=0) + np.mean(numbers == -number, axis=0)) / 2
        np.testing.assert_allclose(frequencies[:, LARGEST + number] / 2**24, share, atol=3e-3)
    others = symbols_of(0.3 * drawn(20_000, 7), STEP)[None]
    own, samples = (symbol_bits(others, table) for table in (frequencies, FREQUENCIES))
    assert own < 0.85 * samples, (own, samples)


def test_what_is_no_table_of_frequencies_is_seen():
    assert check_frequencies(FREQUENCIES)
    other = FREQUENCIES.copy()
    other[1, 3] += 1
    assert not check_frequencies(other)
    other = FREQUENCIES.copy()
    other[0, 255] += other[0, 7]
    other[0, 7] = 0
    assert not check_frequencies(other)


def test_numbers_are_the_nearest_and_clipped():
    step = np.array([0.5, 2.0], np.float32)
    mean = np.array([[[0.3, -3.1], [1e30, -1e30]], [[0.2, 0.9], [-200.0, 509.9]]], np.float32)
    assert symbols_of(mean, step).tolist() == [[[1, -2], [255, -255]], [[0, 0], [-255, 255]]]
    assert symbols_of(mean, step).dtype == np.int32


def test_rounding_errors_are_as_wide_as_the_posteriors():
    """Each latent's own, on average over cells: the mean of the logarithms."""
    rng = np.random.default_rng(1)
    std = np.array([0.03, 0.5, 4.0]) * rng.uniform(0.5, 1.5, (20000, 3))
    step = step_sizes_of(np.log(std).astype(np.float32))
    assert step.dtype == np.float32 and step.shape == (3,)
    mean = rng.normal(0, 30 * std.mean(0), (20000, 3))
    error = mean - symbols_of(mean, step) * step
    # the fourth moment of a uniform error is 9/5 of its variance squared
    wanted = 0.6**2 * np.exp(2 * np.log(std).mean(0))
    np.testing.assert_allclose(np.mean(error**2, 0), wanted, rtol=5 * np.sqrt(0.8 / 20000))


@given(st.binary(max_size=60), shapes)
def test_any_bytes_are_numbers_or_a_format_error(data, shape):
    with contextlib.suppress(FormatError):
        numbers = take_symbols(stream.reader(data), shape, FREQUENCIES)
        assert numbers.shape == (*shape, 3) and np.abs(numbers).max() <= LARGEST


def test_truncated_streams_are_other_numbers_or_a_format_error():
    numbers = np.random.default_rng(2).integers(-LARGEST, LARGEST + 1, (5, 6, 3)).astype(np.int32)
    blob = encoded(numbers)
    for end in range(len(blob)):
        with contextlib.suppress(FormatError):
            assert not np.array_equal(
                take_symbols(stream.reader(blob[:end]), (5, 6), FREQUENCIES), numbers
            )


@pytest.mark.parametrize("length", [8, 400])
def test_points_outside_every_interval_are_a_format_error(length):
    """No encoder writes the very end of the range."""
    with pytest.raises(FormatError, match="damaged"):
        take_symbols(stream.reader(b"\xff" * length), (40, 40), FREQUENCIES)
