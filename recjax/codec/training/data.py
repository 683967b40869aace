"""Training signals: from files, and crops of them."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from recjax.codec.encoding import check_signals
from recjax.modalities import Grid, Modality, Signal, modality_of_name
from recjax.modalities.files import list_signals, load

Signals = Sequence[Signal | np.ndarray] | np.ndarray
"""Signals. Arrays stand for values of images, one with an axis more for several of one size."""


def as_signals(signals: Signals) -> tuple[Modality, list[Signal]]:
    """Training signals and their modality.

    Raises:
        ValueError: there are none, they are of several modalities, or one cannot be coded.
    """
    known = [x if isinstance(x, Signal) else Signal(x) for x in signals]
    if not known:
        raise ValueError("there are no training signals")
    return check_signals(known), known


def grids_of(modality: Modality, signals: Sequence[Signal]) -> list[Grid]:
    """The signals as the codec sees them."""
    return [modality.to_grid(signal) for signal in signals]


def load_training_images(
    path: str | os.PathLike[str], grid: Sequence[int], *, patches: int = 4096, seed: int = 0
) -> list[Signal]:
    """Training signals of one size from an ``.npz`` file or a folder.

    Args:
        path: an ``.npz`` file with one array ``images`` (uint8, ``[M, *grid, 3]``), all of which
            are used; or a folder, whose signals (sorted by name) give ``patches`` random patches in
            equal shares: two thirds at full resolution, one third averaged over two cells along
            every axis, where the signal is large enough.
        grid: sides of a training signal.
        patches: number of patches that are cut from a folder.
        seed: seed of the positions.

    Raises:
        ValueError: nothing usable is at ``path``.
    """
    path, grid = Path(path), tuple(grid)
    if path.is_dir():
        return _from_folder(path, grid, patches, seed)
    signals = _from_npz(path)
    sides = signals[0].values.shape[:2]
    if len(signals) < 2 or sides != grid:
        raise ValueError(
            f"{path}: images must be two or more of sides {grid}, got {len(signals)} of {sides}"
        )
    return signals


def load_whole_images(path: str | os.PathLike[str]) -> list[Signal]:
    """Training signals of any size: those of a folder, or of an ``.npz`` file.

    Args:
        path: a folder, or an ``.npz`` file with one array ``images`` (uint8, ``[M, H, W, 3]``).

    Raises:
        ValueError: nothing usable is at ``path``.
    """
    path = Path(path)
    if path.is_dir():
        return [load(file) for file in list_signals(path)]
    return _from_npz(path)


def random_crops(
    values: Sequence[Shaped[np.ndarray, "*_sides_and_rest"]],
    count: int,
    sides: Sequence[int],
    seed: Sequence[int],
    *,
    modality: Modality,
    augment: bool = True,
) -> Shaped[np.ndarray, "count *sides_and_rest"]:
    """Random crops, changed by a random symmetry of their modality.

    Args:
        values: ``Signal.values`` of signals that are at least as large as a crop; a signal is drawn
            in proportion to the root of its size.
        count: number of crops.
        sides: sides of a crop.
        seed: seed of everything random here.
        modality: modality of the signals.
        augment: whether `Modality.augment` changes the crops too (of images: colours and contrast).
    """
    rng = np.random.default_rng(seed)
    share = np.sqrt([math.prod(signal.shape[: modality.rank]) for signal in values])
    crops = []
    for which in rng.choice(len(values), count, p=share / share.sum()):
        crop = modality.symmetry(_random_box(values[which], sides, rng), rng)
        crops.append(modality.augment(crop, rng) if augment else crop)
    return np.stack(crops)


def _random_box(values, sides, rng):
    # the axes beyond those of the sides, if any, are those of channels
    starts = [rng.integers(n - side + 1) for n, side in zip(values.shape, sides, strict=False)]
    return values[tuple(slice(at, at + side) for at, side in zip(starts, sides, strict=True))]


def _from_npz(path):
    try:
        with np.load(path, allow_pickle=False) as file:
            images = np.asarray(file["images"])
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception:  # NumPy, zipfile and zlib raise many kinds for damaged data
        raise ValueError(
            f"{path} is neither a folder nor a complete .npz file with an array 'images'"
        ) from None
    try:
        return as_signals(list(images) if images.ndim else [])[1]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _from_folder(folder, grid, patches, seed):
    paths = list_signals(folder)
    rng = np.random.default_rng(seed)
    out = []
    for i, path in enumerate(paths):
        signal = load(path)
        rank = modality_of_name(signal.modality).rank
        if rank != len(grid):
            raise ValueError(f"{path} is a signal of {rank} axes, not {len(grid)}")
        sides = signal.values.shape[:rank]
        if any(side < n for side, n in zip(sides, grid, strict=True)):
            raise ValueError(f"{path} is {' x '.join(map(str, sides))}, smaller than a patch")
        share = (i + 1) * patches // len(paths) - i * patches // len(paths)
        cut = (_patch(signal.values, grid, rng) for _ in range(share))
        out.extend(Signal(values, signal.modality, signal.meta) for values in cut)
    return out


def _patch(values, grid, rng):
    """A random patch, with probability 1/3 of twice the size and averaged."""
    large = all(side >= 2 * n for side, n in zip(values.shape, grid, strict=False))
    scale = 2 if rng.random() < 1 / 3 and large else 1
    box = _random_box(values, [scale * n for n in grid], rng)
    if scale == 1:
        return box
    pairs = [n for side in grid for n in (side, scale)]
    cells = box.astype(np.float32).reshape(*pairs, *values.shape[len(grid) :])
    mean = cells.mean(tuple(range(1, 2 * len(grid), 2)))
    # integers stay integers, halves rounded up
    return np.floor(mean + 0.5).astype(values.dtype) if values.dtype.kind in "iu" else mean
