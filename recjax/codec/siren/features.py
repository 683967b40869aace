"""Coordinates of a grid and their Fourier features."""

import numpy as np
from jaxtyping import Float32


def pixel_centres(shape: tuple[int, ...]) -> Float32[np.ndarray, "points axes"]:
    """Centres of the cells of a grid on [-1, 1]^n, last axis fastest.

    >>> pixel_centres((1, 2)).tolist()
    [[0.0, -0.5], [0.0, 0.5]]
    """
    axes = [-1 + 2 * (np.arange(n) + 0.5) / n for n in shape]
    return np.stack([g.reshape(-1) for g in np.meshgrid(*axes, indexing="ij")], axis=-1).astype(
        np.float32
    )


def fourier_features(
    coordinates: Float32[np.ndarray, "points axes"], dim: int, max_frequency: float
) -> Float32[np.ndarray, "points dim"]:
    """cos and sin of pi f x, with frequencies spaced geometrically along every axis.

    Args:
        coordinates: coordinates of the points.
        dim: number of features, divisible by ``2 * n_axes``.
        max_frequency: the highest frequency, in half cycles per unit length; the lowest is 1/2. The
            Nyquist limit of n cells on [-1, 1] is n / 2.

    Raises:
        ValueError: ``dim`` is not a positive multiple of ``2 * n_axes``.
    """
    n_axes = coordinates.shape[-1]
    if dim <= 0 or dim % (2 * n_axes):
        raise ValueError(f"dim must be a positive multiple of {2 * n_axes}, got {dim}")
    frequencies = np.exp(np.linspace(np.log(0.5), np.log(max_frequency), dim // (2 * n_axes)))
    phase = np.pi * coordinates[:, :, None] * frequencies
    return (
        np.concatenate([np.cos(phase), np.sin(phase)], axis=-1)
        .reshape(len(coordinates), dim)
        .astype(np.float32)
    )
