"""How much there is to say of an image's cells, and their classes by that in the index stream.

A class is coded given those of the cells to the left and above: by the sum of the two, or twice the one there is. The
prior holds the frequencies. Integers alone, so that every decoder finds the same.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int32

from recjax.bits import stream
from recjax.bits.zipf import PRECISION
from recjax.codec.transform.sinh_prior import kl_bits, posterior_of_u
from recjax.errors import FormatError

LEAST = 1 << 14
"""The smallest frequency, of 2^24: no class is free, and no file is far smaller than its image."""


def activity_of(
    posteriors: Sequence[tuple[Array, Array]],
    scales: Sequence[Array],
    tails: Sequence[Array],
    level: int,
) -> Float[Array, "n rows columns"]:
    """Bits of KL of every cell of one level with what is below it.

    Args:
        posteriors: mean and log standard deviation of the latents of all levels, ``[n, height, width, depth]``.
        scales, tails: of the prior.
        level: of the cells.
    """
    total = jnp.float32(0)
    for own in range(level + 1):
        scale, tail = (jnp.asarray(x[own])[None, None, None] for x in (scales, tails))
        total = total + in_cells(
            kl_bits(*posterior_of_u(*posteriors[own], scale, tail)), level - own
        ).sum((3, 4))
    return total


def in_cells(
    x: Float[Array, "n height width depth"], levels: int
) -> Float[Array, "n rows columns members depth"]:
    """Sorted by cells so many levels above."""
    n, height, width, depth = x.shape
    side = 1 << levels
    cells = x.reshape(n, height // side, side, width // side, side, depth).swapaxes(2, 3)
    return cells.reshape(n, height // side, width // side, side * side, depth)


def class_frequencies(
    counts: Float[np.ndarray, "contexts classes"],
) -> Int32[np.ndarray, "contexts classes"]:
    """Frequencies in proportion to counts, at least ``LEAST`` each, which sum to 2^24.

    >>> class_frequencies(np.array([[3.0, 1.0, 0.0]])).tolist()
    [[12562432, 4198400, 16384]]
    """
    n = counts.shape[1]
    shares = (counts + 1e-9) / (counts + 1e-9).sum(1, keepdims=True)
    out = LEAST + np.floor(shares * ((1 << PRECISION) - n * LEAST)).astype(np.int32)
    out[np.arange(len(out)), out.argmax(1)] += (1 << PRECISION) - out.sum(1)
    return out


def contexts_of(
    classes: Int[np.ndarray, "rows columns"], n_classes: int
) -> Int[np.ndarray, "rows columns"]:
    """The context of every cell.

    >>> contexts_of(np.array([[1, 2], [3, 0]]), 4).tolist()
    [[3, 2], [2, 5]]
    """
    above = np.concatenate([classes[:1] * 0 - 1, classes[:-1]])
    left = np.concatenate([classes[:, :1] * 0 - 1, classes[:, :-1]], axis=1)
    both = np.where(left < 0, 2 * above, np.where(above < 0, 2 * left, left + above))
    return np.where((left < 0) & (above < 0), n_classes - 1, both)


def least_bits(cells: int, frequencies: Int32[np.ndarray, "contexts classes"]) -> float:
    """No classes (or numbers) of so many cells have a shorter code."""
    return cells * (PRECISION - math.log2(frequencies.max()))


def class_bits(
    classes: Int[np.ndarray, "rows columns"], frequencies: Int32[np.ndarray, "contexts classes"]
) -> float:
    """Length of the code of the classes, in bits."""
    used = frequencies[contexts_of(classes, frequencies.shape[1]), classes]
    return float((PRECISION - np.log2(used)).sum())


def put_classes(
    encoder,
    classes: Int[np.ndarray, "rows columns"],
    frequencies: Int32[np.ndarray, "contexts classes"],
):
    """Encodes the classes, row by row."""
    models = _models(frequencies)
    contexts = contexts_of(classes, frequencies.shape[1])
    for value, context in zip(classes.ravel().tolist(), contexts.ravel().tolist()):
        encoder.encode(value, models[context])


def take_classes(
    decoder, rows: int, columns: int, frequencies: Int32[np.ndarray, "contexts classes"]
):
    """Decodes what `put_classes` encoded, ``int64[rows, columns]``.

    Raises:
        FormatError: the stream is damaged.
    """
    models, first = _models(frequencies), frequencies.shape[1] - 1
    out = [[0] * columns for _ in range(rows)]
    try:
        for y, row in enumerate(out):
            for x in range(columns):
                near = [out[y][x - 1]] * (x > 0) + [out[y - 1][x]] * (y > 0)
                context = 2 * sum(near) // len(near) if near else first
                row[x] = int(decoder.decode(models[context]))
    except (
        AssertionError
    ) as error:  # what the decoder raises for a point outside every symbol's interval
        raise FormatError("the index stream is damaged") from error
    return np.array(out, np.int64)


def _models(frequencies):
    return [stream.model.Categorical(stream.weights(row), perfect=False) for row in frequencies]
