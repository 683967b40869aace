"""Blocks of a level as chains through a trellis, whose products the signals share."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Float, Int

from recjax.codec.prior import stream_key
from recjax.codec.transform.layout import block_ids, chain_length, samples
from recjax.codec.transform.level_coding import LevelTask
from recjax.codec.transform.prior import UNIT, TransformPrior

_LANES = 64, 128
"""Lanes of products for few chains and for many: from 64 on, results do not depend on them."""
_WIDTHS = 256, 64
"""Fewest columns of a table of candidates: of at most 2^18 of them, and of more."""
_MOST_OF_FIRST = 18
_WIDEST = 1.5
"""Latents of the widest block of a level over those of an average one, about."""
_LEAST_WIDTH = 128
"""Least columns of a batch of chains, which are fewer than those of the table."""
_CHAIN = 16
"""Blocks of the longest chains."""


@runtime_checkable
class ChainCoder(Protocol):
    """A coder of chains of blocks, such as `TrellisCoder`."""

    budget: int
    extra_bits: int
    table: Callable[..., Any]
    encode_chains: Callable[..., Any]
    decode: Callable[..., Any]


@dataclasses.dataclass(eq=False)
class ChainCoding:
    """Codes blocks as chains through a trellis.

    Attributes:
        coder: the coder of chains.
        small: whether signals are small. Then the number of lanes does not depend on the number of
            chains, nor that of columns on their blocks: programs depend on both, files on neither.
    """

    coder: ChainCoder
    small: bool = False
    _table: tuple[bytes, int, jax.Array] | None = None

    def __call__(
        self, prior: TransformPrior, tasks: Sequence[LevelTask]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Indices and samples of the blocks of all signals, whose chains share products."""
        needed = max(int(task.blocks.widths.max(initial=0)) for task in tasks)
        # one table for all levels, if the widest blocks of those below are not wider than expected
        expected = max(_expected_width(prior, task) for task in tasks)
        table = self._table_of(prior, self._width(needed), self._width(max(needed, expected)))
        width = self._width(needed)
        chains = [_chains(task, width) for task in tasks]
        out = [np.zeros(0, np.int32)] * len(tasks)
        for length in sorted({x.widths.shape[1] for x in chains}):
            chosen = [i for i, x in enumerate(chains) if x.widths.shape[1] == length]
            together = Chains(*map(np.concatenate, zip(*(chains[i] for i in chosen), strict=True)))
            index = self._best_paths(table, stream_key(prior), together)
            ends = np.cumsum([len(chains[i].widths) for i in chosen])
            for i, paths in zip(chosen, np.split(index, ends[:-1]), strict=True):
                out[i] = paths.reshape(-1)[: len(tasks[i].blocks.widths)]
        return [
            (index, samples(prior, self.coder, task.level, task.blocks, index))
            for task, index in zip(tasks, out, strict=True)
        ]

    def _width(self, needed):
        """Columns of the table of candidates: few numbers, for each compiles other programs."""
        few = self.coder.budget + self.coder.extra_bits <= _MOST_OF_FIRST
        return _few(_WIDTHS[0] if few else _WIDTHS[1], needed)

    def _table_of(self, prior, needed, expected):
        """The candidates' features, kept until a level needs more columns."""
        if self._table is None or self._table[0] != prior.digest or self._table[1] < needed:
            self._table = None  # first free the memory of the last
            self._table = prior.digest, expected, self.coder.table(stream_key(prior), expected)
        return self._table[2]

    def _best_paths(self, table, key, chains):
        """Index of every block on the best paths through the chains, ``[chains, length]``."""
        # the time of a product is that of its widest block
        order = np.argsort(chains.widths.max(axis=1), kind="stable")
        lanes = _LANES[len(order) > _LANES[0] and not self.small]
        length = chains.widths.shape[1]
        index = np.zeros(chains.widths.shape, np.int32)
        for start in range(0, len(order), lanes):
            chosen = order[start : start + lanes]
            # one program for all lengths and counts: blocks and chains that fill up have no width
            parts = Chains(
                *(_filled(_filled(x[chosen], lanes).swapaxes(0, 1), _CHAIN) for x in chains)
            )
            if not self.small:
                width = min(_doubled(_LEAST_WIDTH, parts.widths.max()), chains.mean.shape[2])
                parts = parts._replace(mean=parts.mean[..., :width], std=parts.std[..., :width])
            paths = self.coder.encode_chains(table, key, *parts, length)
            index[chosen] = np.asarray(paths)[:length].T[: len(chosen)]
        return index


def _expected_width(prior, task):
    """Latents of the widest block of the levels below, about, at their expected rates."""
    widths = [0.0]
    for level in range(task.level):
        counts = np.bincount(task.classes.ravel(), minlength=len(prior.expected[level]))
        coded = counts @ np.count_nonzero(prior.expected[level], axis=1)
        units = counts @ prior.expected[level].sum(1, dtype=np.int64)
        widths.append(_WIDEST * prior.budget * UNIT * coded / max(units, 1))
    return int(max(widths))


def _doubled(least, needed):
    """The first of least, 2 least, 4 least, ... that is at least what is needed."""
    while least < needed:
        least *= 2
    return least


def _few(least, needed):
    """The first of 4/4, 5/4, 6/4, 7/4, 8/4, 10/4, ... times the least size that is enough."""
    step = least // 4
    while 8 * step < needed:
        step *= 2
    return max(least, -(-needed // step) * step)


class Chains(NamedTuple):
    """Chains of blocks, filled up with blocks of no width.

    Attributes:
        ids: numbers of the blocks.
        mean, std: posteriors of their latents.
        widths: latents of every block.
    """

    ids: Int[np.ndarray, "_chains _length 2"]
    mean: Float[np.ndarray, "_chains _length _width"]
    std: Float[np.ndarray, "_chains _length _width"]
    widths: Int[np.ndarray, "_chains _length"]


def _chains(task, width):
    """The chains of one signal."""
    widths = task.blocks.widths.astype(np.int32)
    count = len(widths)
    length = chain_length(count)
    inside = np.arange(width) < widths[:, None]
    mean, std = np.zeros((count, width), np.float32), np.ones((count, width), np.float32)
    mean[inside], std[inside] = task.mean, task.std
    parts = block_ids(task.level, count), mean, std, widths
    filled = (_filled(x, -(-count // length) * length) for x in parts)
    return Chains(*(x.reshape(-1, length, *x.shape[1:]) for x in filled))


def _filled(array, length):
    """The array with zeros up to a length along its first axis."""
    return np.pad(array, [(0, length - len(array)), *[(0, 0)] * (array.ndim - 1)])
