"""Integer frequencies of the range coder. Frozen: FORMAT.md, section Range coder.

Every table that a decoder uses consists of integers, so that no rounding of floating-point
arithmetic can make two machines disagree about a symbol.
"""

import numpy as np
from jaxtyping import Int, Real

PRECISION = 24
"""The frequencies of a table sum to `2**PRECISION`."""


def integer_shares(
    weights: Real[np.ndarray, "*tables symbols"] | list[int], least: int = 1
) -> Int[np.ndarray, "*tables symbols"]:
    """Divides 2^24 among symbols in proportion to their weights.

    Symbol `i` gets `least + floor(w_i (2^24 - n least) / sum(w))`, and the first of the heaviest
    symbols also gets what rounding down left over. Integer weights are divided in exact integer
    arithmetic; weights of dtype float in float64.

    Args:
        weights: non-negative weights of `n` symbols, not all zero; each row of an array is a
            table. A list may hold Python integers of any size. int64 weights must stay below
            2^63 when they are multiplied by 2^24.
        least: smallest frequency, so that every symbol can be coded.

    Returns:
        int64 frequencies, at least `least`, that sum to 2^24 along the last axis.

    >>> integer_shares(np.array([[3, 1, 0]])).tolist()
    [[12582911, 4194304, 1]]
    """
    if isinstance(weights, list):
        # Python integers: the products exceed 64 bits
        weights = np.array(weights, dtype=object)
    room = 2**PRECISION - least * weights.shape[-1]
    total = weights.sum(-1, keepdims=True)
    exact = weights.dtype.kind != "f"
    shares = weights * room // total if exact else np.floor(weights / total * room)
    frequencies = least + shares.astype(np.int64)
    heaviest = np.expand_dims(weights.argmax(-1), -1)
    rest = 2**PRECISION - frequencies.sum(-1, keepdims=True)
    at_heaviest = np.take_along_axis(frequencies, heaviest, -1)
    np.put_along_axis(frequencies, heaviest, at_heaviest + rest, -1)
    return frequencies
