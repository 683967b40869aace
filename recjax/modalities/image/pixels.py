"""Images as arrays: gray, patches, sizes, PSNR."""

import math

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

MAX_SIDE = 4096


def to_gray(values: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """The mean of the channels, rounded, in each channel: what a decoder returns for a gray image.

    >>> to_gray(np.array([[[10, 20, 40]]], np.uint8))
    array([[[23, 23, 23]]], dtype=uint8)
    """
    mean = (values.sum(-1, dtype=np.uint16) + 1) // 3
    return np.repeat(mean.astype(np.uint8)[..., None], 3, axis=-1)


def to_patches(
    values: UInt8[np.ndarray, "H W 3"], patch: tuple[int, ...]
) -> tuple[UInt8[np.ndarray, "P h w 3"], Float32[np.ndarray, "P h w"]]:
    """Cuts an image into patches, row by row; the last ones continue the edge pixels.

    Args:
        values: the image.
        patch: height and width of a patch (what follows is ignored).

    Returns:
        The patches, and weights: 1 inside the image, 0 beyond its edge.

    >>> patches, mask = to_patches(np.zeros((33, 64, 3), np.uint8), (32, 32))
    >>> patches.shape, float(mask.sum())
    ((4, 32, 32, 3), 2112.0)
    """
    height, width = values.shape[:2]
    rows, columns = n_patches(values.shape, patch)
    pad = ((0, rows * patch[0] - height), (0, columns * patch[1] - width))
    mask = np.pad(np.ones((height, width), np.float32), pad)
    return _cut(np.pad(values, (*pad, (0, 0)), mode="edge"), patch), _cut(mask, patch)


def from_patches(
    patches: UInt8[np.ndarray, "P h w 3"], shape: tuple[int, ...], patch: tuple[int, ...]
) -> UInt8[np.ndarray, "H W 3"]:
    """The image that `to_patches` cut: its exact inverse.

    Args:
        patches: in the order of `to_patches`.
        shape: height and width of the image (what follows is ignored).
        patch: height and width of a patch.

    >>> image = np.arange(70 * 40 * 3, dtype=np.uint8).reshape(70, 40, 3)
    >>> bool((from_patches(to_patches(image, (32, 32))[0], (70, 40), (32, 32)) == image).all())
    True
    """
    rows, columns = n_patches(shape, patch)
    grid = patches.reshape(rows, columns, *patches.shape[1:]).swapaxes(1, 2)
    return grid.reshape(rows * patch[0], columns * patch[1], -1)[: shape[0], : shape[1]]


def n_patches(shape: tuple[int, ...], patch: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of patches of an image of ``shape``."""
    return -(-shape[0] // patch[0]), -(-shape[1] // patch[1])


def resized(values: UInt8[np.ndarray, "H W 3"], scale: float) -> UInt8[np.ndarray, "h w 3"]:
    """The image with sides times ``scale``, by Lanczos filtering.

    >>> resized(np.zeros((40, 60, 3), np.uint8), 0.5).shape
    (20, 30, 3)
    """
    height, width = (max(round(side * scale), 1) for side in values.shape[:2])
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.LANCZOS))


def psnr(a: UInt8[np.ndarray, "H W 3"], b: UInt8[np.ndarray, "H W 3"]) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels; inf if the images are equal.

    >>> round(psnr(np.zeros((8, 8, 3), np.uint8), np.ones((8, 8, 3), np.uint8)), 2)
    48.13
    """
    error = float(np.square(a.astype(np.float64) - b.astype(np.float64)).mean())
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def _cut(array: np.ndarray, patch: tuple[int, ...]) -> np.ndarray:
    rows, columns = array.shape[0] // patch[0], array.shape[1] // patch[1]
    grid = array.reshape(rows, patch[0], columns, patch[1], *array.shape[2:])
    return grid.swapaxes(1, 2).reshape(rows * columns, patch[0], patch[1], *array.shape[2:])
