"""Images: PNG, JPEG and WebP files, patches, PSNR."""

import contextlib
import io
import math
import os
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageOps

from recjax.atomic import check_output, write_atomic
from recjax.modalities.signal import Signal

MAX_SIDE = 4096
_READ = ("PNG", "JPEG", "WEBP")
_WRITE = {
    ".png": {"format": "PNG"},
    ".webp": {"format": "WEBP", "lossless": True},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
}


def load(path: str | os.PathLike[str]) -> Signal:
    """Reads a PNG, JPEG or WebP image, turned upright as its EXIF orientation says.

    Args:
        path: the image file.

    Returns:
        A signal of modality ``"image"``; ``meta["gray"]`` says that the three channels are equal.

    Raises:
        ValueError: if the file is missing, empty, damaged or no such image, is larger than 4096 x 4096, has 16 bits a
            channel, several frames, or pixels that are not opaque.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder, not an image") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    if not data:
        raise ValueError(f"{path} is empty")
    with _decoding(path):
        image = Image.open(io.BytesIO(data), formats=_READ)
    _check(path, data, image)
    with _decoding(path):
        image = ImageOps.exif_transpose(image)
        alpha = np.array(image.convert("RGBA"))[..., 3] if image.has_transparency_data else 255
        values = np.array(image.convert("RGB"))
    if np.any(alpha != 255):
        raise ValueError(f"{path} has transparent pixels; flatten it onto a background first")
    gray = bool((values == values[..., :1]).all())
    return Signal(values, "image", {"gray": gray})


def save(signal: Signal, path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Writes an image as PNG or WebP without loss, or as JPEG of quality 95, by the suffix of ``path``.

    Args:
        signal: a signal of modality ``"image"``.
        path: the file to be written, whole or not at all.
        force: whether an existing file may be replaced.

    Raises:
        ValueError: if the suffix is another one, or ``path`` cannot be written or exists and ``force`` is off.
    """
    path = check_save(path, force=force)
    image = Image.fromarray(signal.values[..., 0] if signal.meta.get("gray") else signal.values)
    buffer = io.BytesIO()
    image.save(buffer, **_WRITE[path.suffix.lower()])
    write_atomic(path, buffer.getvalue(), force=force)


def check_save(path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Raises the ValueError of `save` before there is anything to save; returns ``path`` as a ``Path``."""
    path = check_output(path, force=force)
    if path.suffix.lower() not in _WRITE:
        raise ValueError(f"output {path}: the suffix must be one of {', '.join(_WRITE)}")
    return path


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


@contextlib.contextmanager
def _decoding(path: Path):
    """Turns whatever Pillow raises for damaged data into one ValueError that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(f"{path} is larger than {MAX_SIDE} x {MAX_SIDE}") from None
    except Image.UnidentifiedImageError:
        raise ValueError(f"{path} is not a PNG, JPEG or WebP image") from None
    except Exception as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def _check(path: Path, data: bytes, image: Image.Image) -> None:
    if max(image.size) > MAX_SIDE:
        raise ValueError(
            f"{path} is {image.width} x {image.height}; more than {MAX_SIDE} x {MAX_SIDE} is not supported"
        )
    # Pillow cuts 16-bit colour PNGs to 8 bits silently: byte 24 of a PNG is its bit depth
    if image.mode.startswith(("I", "F")) or (image.format == "PNG" and data[24] == 16):
        raise ValueError(f"{path} has 16 bits a channel; convert it to 8 bits first")
    if image.format in ("PNG", "WEBP") and getattr(image, "n_frames", 1) > 1:
        raise ValueError(f"{path} is an animation, not one image")


def _cut(array: np.ndarray, patch: tuple[int, ...]) -> np.ndarray:
    rows, columns = array.shape[0] // patch[0], array.shape[1] // patch[1]
    grid = array.reshape(rows, patch[0], columns, patch[1], *array.shape[2:])
    return grid.swapaxes(1, 2).reshape(rows * columns, patch[0], patch[1], *array.shape[2:])
