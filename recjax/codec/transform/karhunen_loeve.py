"""Where a transform starts: Karhunen-Loeve transforms of blocks, and of blocks of their first coefficients."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from recjax.codec.transform.network import TransformConfig

_BLOCKS_AN_IMAGE = 800


class Basis(NamedTuple):
    """The transform of one level.

    Attributes:
      moments: second moments of its coefficients about 0, largest first.
      blocks: ``[factor, factor, channels, linear]``, orthonormal.
    """

    moments: Float[np.ndarray, "linear"]
    blocks: Float[np.ndarray, "factor factor channels linear"]


def karhunen_loeve(
    config: TransformConfig, images: Sequence[UInt8[np.ndarray, "h w 3"]], rng: np.random.Generator
) -> list[Basis]:
    """The bases of all levels, lowest first."""
    planes = [_whole(image, config.cell).astype(np.float32) / 255 - 0.5 for image in images]
    out = []
    for factor, linear in zip(config.factors, config.linear, strict=True):
        blocks = [_blocks(plane, factor) for plane in planes]
        total, count = 0, 0
        for own in blocks:
            flat = own.reshape(-1, own.shape[-1])
            some = flat[rng.permutation(len(flat))[:_BLOCKS_AN_IMAGE]].astype(np.float64)
            total, count = total + some.T @ some, count + len(some)
        values, vectors = np.linalg.eigh(total / count)
        values, vectors = values[::-1][:linear], vectors[:, ::-1][:, :linear].astype(np.float32)
        out.append(
            Basis(
                np.maximum(values, 1e-7), vectors.reshape(factor, factor, config.channels, linear)
            )
        )
        planes = [own @ vectors[:, : config.channels] for own in blocks]
    return out


def _whole(image, cell):
    return image[: image.shape[0] // cell * cell, : image.shape[1] // cell * cell]


def _blocks(plane, side):
    rows, columns = plane.shape[0] // side, plane.shape[1] // side
    return plane.reshape(rows, side, columns, side, -1).swapaxes(1, 2).reshape(rows, columns, -1)
