"""Coordinates of a grid and their Fourier features."""

import numpy as np


def pixel_centres(shape: tuple[int, ...]) -> np.ndarray:
    """Centres of the cells of a grid on [-1, 1]^n, ``float32[prod(shape), n]``, last axis fastest.

    >>> pixel_centres((1, 2)).tolist()
    [[0.0, -0.5], [0.0, 0.5]]
    """
    axes = [-1 + 2 * (np.arange(n) + 0.5) / n for n in shape]
    return np.stack([g.reshape(-1) for g in np.meshgrid(*axes, indexing="ij")], axis=-1).astype(
        np.float32
    )


def fourier_features(coordinates: np.ndarray, dim: int, max_frequency: float) -> np.ndarray:
    """cos and sin of pi f x on geometrically spaced frequencies from 1/2 to ``max_frequency`` per axis.

    Args:
      coordinates: ``[n_points, n_axes]``.
      dim: number of features, divisible by ``2 * n_axes``.
      max_frequency: half cycles per unit length; n / 2 is the Nyquist limit of n cells on [-1, 1].

    Returns:
      ``float32[n_points, dim]``.

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
