"""Elias codes: the published codewords, lengths, round trips, hostile bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recjax.bits import elias
from recjax.errors import FormatError

CODES = {
    "gamma": (elias.gamma_lengths, elias.encode_gamma, elias.decode_gamma),
    "delta": (elias.delta_lengths, elias.encode_delta, elias.decode_delta),
}
CODEWORDS = {
    "gamma": {1: "1", 2: "010", 3: "011", 4: "00100", 8: "0001000", 17: "000010001"},
    "delta": {1: "1", 2: "0100", 3: "0101", 4: "01100", 8: "00100000", 17: "001010001"},
}
LARGEST = 2**63 - 1

each_code = pytest.mark.parametrize("name", CODES)
# every number of digits is as likely as any other
integers = st.integers(0, 62).flatmap(lambda k: st.integers(2**k, 2 ** (k + 1) - 1))


@each_code
def test_codewords(name):
    lengths, encode, _ = CODES[name]
    for n, word in CODEWORDS[name].items():
        padded = word.ljust(-(-len(word) // 8) * 8, "0")
        assert encode(np.array([n])) == int(padded, 2).to_bytes(len(padded) // 8, "big")
        assert lengths(np.array([n])) == len(word)
    together = "".join(CODEWORDS[name].values())
    padded = together.ljust(-(-len(together) // 8) * 8, "0")
    assert encode(np.array(list(CODEWORDS[name]))) == int(padded, 2).to_bytes(
        len(padded) // 8, "big"
    )


@each_code
@given(st.lists(integers, max_size=40))
def test_round_trip_costs_the_lengths(name, values):
    lengths, encode, decode = CODES[name]
    n = np.array(values, np.int64)
    data = encode(n)
    assert len(data) == -(-int(lengths(n).sum()) // 8)
    decoded = decode(data, n.size)
    assert decoded.dtype == np.int64
    np.testing.assert_array_equal(decoded, n)


@each_code
def test_powers_of_two_and_their_neighbours(name):
    _, encode, decode = CODES[name]
    n = np.unique([min(max(2**k + step, 1), LARGEST) for k in range(64) for step in (-1, 0, 1)])
    assert n[-1] == LARGEST
    np.testing.assert_array_equal(decode(encode(n), n.size), n)


@each_code
def test_long_lists(name):
    lengths, encode, decode = CODES[name]
    n = np.exp2(np.random.default_rng(0).uniform(0, 62, 10_000)).astype(np.int64)
    data = encode(n)
    assert len(data) == -(-int(lengths(n).sum()) // 8)
    np.testing.assert_array_equal(decode(data, n.size), n)


@each_code
def test_kraft(name):
    lengths = CODES[name][0]
    below = np.exp2(-lengths(np.arange(1, 2**16)).astype(float)).sum()
    # both codes are complete: 2^k integers of k + 1 digits have equal lengths, and the sums over all k tend to 1
    octaves = 2 ** np.arange(63)
    total = (octaves * np.exp2(-lengths(octaves).astype(float))).sum()
    assert below < total <= 1
    if name == "gamma":
        assert (below, total) == (1 - 2.0**-16, 1 - 2.0**-63)
    else:  # numbers of 1 .. 63 digits: the Kraft sum is that of gamma over 1 .. 63
        assert total == 1 - 2.0**-6


@pytest.mark.parametrize("wrong", [[0], [-1], [1.0], np.array([2**63], np.uint64)])
@each_code
@pytest.mark.wrong_types
def test_numbers_without_a_code_are_refused(name, wrong):
    lengths, encode, _ = CODES[name]
    for function in (lengths, encode):
        with pytest.raises(ValueError, match="n must hold integers"):
            function(np.array(wrong))


@each_code
@given(data=st.binary(max_size=30), count=st.integers(0, 300))
def test_any_bytes_decode_or_raise(name, data, count):
    _, encode, decode = CODES[name]
    try:
        values = decode(data, count)
    except FormatError:
        return
    assert encode(values) == data


@each_code
def test_every_cut_and_every_byte_left_over_is_noticed(name):
    _, encode, decode = CODES[name]
    n = np.array([1, 5, 300, LARGEST])
    data = encode(n)
    for wrong in (*(data[:length] for length in range(len(data))), data + b"\0", data + b"\1"):
        with pytest.raises(FormatError):
            decode(wrong, n.size)


@each_code
def test_the_bits_that_fill_the_last_byte_are_zeros(name):
    lengths, encode, decode = CODES[name]
    for largest in range(1, 20):
        n = np.arange(1, largest + 1)
        data = encode(n)
        for place in range(8 * len(data) - int(lengths(n).sum())):
            with pytest.raises(FormatError, match="left over"):
                decode(data[:-1] + bytes([data[-1] ^ 1 << place]), n.size)


@each_code
def test_hostile_bytes_cost_no_memory_or_time(name):
    decode = CODES[name][2]
    for data, count in [(bytes(10**6), 10**6), (b"\xff", 10**15), (b"", 1)]:
        with pytest.raises(FormatError):
            decode(data, count)


def test_digits_beyond_63_are_refused():
    with pytest.raises(FormatError, match="63"):
        elias.decode_gamma(bytes(7) + b"\0\x01" + bytes(20), 1)
    with pytest.raises(FormatError, match="63"):
        elias.decode_delta(bytes([0b00000010, 0b00000100]) + bytes(20), 1)
