"""The range coder under all streams. Frozen: FORMAT.md, section Range coder.

It has a 64-bit state, 32-bit words and 24-bit probabilities (Martin, *Range encoding*, 1979; Pasco,
*Source coding algorithms for fast data compression*, 1976), as `constriction` implements it. This
module adds exact models, reading, and the shortest end of a stream.
"""

import contextlib
from collections.abc import Iterator

import constriction
import numpy as np
from jaxtyping import Float, Int

from recjax.errors import FormatError

# the package describes no types for what is inside its compiled module
queue = constriction.stream.queue  # pyright: ignore[reportAttributeAccessIssue]
model = constriction.stream.model  # pyright: ignore[reportAttributeAccessIssue]

PAIRS = model.Categorical(perfect=False)
"""Model of two symbols; every occurrence brings the `weights` of its frequencies."""


def weights(
    frequencies: Int[np.ndarray, "*tables symbols"],
) -> Float[np.ndarray, "*tables symbols"]:
    """Weights with which a Categorical model with `perfect=False` uses exactly these frequencies.

    Args:
        frequencies: positive integers that sum to 2^24 along the last axis.

    >>> weights(np.array([1, 2**24 - 1]))
    array([       0., 16777214.])
    """
    # The coder gives symbol i of n the integer frequency 1 + trunc(s cdf(i+1)) - trunc(s cdf(i)),
    # s = (2^24 - n) / sum(p). With p = frequency - 1 the scale s is 1 and every operation exact:
    # the frequencies are those of the argument, on any machine.
    return np.asarray(frequencies, np.float64) - 1


def reader(data: bytes):
    """Returns a range decoder of `data`, continued by zeros.

    The decoder raises an AssertionError at a point outside every symbol's interval, which no
    encoder writes: decode within `refusing`.

    >>> reader(b"").decode(model.Uniform(4), 2)
    array([0, 0], dtype=int32)
    """
    # whole words of 4 bytes: `shortest` has cut the zeros at the end
    padded = data + bytes(-len(data) % 4)
    return queue.RangeDecoder(np.frombuffer(padded, ">u4").astype(np.uint32))


@contextlib.contextmanager
def refusing(name: str) -> Iterator[None]:
    """Turns the range decoder's AssertionError into a FormatError about a damaged stream.

    Args:
        name: name of the stream, for the message.

    Raises:
        FormatError: the decoder met a point outside every symbol's interval.

    >>> with refusing("index stream"):
    ...     reader(b"\\xff" * 8).decode(model.Uniform(3), 1)
    Traceback (most recent call last):
    recjax.errors.FormatError: the index stream is damaged
    """
    try:
        yield
    except AssertionError as error:
        raise FormatError(f"the {name} is damaged") from error


def shortest(encoder) -> bytes:
    """Returns the fewest bytes whose value, continued by zeros, lies in the final interval.

    At most 9 bytes are cut off: zeros before them stay, although zeros continue a stream anyway.

    >>> encoder = queue.RangeEncoder()
    >>> encoder.encode(np.array([3, 3, 2], np.int32), model.Uniform(4))
    >>> shortest(encoder)  # base 4: 0.332
    b'\\xf8'
    """
    words, (lower, width) = encoder.pos()
    sealed = encoder.get_compressed()
    if sealed.size == 0:
        return b""
    # The interval [low, low + width) is in units of the last bit of `words + 2` words. The sealed
    # words are its lower end plus less than 2^32, which settles carries that were still pending.
    sealed_value = int.from_bytes(sealed.astype(">u4").tobytes(), "big")
    sealed_value <<= 32 * (words + 2 - sealed.size)
    low = sealed_value - ((sealed_value - lower) % 2**64)
    total = 4 * (words + 2)
    # Frozen: a stream keeps all but its last 9 bytes, also where these bytes are zero.
    for length in range(max(0, total - 9), total + 1):
        shift = 8 * (total - length)
        value = -(-low >> shift)  # rounded up
        if value << shift < low + width:
            return value.to_bytes(length, "big")
    raise AssertionError("an interval of at least 2^32 holds a multiple of 2^32")
