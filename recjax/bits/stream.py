"""The range coder under all streams: exact models, reading, and the shortest end.

A 64-bit state, 32-bit words and 24-bit probabilities (Martin, *Range encoding*, 1979; Pasco, *Source coding algorithms
for fast data compression*, 1976), as `constriction` implements it.
"""

import constriction
import numpy as np
from jaxtyping import Int

# the package describes no types for what is inside its compiled module
queue = constriction.stream.queue  # pyright: ignore[reportAttributeAccessIssue]
model = constriction.stream.model  # pyright: ignore[reportAttributeAccessIssue]

PAIRS = model.Categorical(perfect=False)
"""Two symbols with the `weights` of frequencies of each occurrence."""


def weights(frequencies: Int[np.ndarray, "..."]) -> np.ndarray:
    """What a Categorical model with ``perfect=False`` must be given to use exactly these frequencies.

    Args:
        frequencies: positive integers which sum to 2^24 along the last axis.

    >>> weights(np.array([1, 2**24 - 1]))
    array([       0., 16777214.])
    """
    # The coder gives symbol i the integer frequency 1 + trunc(s cdf(i+1)) - trunc(s cdf(i)), s = (2^24 - n) / sum(p).
    # With p = frequency - 1 the scale s is 1 and every operation exact: the frequencies are ours, on any machine.
    return np.asarray(frequencies, np.float64) - 1


def reader(data: bytes):
    """A range decoder of ``data``, continued by zeros.

    It raises an AssertionError at a point outside every symbol's interval, which no encoder writes.

    >>> reader(b"").decode(model.Uniform(4), 2)
    array([0, 0], dtype=int32)
    """
    return queue.RangeDecoder(np.frombuffer(data + bytes(-len(data) % 4), ">u4").astype(np.uint32))


def shortest(encoder) -> bytes:
    """The fewest bytes whose value, continued by zeros, lies in the coder's final interval.

    >>> encoder = queue.RangeEncoder()
    >>> encoder.encode(np.array([3, 3, 2], np.int32), model.Uniform(4))
    >>> shortest(encoder)  # base 4: 0.332
    b'\\xf8'
    """
    words, (lower, width) = encoder.pos()
    sealed = encoder.get_compressed()
    if sealed.size == 0:
        return b""
    # The interval [low, low + width) in units of the last bit of `words + 2` words. The sealed words are its lower
    # end plus less than 2^32, which settles the carries that were still pending.
    sealed_value = int.from_bytes(sealed.astype(">u4").tobytes(), "big") << 32 * (
        words + 2 - sealed.size
    )
    low = sealed_value - ((sealed_value - lower) % 2**64)
    total = 4 * (words + 2)
    for length in range(max(0, total - 9), total + 1):
        shift = 8 * (total - length)
        value = -(-low >> shift)
        if value << shift < low + width:
            return value.to_bytes(length, "big")
    raise AssertionError("an interval of at least 2^32 holds a multiple of 2^32")
