"""Random changes of training images: mirrored, transposed, and of other colours and contrast."""

import numpy as np
from jaxtyping import UInt8

_PERMUTED, _SATURATED, _RELIT = 0.3, 0.6, 0.6
"""How often channels change places, and saturation or light change."""


def mirrored(
    values: UInt8[np.ndarray, "side side 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "side side 3"]:
    """The image mirrored along either axis and transposed, each with probability 1/2."""
    values = values[:, ::-1] if rng.random() < 0.5 else values
    values = values[::-1] if rng.random() < 0.5 else values
    return values.swapaxes(0, 1) if rng.random() < 0.5 else values


def recoloured(
    values: UInt8[np.ndarray, "side side 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "side side 3"]:
    """The image with other colours and contrast.

    Training sets have few saturated colours, and a transform that never saw one spends half of an
    image's bits on it.
    """
    values = values.astype(np.float32)
    if rng.random() < _PERMUTED:
        values = values[..., rng.permutation(3)]
    if rng.random() < _SATURATED:
        gray = values.mean(-1, keepdims=True)
        values = gray + (values - gray) * np.float32(np.exp(rng.uniform(-0.5, 1.1)))
    if rng.random() < _RELIT:
        contrast, light, tint = (
            np.exp(rng.uniform(-0.4, 0.3)),
            rng.uniform(-30, 30),
            np.exp(rng.uniform(-0.2, 0.2, 3)),
        )
        values = ((values - values.mean()) * contrast + values.mean() + light) * tint
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)
