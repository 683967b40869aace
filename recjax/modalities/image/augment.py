"""Random pieces of images for training: mirrored, turned, and of other colours and contrast."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

_PERMUTED, _SATURATED, _RELIT = 0.3, 0.6, 0.6
"""How often channels change places, and saturation or light change."""


def random_crops(
    images: Sequence[UInt8[np.ndarray, "h w 3"]],
    count: int,
    side: int,
    seed: Sequence[int],
    *,
    recolour: bool = True,
) -> UInt8[np.ndarray, "count side side 3"]:
    """Crops of images, drawn in proportion to the root of their size.

    Args:
      images: with sides of at least ``side``.
      count: of crops.
      side: of a crop.
      seed: of everything random here.
      recolour: whether colours and contrast change too. Training sets have few saturated colours, and a transform that
        never saw one spends half of an image's bits on it.
    """
    rng = np.random.default_rng(seed)
    share = np.sqrt([image[..., 0].size for image in images])
    out = np.empty((count, side, side, 3), np.uint8)
    for place, which in enumerate(rng.choice(len(images), count, p=share / share.sum())):
        top, left = (rng.integers(n - side + 1) for n in images[which].shape[:2])
        crop = images[which][top : top + side, left : left + side]
        crop = crop[:, ::-1] if rng.random() < 0.5 else crop
        crop = crop[::-1] if rng.random() < 0.5 else crop
        crop = crop.swapaxes(0, 1) if rng.random() < 0.5 else crop
        out[place] = _recoloured(crop, rng) if recolour else crop
    return out


def _recoloured(crop, rng):
    crop = crop.astype(np.float32)
    if rng.random() < _PERMUTED:
        crop = crop[..., rng.permutation(3)]
    if rng.random() < _SATURATED:
        gray = crop.mean(-1, keepdims=True)
        crop = gray + (crop - gray) * np.float32(np.exp(rng.uniform(-0.5, 1.1)))
    if rng.random() < _RELIT:
        contrast, light, tint = (
            np.exp(rng.uniform(-0.4, 0.3)),
            rng.uniform(-30, 30),
            np.exp(rng.uniform(-0.2, 0.2, 3)),
        )
        crop = ((crop - crop.mean()) * contrast + crop.mean() + light) * tint
    return np.clip(crop + 0.5, 0, 255).astype(np.uint8)
