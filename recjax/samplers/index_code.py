"""The contract of a code for indices."""

import abc
from typing import Any

import numpy as np
from jaxtyping import Array, Float, Int

from recjax.errors import FormatError


class IndexCode(abc.ABC):
    """Code of a coder's indices, made by `Coder.index_code` from what the receiver knows.

    `bits` is the length of one index. `put` and `take` write and read the indices of many samples
    as a part of a range-coded stream, which takes the sum of their lengths.
    """

    @abc.abstractmethod
    def bits(self, key: Any, index: Any) -> Float[Array, ""]:
        """Length of an index in bits; may be traced.

        Raises:
            ValueError: a concrete index is out of range. Traced indices are clamped to the range.
        """

    def settings(self, keys: Any) -> tuple[int, ...]:
        """Numbers below 2^32 that a reader must know as the writer did: the checksum covers them.

        The number of samples, and what else tells the models of one code from those of another.

        Args:
            keys: one key per sample.
        """
        return (len(keys),)

    @abc.abstractmethod
    def put(self, encoder: Any, keys: Any, index: Any) -> None:
        """Encodes the indices of a batch.

        Args:
            encoder: the range encoder, a ``constriction.stream.queue.RangeEncoder``:
                ``encoder.encode(symbols, model)`` appends int32 symbols under a model of
                ``constriction.stream.model``.
            keys: one key per sample.
            index: the indices, with a leading batch axis.

        Raises:
            ValueError: an index is out of range, or the shapes do not fit.
        """

    @abc.abstractmethod
    def take(self, decoder: Any, keys: Any) -> Any:
        """Decodes the indices that `put` encoded, one per key.

        Args:
            decoder: the range decoder, a ``constriction.stream.queue.RangeDecoder``:
                ``decoder.decode(model, n)`` returns the next n symbols.
            keys: one key per sample.

        Raises:
            FormatError: an index is out of range.
            AssertionError: the range decoder is at a point outside every symbol's interval.
        """


def checked_batch(index: Any, count: int, last: Any) -> Int[np.ndarray, "n ..."]:
    """Indices of a batch as int64.

    Args:
        index: the indices, with a leading batch axis.
        count: number of samples.
        last: the largest index, an array of the shape of one index.

    Raises:
        ValueError: the shape is not ``(count, *last.shape)``, the indices are not whole numbers, or
            one is not from 0 to ``last``.
    """
    index, shape = np.asarray(index), (count, *np.shape(last))
    if index.shape != shape or not np.issubdtype(index.dtype, np.integer):
        raise ValueError(
            f"index must hold whole numbers {list(shape)}, one for every key or block, "
            f"got {index.dtype}{list(index.shape)}"
        )
    if np.any(index < 0) or np.any(index > last):
        raise ValueError(f"index must be from 0 to {last}")
    return index.astype(np.int64)


def refuse(bad: Any) -> None:
    """Raises a FormatError if any entry of ``bad`` is true: no encoder has written such indices."""
    if np.any(bad):
        raise FormatError(
            "the string of indices does not fit: it is damaged or has bytes left over, "
            "or the reader's keys, settings, rate or proposal are not the writer's"
        )
