"""Stages in which coefficients are coded, and what each sees. Frozen: FORMAT.md, section Staged
coefficients.

Frames come in levels: every 16th first, then those halfway between, and so on; the bins of a level
come in four sets. A stage sees the activities of decoded coefficients near its own, on both sides
in time and, but for the first set, in frequency, and of the spectrum so far.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

SPACING = 16, 8, 4, 2, 1
"""Distance of the frames of a level from those decoded before it."""
SMALLEST = 256
"""Bins of the smallest cells; larger ones have this times a power of two."""
NEAR = 8
"""Bins beyond the edges, which are 0."""
_BINS = (0, 2, 1, 3)  # first bin of each set, of every fourth
_SAME = {
    0: (),
    2: (-2, 2, -6, 6),
    1: (-1, 1, -3, 3, -5, 5, -7, 7),
    3: (-1, 1, -2, 2, -3, 3, -5, 5),
}
_OTHER = ((-1, 4), (1, 4), (-3, 1), (3, 1))  # frames, in spacings, and the farthest bin
_ROUND = 3 * SPACING[1]


class Stage(NamedTuple):
    """A part of the coefficients.

    Attributes:
        first: its first frame.
        step: distance of its frames.
        bin: its first bin, of every fourth.
        near: frame and bin offsets of decoded coefficients.
        before: levels decoded before it.
    """

    first: int
    step: int
    bin: int
    near: tuple[tuple[int, int], ...]
    before: int

    def place(self) -> tuple[slice, slice, slice]:
        """Its coefficients, in an array of channels, frames and bins."""
        return slice(None), slice(self.first, None, self.step), slice(self.bin, None, 4)

    @property
    def inputs(self) -> int:
        """Number of features."""
        return len(self.near) + (3 if self.before else 0) + 1


def _stages():
    for level, spacing in enumerate(SPACING):
        first, step = (0, spacing) if level == 0 else (spacing, 2 * spacing)
        other = [
            (spacings * spacing, offset)
            for spacings, most in _OTHER
            for offset in range(-most, most + 1)
        ]
        for start in _BINS:
            near = [*(other if level else ()), *((0, offset) for offset in _SAME[start])]
            yield Stage(first, step, start, tuple(near), level)


STAGES = tuple(_stages())
"""All stages, in the order in which they are coded."""


def features(stage: Stage, activity: Any, loudness: Any, xp: Any = np) -> Any:
    """What a stage sees of every coefficient.

    Args:
        stage: the stage.
        activity: activities of coefficients, 0 where they are not decoded yet: an array of
            channels, frames and bins.
        loudness: loudness of every channel.
        xp: NumPy, or what computes like it.

    Returns:
        Features, an array of channels, frames and bins of the stage, and features.
    """
    channels, frames, bins = activity.shape
    padded = xp.pad(activity, ((0, 0), (_ROUND, _ROUND), (NEAR, NEAR)))
    count = len(range(stage.first, frames, stage.step))
    columns = []
    for frame, offset in stage.near:
        start = _ROUND + stage.first + frame
        rows = slice(start, start + (count - 1) * stage.step + 1, stage.step)
        start = NEAR + stage.bin + offset
        columns.append(padded[:, rows, start : start + bins - 3 : 4])
    shape = (channels, count, bins // 4)
    if stage.before:
        # frames of all levels before: every one at a multiple of the last spacing
        seen = activity[:, :: SPACING[stage.before - 1]]
        spectrum = xp.pad(seen.sum(1) // seen.shape[1], ((0, 0), (1, 1)))
        for offset in (0, 1, 2):
            start = stage.bin + offset
            columns.append(xp.broadcast_to(spectrum[:, None, start : start + bins - 3 : 4], shape))
    columns.append(xp.broadcast_to(xp.asarray(loudness)[:, None, None], shape))
    return xp.stack(columns, -1)


def rows_of_bins(bins: int) -> Int[np.ndarray, "quarter"]:
    """The row of a stage's table of bins, for each of its bins."""
    return np.arange(bins // 4) * SMALLEST // bins
