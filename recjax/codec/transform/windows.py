"""Windows of arrays along any number of axes: programs of few shapes for signals of any size."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Shaped


def window(
    array: Shaped[np.ndarray, "*sides rest"],
    starts: Sequence[int],
    sides: Sequence[int],
    mode: Literal["constant", "edge"] = "constant",
) -> Shaped[np.ndarray, "*window_sides rest"]:
    """The part of an array from ``starts`` on with ``sides`` along its leading axes.

    Beyond the array it is 0, or continues the values at the edges.

    >>> window(np.arange(1, 4)[:, None], [-1], [3]).ravel().tolist()
    [0, 1, 2]
    >>> window(np.arange(1, 4)[:, None], [2], [3], "edge").ravel().tolist()
    [3, 3, 3]
    """
    if mode == "edge":
        for axis, (start, side) in enumerate(zip(starts, sides, strict=True)):
            places = np.clip(np.arange(start, start + side), 0, array.shape[axis] - 1)
            array = array.take(places, axis)
        return array
    inside, padding = [], []
    for start, side, length in zip(starts, sides, array.shape):
        first = max(start, 0)
        n = max(min(start + side, length) - first, 0)
        before = min(first - start, side)
        inside.append(slice(first, first + n))
        padding.append((before, side - before - n))
    padding += [(0, 0)] * (array.ndim - len(inside))
    return np.pad(array[tuple(inside)], padding)


def tile_starts(sides: Sequence[int], tile: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Places of the tiles that cover an array, in row-major order."""
    return itertools.product(*(range(0, n, t) for n, t in zip(sides, tile, strict=True)))


def put(
    array: Shaped[np.ndarray, "*sides rest"],
    starts: Sequence[int],
    part: Shaped[np.ndarray, "*part_sides rest"],
) -> None:
    """Writes the part into the array from ``starts`` on; drops values beyond the array."""
    place = array[tuple(slice(start, start + n) for start, n in zip(starts, part.shape))]
    place[...] = part[tuple(map(slice, place.shape))]
