"""Random changes of training sounds: polarity and gain."""

import numpy as np
from jaxtyping import Float32

_QUIETEST = 0.1
"""Least gain; the gain is uniform in its logarithm, up to the one that brings the peak to 1."""


def turned_over(
    values: Float32[np.ndarray, "T channels"], rng: np.random.Generator
) -> Float32[np.ndarray, "T channels"]:
    """The sound with the other polarity, with probability 1/2; time keeps its direction."""
    return -values if rng.random() < 0.5 else values


def amplified(
    values: Float32[np.ndarray, "T channels"], rng: np.random.Generator
) -> Float32[np.ndarray, "T channels"]:
    """The sound louder or quieter, without clipping."""
    loudest = max(1 / max(float(np.abs(values).max()), 1e-3), _QUIETEST)
    return values * np.float32(np.exp(rng.uniform(np.log(_QUIETEST), np.log(loudest))))
