"""Signals between the doors of the codec: arrays of values, cut into patches."""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Shaped


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """A signal as the codec sees it.

    Attributes:
        values: numbers in [-1/2, 1/2], one row of channels per cell.
        mask: False where errors do not count (missing samples); None if they count everywhere.
        flag: one bit of the file's header, whose meaning the modality chooses.
        meta: side information that the modality writes and reads; empty for images.
    """

    values: Float32[np.ndarray, "*sides channels"]
    mask: Bool[np.ndarray, "*sides"] | None = None
    flag: bool = False
    meta: bytes = b""

    @property
    def sides(self) -> tuple[int, ...]:
        """Cells along every axis."""
        return self.values.shape[:-1]


def divided(grid: Grid, cells: int) -> list[Grid]:
    """Divides a signal along the first axis into segments, of which the last may be shorter.

    Args:
        grid: the signal.
        cells: cells of a segment along the first axis; 0: the signal is one segment.
    """
    if not cells or grid.sides[0] <= cells:
        return [grid]
    places = [slice(start, start + cells) for start in range(0, grid.sides[0], cells)]
    return [
        dataclasses.replace(
            grid,
            values=grid.values[place],
            mask=None if grid.mask is None else grid.mask[place],
        )
        for place in places
    ]


def n_patches(sides: Sequence[int], patch: Sequence[int]) -> tuple[int, ...]:
    """Patches along every axis; the last ones may stick out.

    >>> n_patches((33, 64), (32, 32))
    (2, 2)
    """
    return tuple(-(-side // n) for side, n in zip(sides, patch, strict=True))


def filled_up(
    values: Shaped[np.ndarray, "*sides channels"], patch: Sequence[int]
) -> Shaped[np.ndarray, "*padded_sides channels"]:
    """Continues the values at the far edges to whole patches.

    >>> filled_up(np.arange(3)[:, None], (2,)).ravel().tolist()
    [0, 1, 2, 2]
    """
    sides = values.shape[:-1]
    counts = n_patches(sides, patch)
    padding = [(0, n * p - side) for side, n, p in zip(sides, counts, patch, strict=True)]
    # edge values rather than zeros: a network spends bits on every step that it sees
    return np.pad(values, [*padding, (0, 0)], mode="edge")


def weights_of(grid: Grid, patch: Sequence[int]) -> Float32[np.ndarray, "*padded_sides"]:
    """Weights of the errors in whole patches: 0 beyond the edge or where masked, else 1."""
    counts = n_patches(grid.sides, patch)
    inside = np.ones(grid.sides, np.float32) if grid.mask is None else grid.mask.astype(np.float32)
    padding = [(0, n * p - side) for side, n, p in zip(grid.sides, counts, patch, strict=True)]
    return np.pad(inside, padding)


def cut(
    array: Shaped[np.ndarray, "*sides_and_rest"], patch: Sequence[int]
) -> Shaped[np.ndarray, "patches *patch_and_rest"]:
    """Cuts an array of whole patches along its leading axes; patches in row-major order.

    >>> cut(np.arange(8).reshape(2, 4), (2, 2)).tolist()
    [[[0, 1], [4, 5]], [[2, 3], [6, 7]]]
    """
    rank = len(patch)
    counts = [side // n for side, n in zip(array.shape, patch)]
    rest = array.shape[rank:]
    split = array.reshape(*itertools.chain(*zip(counts, patch)), *rest)
    order = (*range(0, 2 * rank, 2), *range(1, 2 * rank, 2), *range(2 * rank, split.ndim))
    return split.transpose(order).reshape(math.prod(counts), *patch, *rest)


def join(
    patches: Shaped[np.ndarray, "patches *patch_and_rest"],
    sides: Sequence[int],
    patch: Sequence[int],
) -> Shaped[np.ndarray, "*sides_and_rest"]:
    """Puts together what `cut` cut, and cuts off what sticks out beyond ``sides``.

    >>> image = np.arange(70 * 40 * 3).reshape(70, 40, 3)
    >>> bool((join(cut(filled_up(image, (32, 32)), (32, 32)), (70, 40), (32, 32)) == image).all())
    True
    """
    rank, counts = len(patch), n_patches(sides, patch)
    rest = patches.shape[1 + rank :]
    split = patches.reshape(*counts, *patch, *rest)
    order = [axis for k in range(rank) for axis in (k, rank + k)]
    merged = split.transpose(*order, *range(2 * rank, split.ndim))
    padded = merged.reshape(*(n * p for n, p in zip(counts, patch, strict=True)), *rest)
    return padded[tuple(slice(side) for side in sides)]
