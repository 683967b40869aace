"""Images as arrays: their grid of values, gray, sizes, PSNR."""

import math

import numpy as np
from jaxtyping import UInt8

from recjax.modalities.grid import Grid
from recjax.modalities.signal import Signal

MAX_SIDE = 4096


def check(signal: Signal) -> None:
    """Raises a ValueError unless the signal is an image that can be coded."""
    values = signal.values
    if not isinstance(values, np.ndarray):
        raise ValueError(
            f"the values of an image must be a NumPy array, got {type(values).__name__}"
        )
    if values.dtype != np.uint8 or values.ndim != 3 or values.shape[2] != 3:
        raise ValueError(
            f"the values of an image must be uint8[H, W, 3], got {values.dtype}{list(values.shape)}"
        )
    if not (min(values.shape) >= 1 and max(values.shape) <= MAX_SIDE):
        raise ValueError(
            f"an image must have sides of 1 to {MAX_SIDE}, "
            f"got {values.shape[0]} x {values.shape[1]}"
        )


def to_grid(signal: Signal) -> Grid:
    """Values in [-1/2, 1/2]; the flag says that the image is gray."""
    return Grid(signal.values.astype(np.float32) / 255 - 0.5, flag=bool(signal.meta.get("gray")))


def from_grid(grid: Grid) -> Signal:
    """The image of decoded values: clipped and rounded to 8 bits, with equal channels if gray."""
    levels = np.floor((np.clip(grid.values, -0.5, 0.5) + 0.5) * 255 + 0.5).astype(np.uint8)
    return Signal(to_gray(levels) if grid.flag else levels, "image", {"gray": grid.flag})


def to_gray(values: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """The mean of the channels, rounded, in each channel: what a decoder returns for a gray image.

    >>> to_gray(np.array([[[10, 20, 40]]], np.uint8))
    array([[[23, 23, 23]]], dtype=uint8)
    """
    mean = (values.sum(-1, dtype=np.uint16) + 1) // 3
    return np.repeat(mean.astype(np.uint8)[..., None], 3, axis=-1)


def resized(values: UInt8[np.ndarray, "H W 3"], scale: float) -> UInt8[np.ndarray, "h w 3"]:
    """The image with sides times ``scale``, by Lanczos filtering.

    >>> resized(np.zeros((40, 60, 3), np.uint8), 0.5).shape
    (20, 30, 3)
    """
    from PIL import Image

    height, width = (max(round(side * scale), 1) for side in values.shape[:2])
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.LANCZOS))


def psnr(a: UInt8[np.ndarray, "H W 3"], b: UInt8[np.ndarray, "H W 3"]) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels; inf if the images are equal.

    >>> round(psnr(np.zeros((8, 8, 3), np.uint8), np.ones((8, 8, 3), np.uint8)), 2)
    48.13
    """
    error = float(np.square(a.astype(np.float64) - b.astype(np.float64)).mean())
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)
