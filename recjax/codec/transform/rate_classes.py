"""Frozen (FORMAT.md, transforms): rate classes, by which blocks follow a signal, and their code.

Every cell of one level is labelled by its expected bits, those of all levels below it included. A
label is coded given those of the previous neighbours along every axis (left and above, in an
image): its context is twice their mean, rounded down. The prior holds the frequencies. Integers
alone, so that every decoder finds the same.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Int32

from recjax.bits import stream
from recjax.bits.zipf import PRECISION
from recjax.errors import FormatError

LEAST = 1 << 14
"""The smallest frequency, of 2^24: no class is free, and no file is far smaller than its signal."""


def activity_of(
    bits: Sequence[Float[np.ndarray, "_n *_cells _depth"]], growth: Sequence[int]
) -> Float[np.ndarray, "n *class_cells"]:
    """Bits of KL of every cell of the class level with everything below it.

    Args:
        bits: KL of the latents of all levels up to the class level, lowest first.
        growth: side of a cell in cells of the level below.
    """
    total = np.float32(0)
    for level, x in enumerate(bits):
        total = total + in_cells(x, [g ** (len(bits) - 1 - level) for g in growth]).sum((-2, -1))
    return total


def in_cells(
    x: Float[np.ndarray, "_n *_sides _depth"], side: Sequence[int]
) -> Float[np.ndarray, "n *cells members depth"]:
    """Groups latents by the cell, ``side`` latents along every axis, that they belong to."""
    rank = len(side)
    cells = [n // s for n, s in zip(x.shape[1:-1], side, strict=True)]
    x = x.reshape(len(x), *itertools.chain(*zip(cells, side)), x.shape[-1])
    order = (*range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2))
    return x.transpose(0, *order, 2 * rank + 1).reshape(-1, *cells, math.prod(side), x.shape[-1])


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
    classes: Int[np.ndarray, "*_class_cells"], n_classes: int
) -> Int[np.ndarray, "*class_cells"]:
    """The context of every cell: the classes of its previous neighbours, one along each axis.

    Returns:
        Twice their mean, rounded down, 0 to ``2 n_classes - 2``; of the first cell
        ``n_classes - 1``.

    >>> contexts_of(np.array([[1, 2], [3, 0]]), 4).tolist()
    [[3, 2], [2, 5]]
    """
    total, count = np.zeros_like(classes), np.zeros_like(classes)
    for axis in range(classes.ndim):
        behind = np.moveaxis(total, axis, 0), np.moveaxis(count, axis, 0)
        behind[0][1:] += np.moveaxis(classes, axis, 0)[:-1]
        behind[1][1:] += 1
    return np.where(count > 0, 2 * total // np.maximum(count, 1), n_classes - 1)


def least_bits(cells: int, frequencies: Int32[np.ndarray, "contexts classes"]) -> float:
    """A lower bound, in bits, on the code of ``cells`` classes or symbols."""
    return cells * (PRECISION - math.log2(frequencies.max()))


def class_bits(
    classes: Int[np.ndarray, "*_class_cells"], frequencies: Int32[np.ndarray, "_contexts _classes"]
) -> float:
    """Length of the code of the classes, in bits."""
    used = frequencies[contexts_of(classes, frequencies.shape[1]), classes]
    return float((PRECISION - np.log2(used)).sum())


def put_classes(
    encoder,
    classes: Int[np.ndarray, "*class_cells"],
    frequencies: Int32[np.ndarray, "contexts classes"],
):
    """Encodes the classes in row-major order."""
    models = _models(frequencies)
    contexts = contexts_of(classes, frequencies.shape[1])
    for value, context in zip(classes.ravel().tolist(), contexts.ravel().tolist()):
        encoder.encode(value, models[context])


def take_classes(
    decoder, shape: Sequence[int], frequencies: Int32[np.ndarray, "_contexts _classes"]
) -> Int[np.ndarray, "*class_cells"]:
    """Decodes what `put_classes` encoded.

    Raises:
        FormatError: the stream is damaged.
    """
    models, first = _models(frequencies), frequencies.shape[1] - 1
    # flat lists: indexing NumPy's arrays takes most of the time of a cell
    steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    out: list[int] = []
    try:
        for place in np.ndindex(*shape):
            near = [out[-step] for step, at in zip(steps, place) if at]
            context = 2 * sum(near) // len(near) if near else first
            out.append(int(decoder.decode(models[context])))
    except AssertionError as error:  # the decoder's answer to a point outside every interval
        raise FormatError("the index stream is damaged") from error
    return np.array(out, np.int64).reshape(shape)


def _models(frequencies):
    return [stream.model.Categorical(stream.weights(row), perfect=False) for row in frequencies]
