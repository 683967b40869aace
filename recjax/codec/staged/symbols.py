"""Magnitudes as symbols, and their activities. Frozen: FORMAT.md, section Staged coefficients.

Magnitudes 0 to 15 are symbols. Larger ones have the symbol 16, and an interval: every octave from
16 on is cut into four.
"""

import numpy as np
from jaxtyping import Int

ESCAPE = 16
"""Symbol of magnitudes from 16 on."""
OCTAVES = 16
"""Number of octaves from 16 on."""
INTERVALS = 4 * OCTAVES
LARGEST = (16 << OCTAVES) - 1
"""The largest magnitude; larger ones are clipped."""

# 16 log2(1 + m), rounded
_SMALL = (0, 16, 25, 32, 37, 41, 45, 48, 51, 53, 55, 57, 59, 61, 63, 64)


def _edges():
    return np.array([(4 + i % 4) << (2 + i // 4) for i in range(INTERVALS + 1)])


EDGES = _edges()
"""First magnitude of every interval, and the end of the last."""
_ACTIVITIES = np.array([*_SMALL, *(68 + 4 * i for i in range(INTERVALS))])


def intervals_of(magnitude: Int[np.ndarray, "*n"]) -> Int[np.ndarray, "*n"]:
    """The interval of magnitudes from 16 on.

    >>> intervals_of(np.array([16, 19, 20, 31, 32])).tolist()
    [0, 0, 1, 3, 4]
    """
    return np.searchsorted(EDGES, magnitude, side="right") - 1


def activities_of(magnitude: Int[np.ndarray, "*n"]) -> Int[np.ndarray, "*n"]:
    """Activities of magnitudes, about 16 log2(1 + m).

    >>> activities_of(np.array([0, 1, 15, 16, 1000])).tolist()
    [0, 16, 64, 68, 160]
    """
    return _ACTIVITIES[
        np.where(magnitude < ESCAPE, magnitude, ESCAPE + np.maximum(intervals_of(magnitude), 0))
    ]
