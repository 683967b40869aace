"""Modified discrete cosine transform. Frozen: FORMAT.md, section Staged coefficients.

Frames of 2 N values overlap by half; each has N coefficients. With a sine window the transform is
orthonormal: aliases of neighbouring frames cancel (Princen and Bradley, *Analysis/synthesis filter
bank design based on time domain aliasing cancellation*, 1986).
"""

import functools

import numpy as np
from jaxtyping import Float

_FRAMES = 4096  # per product


def n_frames(values: int, cell: int) -> int:
    """Number of frames of a signal, whose first and last one reach beyond its ends.

    >>> n_frames(1, 256), n_frames(256, 256), n_frames(257, 256)
    (2, 2, 3)
    """
    return -(-values // cell) + 1


@functools.lru_cache(maxsize=8)
def _basis(cell: int) -> Float[np.ndarray, "cell window"]:
    n, k = np.arange(2 * cell), np.arange(cell)[:, None]
    window = np.sin(np.pi * (n + 0.5) / (2 * cell))
    phase = np.pi / cell * (n + 0.5 + cell / 2) * (k + 0.5)
    return (np.sqrt(2 / cell) * np.cos(phase) * window).astype(np.float32)


def coefficients(
    values: Float[np.ndarray, "channels T"], cell: int
) -> Float[np.ndarray, "channels frames cell"]:
    """Coefficients of a signal, which is 0 beyond its ends."""
    channels, length = values.shape
    frames = n_frames(length, cell)
    padded = np.zeros((channels, (frames + 1) * cell), np.float32)
    padded[:, cell : cell + length] = values
    halves = padded.reshape(channels, frames + 1, cell)
    out = np.empty((channels, frames, cell), np.float32)
    basis = _basis(cell)
    for start in range(0, frames, _FRAMES):
        place = slice(start, start + _FRAMES)
        both = np.concatenate([halves[:, :-1][:, place], halves[:, 1:][:, place]], axis=2)
        out[:, place] = both @ basis.T
    return out


def values(
    coefficients: Float[np.ndarray, "channels frames cell"], length: int
) -> Float[np.ndarray, "channels length"]:
    """The signal of coefficients."""
    channels, frames, cell = coefficients.shape
    halves = np.zeros((channels, frames + 1, cell), np.float32)
    basis = _basis(cell)
    for start in range(0, frames, _FRAMES):
        both = coefficients[:, start : start + _FRAMES] @ basis
        end = start + both.shape[1]
        halves[:, start:end] += both[..., :cell]
        halves[:, start + 1 : end + 1] += both[..., cell:]
    return halves.reshape(channels, -1)[:, cell : cell + length]
