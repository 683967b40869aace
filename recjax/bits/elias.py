"""Elias's gamma and delta codes of positive integers. Frozen: index streams, in no .rec file.

With `N` the number of binary digits of `n`, gamma writes `N - 1` zeros and then `n`; delta writes
the gamma code of `N` and then `n` without its leading one. A list of integers is written as its
codewords one after the other, most significant bit first, and zeros up to a whole byte: each list
has exactly one byte string.

Source: P. Elias, *Universal codeword sets and representations of the integers*, IEEE Transactions
on Information Theory 21 (2), 1975.
"""

import numpy as np
from jaxtyping import Int

from recjax.errors import FormatError

_MAX_DIGITS = 63
_POWERS = 2 ** np.arange(_MAX_DIGITS, dtype=np.int64)


def gamma_lengths(n: Int[np.ndarray, "*n"]) -> Int[np.ndarray, "*n"]:
    """Lengths of gamma codes in bits, `2 floor(log2 n) + 1`.

    Raises:
        ValueError: `n` holds anything but integers in 1 .. 2^63 - 1.

    >>> gamma_lengths(np.array([1, 2, 9]))
    array([1, 3, 7])
    """
    return 2 * _digits(_checked(n)) - 1


def delta_lengths(n: Int[np.ndarray, "*n"]) -> Int[np.ndarray, "*n"]:
    """Lengths of delta codes in bits, `floor(log2 n) + 2 floor(log2(floor(log2 n) + 1)) + 1`.

    Raises:
        ValueError: `n` holds anything but integers in 1 .. 2^63 - 1.

    >>> delta_lengths(np.array([1, 2, 9]))
    array([1, 4, 8])
    """
    digits = _digits(_checked(n))
    return digits - 1 + gamma_lengths(digits)


def encode_gamma(n: Int[np.ndarray, " n"]) -> bytes:
    """Writes the gamma codes of integers: `gamma_lengths` bits, and zeros to fill the last byte.

    Raises:
        ValueError: `n` holds anything but integers in 1 .. 2^63 - 1.

    >>> encode_gamma(np.array([1, 2, 9])).hex()  # 1 010 0001001
    'a120'
    """
    n = _checked(n)
    return _write(n, gamma_lengths(n))


def decode_gamma(data: bytes, count: int) -> Int[np.ndarray, " n"]:
    """Reads the `count` integers, int64, that `encode_gamma` wrote.

    Raises:
        FormatError: no list of `count` integers has the code `data`.

    >>> decode_gamma(bytes.fromhex("a120"), 3)
    array([1, 2, 9])
    """
    return _read(data, count, _read_gamma)


def encode_delta(n: Int[np.ndarray, " n"]) -> bytes:
    """Writes the delta codes of integers: `delta_lengths` bits, and zeros to fill the last byte.

    Raises:
        ValueError: `n` holds anything but integers in 1 .. 2^63 - 1.

    >>> encode_delta(np.array([1, 2, 9])).hex()  # 1 0100 00100001
    'a108'
    """
    n = _checked(n)
    digits = _digits(n)
    # each codeword is two fields: the gamma code of the number of digits, the digits but the first
    fields = np.stack([digits, n - _POWERS[digits - 1]], -1)
    return _write(fields.ravel(), np.stack([gamma_lengths(digits), digits - 1], -1).ravel())


def decode_delta(data: bytes, count: int) -> Int[np.ndarray, " n"]:
    """Reads the `count` integers, int64, that `encode_delta` wrote.

    Raises:
        FormatError: no list of `count` integers has the code `data`.

    >>> decode_delta(bytes.fromhex("a108"), 3)
    array([1, 2, 9])
    """
    return _read(data, count, _read_delta)


def _checked(n):
    n = np.asarray(n)
    # before the cast, which would wrap large uint64 around
    if (
        not np.issubdtype(n.dtype, np.integer)
        or np.any(n < 1)
        or np.any(n > np.iinfo(np.int64).max)
    ):
        raise ValueError("n must hold integers in 1..2^63 - 1")
    return n.astype(np.int64)


def _digits(n):
    """Number of binary digits of each integer."""
    # not by a floating-point logarithm, which is wrong just below large powers of two
    return np.searchsorted(_POWERS, n, side="right")


def _write(values, widths):
    """Writes each value in `widths` bits, then zeros up to a whole byte."""
    # one entry per bit: its place in its field, hence by how much the value is shifted right
    place = np.arange(widths.sum()) - np.repeat(np.cumsum(widths) - widths, widths)
    shift = np.repeat(widths, widths) - 1 - place
    # leading zeros of gamma fields: shifts beyond 63 bits are undefined, and by 63 give 0 as well
    bits = np.repeat(values, widths) >> np.minimum(shift, _MAX_DIGITS) & 1
    return np.packbits(bits.astype(np.uint8)).tobytes()


def _read(data, count, read_one):
    # a codeword has at least one bit: nothing is allocated for a false count
    if count > 8 * len(data):
        raise FormatError("the Elias code is cut off")
    text = (np.unpackbits(np.frombuffer(data, np.uint8)) + ord("0")).tobytes()
    values, position = np.empty(count, np.int64), 0
    for i in range(count):
        values[i], position = read_one(text, position)
    # only zeros that fill the last byte may follow: each list has one byte string
    if len(text) - position >= 8 or b"1" in text[position:]:
        raise FormatError("the Elias code has bits left over")
    return values


def _read_gamma(text, start):
    one = text.find(b"1", start, start + _MAX_DIGITS)
    if one < 0:
        raise FormatError(
            f"the Elias code is cut off or holds a number of more than {_MAX_DIGITS} binary digits"
        )
    return _read_binary(text, one, 2 * one - start + 1)


def _read_delta(text, start):
    digits, middle = _read_gamma(text, start)
    if digits > _MAX_DIGITS:
        raise FormatError(f"the Elias code holds a number of more than {_MAX_DIGITS} binary digits")
    low, end = _read_binary(text, middle, middle + digits - 1)
    return 1 << digits - 1 | low, end


def _read_binary(text, start, end):
    if end > len(text):
        raise FormatError("the Elias code is cut off")
    return int(text[start:end] or b"0", 2), end
