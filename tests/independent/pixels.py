"""What both networks share."""

import numpy as np

from independent.container import File


def corner_product(x: np.ndarray, kernel: np.ndarray, factor: int) -> np.ndarray:
    """``[height, width, n]`` to ``[factor (height - 1), factor (width - 1), m]``."""
    cells = np.concatenate([x[:-1, :-1], x[:-1, 1:], x[1:, :-1], x[1:, 1:]], -1)
    out = (
        (cells @ kernel.astype(float)).reshape(*cells.shape[:2], factor, factor, -1).swapaxes(1, 2)
    )
    return out.reshape(cells.shape[0] * factor, cells.shape[1] * factor, -1)


def image(file: File, values: np.ndarray) -> np.ndarray:
    """Pixels from the values of a network, ``uint8[height, width, 3]``."""
    levels = np.floor(255 * (values.clip(-0.5, 0.5) + 0.5) + 0.5).astype(np.uint8)[
        : file.shape[0], : file.shape[1]
    ]
    if file.gray:
        levels[:] = (levels.sum(-1, keepdims=True, dtype=int) + 1) // 3
    return levels
