"""Coders of the blocks of a transform's levels, for comparison: what they choose, and what their indices cost."""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from experiments.coding_gap import SingleBlocks
from experiments.partitioned_blocks import PartitionedBlocks
from recjax.bits.zipf import best_exponent, codelength_bits
from recjax.blocks.ordered_random import BlockCoder
from recjax.blocks.trellis import TrellisCoder
from recjax.codec.prior import stream_key
from recjax.codec.transform.chain_coding import ChainCoding
from recjax.codec.transform.layout import block_ids, level_units
from recjax.codec.transform.level_coding import LevelTask
from recjax.codec.transform.prior import UNIT, TransformPrior

_REST = 32  # the table's columns are a multiple, so that few programs are compiled
_TABLE_BYTES = 1 << 31


class LevelCoder(Protocol):
    """Blocks of some bits of KL.

    Attributes:
        budget: bits of a block.
    """

    @property
    def budget(self) -> int: ...

    def code(
        self, prior: TransformPrior, tasks: Sequence[LevelTask]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Indices of the blocks of every image, a row each, and the samples that a receiver has of them."""
        ...

    def bits(self, indices: np.ndarray) -> float:
        """Length of the code of all indices of an image, whose receiver knows the prior, classes and factors."""
        ...


@dataclasses.dataclass(frozen=True)
class Chains:
    """The trellis: it has no preference for small indices."""

    coder: TrellisCoder

    @property
    def budget(self) -> int:
        return self.coder.budget

    def code(self, prior, tasks):
        return ChainCoding(self.coder)(prior, tasks)

    def bits(self, indices):
        return float(self.budget * len(indices))


@dataclasses.dataclass(frozen=True)
class Lone:
    """Blocks that know nothing of each other.

    Attributes:
        coder: of the blocks.
        zipf: whether indices are in the truncated Zipf code with an image's best exponent, or of equal length, as those
            of COMBINER and RECOMBINER.
    """

    coder: SingleBlocks
    zipf: bool = True

    @property
    def budget(self) -> int:
        return self.coder.budget

    @property
    def extra_bits(self) -> int:
        return self.coder.extra_bits

    def code(self, prior, tasks):
        # small: chains as wide as the table
        return ChainCoding(self, small=True)(prior, tasks)

    def bits(self, indices):
        sizes = np.full(len(indices), self.coder.budget + self.coder.extra_bits)
        return float(
            codelength_bits(indices, sizes, best_exponent(indices, sizes)).sum()
            if self.zipf
            else sizes.sum()
        )

    def table(self, key, d):
        return self.coder.table(key, d)

    def encode_chains(self, table, key, ids, mu, sigma, width, length):
        def one(_, block):
            return None, BlockCoder.encode(self.coder, table, key, *block)[0]

        return jax.lax.scan(one, None, tuple(map(jnp.asarray, (ids, mu, sigma, width))))[1]

    def decode(self, key, ids, index, previous, width, d):
        return self.coder.decode(key, ids, index, width, d)


@dataclasses.dataclass(frozen=True)
class Partitioned:
    """Blocks whose latents are cut by the KL that the prior's table, the class and the level's factor let expect.

    Their indices are bin, rank, and log2 of the number of bins, which is no part of the message. Blocks so wide that
    their table would exceed 2 GiB are a ValueError.
    """

    budget: int
    coder: PartitionedBlocks

    def code(self, prior, tasks):
        return [self._code_image(prior, task) for task in tasks]

    def _code_image(self, prior, task: LevelTask):
        level, blocks = task.level, task.blocks
        count, widths = len(blocks.widths), blocks.widths.astype(np.int32)
        if not count:
            return np.zeros((0, 3), np.int64), np.zeros(0, np.float32)
        inside = np.arange(widths.max()) < widths[:, None]
        units, mean, std = (
            np.full(inside.shape, -1.0),
            np.zeros(inside.shape),
            np.ones(inside.shape),
        )
        expected = level_units(prior, level, task.classes, task.rate_factor)
        units[inside] = expected.reshape(-1)[blocks.latents]
        mean[inside], std[inside] = task.mean, task.std
        order = np.argsort(-units, axis=1, kind="stable")
        units, mean, std = (np.take_along_axis(x, order, axis=1) for x in (units, mean, std))
        bits = self.coder.allot(np.maximum(units, 0) / UNIT)
        rest = -(-max(1, inside.shape[1] - bits.shape[1]) // _REST) * _REST
        if 8 * rest << self.coder.search_bits > _TABLE_BYTES:
            raise ValueError(
                f"a block of {inside.shape[1]} latents needs a table of more than 2 GiB: search fewer bits"
            )
        key, ids = stream_key(prior), block_ids(level, count)
        table = self.coder.table(key, rest)
        number, rank = self.coder.encode(table, key, ids, mean, std, widths, bits)
        decoded = self.coder.decode(key, ids, number, rank, widths, bits, rest)[
            :, : inside.shape[1]
        ]
        values = np.zeros(inside.shape, np.float32)
        np.put_along_axis(values, order, decoded, axis=1)
        return np.stack([number, rank, bits.sum(axis=1)], axis=1), values[inside]

    def bits(self, indices):
        return self.coder.codelength(indices[:, 2], indices[:, 1])
