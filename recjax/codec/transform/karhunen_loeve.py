"""Start of a transform: Karhunen-Loeve transforms of blocks, and of blocks of coefficients."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from recjax.codec.transform.architecture import TransformConfig
from recjax.modalities.grid import cut

_BLOCKS_A_SIGNAL = 800


class Basis(NamedTuple):
    """The transform of one level.

    Attributes:
        moments: second moments of its coefficients about 0, largest first.
        blocks: ``[*factors, channels, linear]``, orthonormal.
    """

    moments: Float[np.ndarray, "_linear"]
    blocks: Float[np.ndarray, "*_factors _channels _linear"]


def karhunen_loeve(
    config: TransformConfig,
    signals: Sequence[Float[np.ndarray, "*_sides _channels"]],
    rng: np.random.Generator,
) -> list[Basis]:
    """The bases of all levels, lowest first.

    Args:
        config: architecture.
        signals: values in [-1/2, 1/2]; the sides are at least those of a cell of the top level.
        rng: chooses the blocks.
    """
    # whole cells of the top level
    planes = [x[tuple(slice(n // c * c) for n, c in zip(x.shape, config.cell))] for x in signals]
    out = []
    for factors, linear in zip(config.factors, config.linear, strict=True):
        cells = [[n // f for n, f in zip(plane.shape, factors)] for plane in planes]
        blocks = [cut(plane, factors).reshape(math.prod(n), -1) for n, plane in zip(cells, planes)]
        total, count = 0, 0
        for rows in blocks:
            drawn = rows[rng.permutation(len(rows))[:_BLOCKS_A_SIGNAL]].astype(np.float64)
            total, count = total + drawn.T @ drawn, count + len(drawn)
        values, vectors = np.linalg.eigh(total / count)
        values, vectors = values[::-1][:linear], vectors[:, ::-1][:, :linear].astype(np.float32)
        basis = vectors.reshape(*factors, config.channels, linear)
        out.append(Basis(np.maximum(values, 1e-7), basis))
        first = vectors[:, : config.channels]
        planes = [(rows @ first).reshape(*n, -1) for n, rows in zip(cells, blocks)]
    return out
