"""The network that chooses the distribution of every coefficient. Frozen: FORMAT.md, section Staged
coefficients.

All numbers are whole, so that every decoder chooses the same distributions. They are kept in
float64, in which sums below 2^53 are exact in any order, for the sake of fast matrix products.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

HIDDEN_BITS = 6
"""Hidden units are multiples of 2^-6."""
WEIGHT_BITS = 10
"""Weights are multiples of 2^-10."""
FEATURE_BITS = 4
"""Features are multiples of 2^-4."""
LARGEST_UNIT = (1 << 12) - 1
SCALES = 96
"""Number of scales of a distribution."""
SHAPES = 8
"""Number of its shapes."""


class Layers(NamedTuple):
    """Weights of a stage, whole numbers.

    Attributes:
        first: from features to hidden units.
        bins: offset of every hidden unit, per bin.
        second: from hidden units to hidden units.
        offset: offset of the second layer.
        last: from hidden units to scale and shape.
        centre: offset of scale and shape.
    """

    first: Float[np.ndarray, "inputs hidden"]
    bins: Float[np.ndarray, "rows hidden"]
    second: Float[np.ndarray, "hidden hidden"]
    offset: Float[np.ndarray, "hidden"]
    last: Float[np.ndarray, "hidden 2"]
    centre: Float[np.ndarray, "2"]


def distributions(
    layers: Layers, features: Int[np.ndarray, "channels frames bins inputs"], rows: np.ndarray
) -> Int[np.ndarray, "channels frames bins"]:
    """Number of the distribution of every coefficient: scale times SHAPES plus shape.

    Args:
        layers: the weights.
        features: the features.
        rows: row of ``layers.bins`` of every bin.
    """
    x = features.astype(np.float64) @ layers.first + layers.bins[rows]
    x = _units(x, WEIGHT_BITS + FEATURE_BITS - HIDDEN_BITS)
    x = _units(x @ layers.second + layers.offset, WEIGHT_BITS)
    out = np.floor((x @ layers.last + layers.centre) / (1 << (WEIGHT_BITS + HIDDEN_BITS)))
    scale, shape = (
        np.clip(out[..., i], 0, most - 1).astype(np.int64) for i, most in ((0, SCALES), (1, SHAPES))
    )
    return scale * SHAPES + shape


def _units(x: np.ndarray, bits: int) -> np.ndarray:
    """Hidden units, whole numbers again."""
    return np.clip(np.floor(x / (1 << bits)), 0, LARGEST_UNIT)
