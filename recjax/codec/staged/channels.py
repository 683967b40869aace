"""Channels of a signal as they are coded. Frozen: FORMAT.md, section Staged coefficients."""

import math

import numpy as np
from jaxtyping import Float

_HALF = np.float32(math.sqrt(0.5))


def separated(values: Float[np.ndarray, "T channels"]) -> Float[np.ndarray, "channels T"]:
    """The channels one by one; two channels as their middle and side."""
    rows = np.ascontiguousarray(values.T, np.float32)
    if len(rows) != 2:
        return rows
    return np.stack([rows[0] + rows[1], rows[0] - rows[1]]) * _HALF


def together(rows: Float[np.ndarray, "channels T"]) -> Float[np.ndarray, "T channels"]:
    """The inverse of `separated`.

    >>> rows = np.float32([[1, 2], [3, -4]])
    >>> bool(np.allclose(together(separated(rows.T)), rows.T))
    True
    """
    if len(rows) == 2:
        rows = np.stack([rows[0] + rows[1], rows[0] - rows[1]]) * _HALF
    return np.ascontiguousarray(rows.T)
