"""Training signals for an image prior: small images as they are, or patches cut from a folder of photographs."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from recjax.modalities.files import list_signals, load
from recjax.modalities.image import IMAGE


def load_training_images(
    path: str | os.PathLike[str], grid: tuple[int, int], *, patches: int = 4096, seed: int = 0
) -> UInt8[np.ndarray, "M h w 3"]:
    """Signals of the shape of ``grid`` from an ``.npz`` file or a folder of PNG, JPEG or WebP images.

    Args:
      path: an ``.npz`` file with one array ``images`` (uint8, ``[M, *grid, 3]``) that is used whole, or a
        folder, of whose images (sorted by name) ``patches`` random patches are cut in equal shares: two
        thirds at full resolution, one third averaged over 2x2 pixels, where the image is large enough.
      grid: height and width of a patch.
      patches: patches cut from a folder.
      seed: of the positions.

    Raises:
      ValueError: nothing usable is at ``path``.
    """
    path = Path(path)
    if path.is_dir():
        return _from_folder(path, grid, patches, seed)
    images = _from_npz(path)
    if images.dtype != np.uint8 or images.shape[1:] != (*grid, 3) or len(images) < 2:
        raise ValueError(
            f"{path}: images must be uint8[M, {grid[0]}, {grid[1]}, 3], got {images.dtype}{images.shape}"
        )
    return images


def load_whole_images(path: str | os.PathLike[str]) -> list[UInt8[np.ndarray, "h w 3"]]:
    """All images of an ``.npz`` file with one array ``images`` (uint8, ``[M, H, W, 3]``), or of a folder.

    Raises:
      ValueError: nothing usable is at ``path``.
    """
    path = Path(path)
    if path.is_dir():
        return [load(image).values for image in list_signals(path)]
    images = _from_npz(path)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(
            f"{path}: images must be uint8[M, H, W, 3], got {images.dtype}{list(images.shape)}"
        )
    return list(images)


def random_crops(
    signals: Sequence[np.ndarray],
    count: int,
    side: int,
    seed: Sequence[int],
    *,
    augment: bool = True,
) -> np.ndarray:
    """Crops of images, drawn in proportion to the root of their size.

    Args:
      signals: images with sides of at least ``side``.
      count: of crops.
      side: of a crop.
      seed: of everything random here.
      augment: whether colours and contrast change too.
    """
    rng = np.random.default_rng(seed)
    share = np.sqrt([image[..., 0].size for image in signals])
    out = np.empty((count, side, side, 3), np.uint8)
    for place, which in enumerate(rng.choice(len(signals), count, p=share / share.sum())):
        top, left = (rng.integers(n - side + 1) for n in signals[which].shape[:2])
        crop = IMAGE.symmetry(signals[which][top : top + side, left : left + side], rng)
        out[place] = IMAGE.augment(crop, rng) if augment else crop
    return out


def _from_npz(path):
    try:
        with np.load(path, allow_pickle=False) as file:
            return np.asarray(file["images"])
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception:  # NumPy, zipfile and zlib raise many kinds for damaged data
        raise ValueError(
            f"{path} is neither a folder nor a whole .npz file with an array 'images'"
        ) from None


def _from_folder(folder, grid, patches, seed):
    paths = list_signals(folder)
    rng = np.random.default_rng(seed)
    out = []
    for i, path in enumerate(paths):
        image = load(path).values
        if image.shape[0] < grid[0] or image.shape[1] < grid[1]:
            raise ValueError(f"{path} is {image.shape[0]} x {image.shape[1]}, smaller than a patch")
        share = (i + 1) * patches // len(paths) - i * patches // len(paths)
        out.extend(_cut(image, grid, rng) for _ in range(share))
    return np.stack(out)


def _cut(image, grid, rng):
    scale = (
        2
        if rng.random() < 1 / 3 and image.shape[0] >= 2 * grid[0] and image.shape[1] >= 2 * grid[1]
        else 1
    )
    height, width = grid[0] * scale, grid[1] * scale
    top = rng.integers(image.shape[0] - height + 1)
    left = rng.integers(image.shape[1] - width + 1)
    patch = image[top : top + height, left : left + width].astype(np.float32)
    mean = patch.reshape(grid[0], scale, grid[1], scale, 3).mean((1, 3))
    return np.floor(mean + 0.5).astype(np.uint8)
