"""The classes of cells in the index stream: round trips, lengths, damage."""

import contextlib

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from recjax.bits import stream
from recjax.codec.transform.rate_classes import (
    LEAST,
    class_bits,
    class_frequencies,
    contexts_of,
    least_bits,
    put_classes,
    take_classes,
)
from recjax.errors import FormatError

N = 6
COUNTS = np.random.default_rng(0).gamma(0.3, 100, (2 * N - 1, N))


def encoded(classes, frequencies):
    encoder = stream.queue.RangeEncoder()
    put_classes(encoder, classes, frequencies)
    return stream.shortest(encoder)


shapes = st.one_of(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.sampled_from([(1, 1), (1, 30), (30, 1), (12,), (3, 4, 2)]),
)


@given(shapes.flatmap(lambda shape: arrays.arrays(np.int64, shape, elements=st.integers(0, N - 1))))
def test_classes_come_back_and_cost_what_is_said(classes):
    frequencies = class_frequencies(COUNTS)
    blob = encoded(classes, frequencies)
    back = take_classes(stream.reader(blob), classes.shape, frequencies)
    assert back.dtype == np.int64 and np.array_equal(back, classes)
    bits = class_bits(classes, frequencies)
    assert 8 * len(blob) < bits + 8 + 0.01
    assert least_bits(classes.size, frequencies) <= bits + 1e-9


def test_long_streams_have_the_length_of_their_code():
    rng, frequencies = np.random.default_rng(1), class_frequencies(COUNTS)
    classes = rng.integers(0, N, (60, 70))
    blob = encoded(classes, frequencies)
    assert 0 <= 8 * len(blob) - class_bits(classes, frequencies) + 0.01 < 9


def test_a_context_is_the_sum_of_the_neighbours():
    for shape in ((9,), (7, 8), (4, 3, 5)):
        classes = np.random.default_rng(2).integers(0, N, shape)
        contexts = contexts_of(classes, N)
        for place in np.ndindex(shape):
            before = [
                tuple(n - (k == axis) for k, n in enumerate(place)) for axis in range(len(shape))
            ]
            near = [int(classes[other]) for other in before if min(other) >= 0]
            expected = int(np.floor(2 * np.mean(near))) if near else N - 1
            assert contexts[place] == expected
        assert contexts.min() >= 0 and contexts.max() < 2 * N - 1


def test_likely_classes_cost_less():
    """The context matters: smooth fields are short under what smooth fields gave."""
    y, x = np.mgrid[:24, :24]
    smooth = np.clip((np.sin(x / 5) + np.sin(y / 4) + 2) * N / 4, 0, N - 1).astype(int)
    counts = np.zeros((2 * N - 1, N))
    np.add.at(counts, (contexts_of(smooth, N), smooth), 1)
    frequencies = class_frequencies(counts)
    shuffled = np.random.default_rng(3).permutation(smooth.ravel()).reshape(smooth.shape)
    own, uniform = (
        class_bits(smooth, frequencies),
        class_bits(smooth, class_frequencies(np.ones_like(counts))),
    )
    assert own < 0.6 * uniform and class_bits(shuffled, frequencies) > uniform
    assert uniform == pytest.approx(smooth.size * np.log2(N), rel=1e-5)


@given(
    arrays.arrays(
        np.float64, st.tuples(st.integers(1, 5), st.integers(2, 64)), elements=st.floats(0, 1e9)
    )
)
def test_frequencies_add_up_and_follow_the_counts(counts):
    frequencies = class_frequencies(counts)
    assert frequencies.dtype == np.int32 and (frequencies >= LEAST).all()
    assert (frequencies.sum(1, dtype=np.int64) == 1 << 24).all()
    shares = (counts + 1e-9) / (counts + 1e-9).sum(1, keepdims=True)
    free = (1 << 24) - counts.shape[1] * LEAST
    assert np.abs(frequencies - LEAST - shares * free).max() <= counts.shape[1] + 1


@given(st.binary(max_size=40), shapes)
def test_any_bytes_are_classes_or_a_format_error(data, shape):
    frequencies = class_frequencies(COUNTS)
    with contextlib.suppress(FormatError):
        classes = take_classes(stream.reader(data), shape, frequencies)
        assert classes.shape == shape and classes.min() >= 0 and classes.max() < N


def test_truncated_streams_are_classes_or_a_format_error():
    rng, frequencies = np.random.default_rng(4), class_frequencies(COUNTS)
    classes = rng.integers(0, N, (9, 11))
    blob = encoded(classes, frequencies)
    differ = 0
    for end in range(len(blob)):
        with contextlib.suppress(FormatError):
            differ += not np.array_equal(
                take_classes(stream.reader(blob[:end]), (9, 11), frequencies), classes
            )
            continue
        differ += 1
    assert differ == len(blob)


def test_points_outside_every_interval_are_a_format_error():
    """No encoder writes the very end of the range."""
    frequencies = class_frequencies(COUNTS)
    refused = 0
    for data in (b"\xff" * 8, b"\xff" * 400):
        try:
            take_classes(stream.reader(data), (40, 40), frequencies)
        except FormatError:
            refused += 1
    assert refused
