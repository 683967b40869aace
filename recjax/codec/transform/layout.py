"""Frozen (FORMAT.md, transforms): latents of every block, their order, and their values.

Every cell of one level of the pyramid has a rate class, which the file says first. For each class
and latent the prior lists the expected KL, as an integer, and the file says for every level how
much more or less it has; so the decoder knows without floating point how many bits are expected
where. The latents of a level, in a random order known to both sides, fill blocks of about
``budget`` bits.
"""

import dataclasses
import functools
import math
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int, UInt16, UInt32

from recjax.codec.prior import stream_key
from recjax.codec.transform.prior import MOST, UNIT, TransformPrior

if TYPE_CHECKING:
    from recjax.blocks.samples import BlockDecoder

# counting blocks needs no JAX, and `recjax info` no more: the functions that need it import it

FACTOR_UNIT = 32
"""Rate factors are in units of 1/32: factor f, 1 to 256, means f/32 times the expected bits."""
_WORDS = 1 << 16
"""Random words per call of the cipher; does not affect their values."""


@dataclasses.dataclass(frozen=True, eq=False)
class Blocks:
    """The blocks of one level of one signal.

    Attributes:
        latents: numbers of the latents in the order of the blocks: row-major cells, then latents of
            a cell.
        widths: number of latents of each block.
    """

    latents: Int[np.ndarray, "_coded"]
    widths: Int[np.ndarray, "_blocks"]

    @functools.cached_property
    def table(self) -> Int[np.ndarray, "blocks width"]:
        """Latents of every block, padded with -1 to the widest."""
        out = np.full((len(self.widths), int(self.widths.max(initial=0))), -1, np.int64)
        out[np.arange(out.shape[1]) < self.widths[:, None]] = self.latents
        return out


def scaled(units: UInt16[np.ndarray, "..."], rate_factor: int) -> UInt16[np.ndarray, "..."]:
    """Units times ``rate_factor / FACTOR_UNIT``, rounded; those with 0 stay 0, the others are at
    least 1.

    >>> scaled(np.array([0, 1, 100, 2000], np.uint16), 64).tolist()
    [0, 2, 200, 2560]
    """
    out = np.clip((units.astype(np.int64) * rate_factor + FACTOR_UNIT // 2) // FACTOR_UNIT, 1, MOST)
    return np.where(units > 0, out, 0).astype(np.uint16)


def count_blocks(units: int, budget: int) -> int:
    """Number of blocks for latents with ``units`` of expected KL together.

    >>> [count_blocks(units, 16) for units in (0, 1, 16 * 256, 40 * 256)]
    [0, 1, 1, 3]
    """
    return max(1, (units + budget * UNIT // 2) // (budget * UNIT)) if units else 0


def allocate(
    units: UInt16[np.ndarray, "*_shape"], words: UInt32[np.ndarray, "_coded"], budget: int
) -> Blocks:
    """Fills blocks with latents.

    Args:
        units: expected KL of every latent; those with 0 are not coded.
        words: random, one for each latent that is coded; ties keep their order.
        budget: bits per block; the total is divided evenly over the nearest number of blocks.

    >>> units = np.array([[256, 0, 512], [512, 256, 512]], np.uint16)
    >>> blocks = allocate(units, np.arange(5, dtype=np.uint32), 4)
    >>> blocks.latents.tolist(), blocks.widths.tolist()
    ([0, 2, 3, 4, 5], [2, 3])
    """
    flat = units.reshape(-1)
    coded = np.flatnonzero(flat)[np.argsort(words, kind="stable")]
    if not len(coded):
        return Blocks(coded, np.zeros(0, np.int64))
    ends = np.cumsum(flat[coded], dtype=np.uint64)
    count = count_blocks(int(ends[-1]), budget)
    # as a fraction: the error of a rounded mean would add up to whole blocks
    number = (ends - (flat[coded] + 1) // 2) * np.uint64(count) // ends[-1]
    return Blocks(coded, np.bincount(number.astype(np.int64), minlength=count))


def level_units(
    prior: TransformPrior, level: int, classes: Int[np.ndarray, "*_class_cells"], rate_factor: int
) -> UInt16[np.ndarray, "*cells depth"]:
    """Expected KL of the latents of one level of a signal, in units."""
    for axis, growth in enumerate(prior.config.factors[1]):
        classes = classes.repeat(growth ** (prior.class_level - level), axis)
    return scaled(prior.expected[level], rate_factor)[classes]


def count_units(
    prior: TransformPrior, level: int, classes: Int[np.ndarray, "*_class_cells"], rate_factor: int
) -> int:
    """The sum of `level_units`, without them."""
    counts = np.bincount(classes.ravel(), minlength=len(prior.expected[level]))
    sums = scaled(prior.expected[level], rate_factor).astype(np.int64).sum(1)
    return prior.config.children ** (prior.class_level - level) * int(counts @ sums)


def blocks_of(
    prior: TransformPrior, level: int, classes: Int[np.ndarray, "*_class_cells"], rate_factor: int
) -> Blocks:
    """The blocks of one level of a signal."""
    units = level_units(prior, level, classes, rate_factor)
    return allocate(units, _words(stream_key(prior), level, np.count_nonzero(units)), prior.budget)


def _words(key, level, count):
    from recjax.codec.transform.words import level_words

    chunks = [
        np.asarray(level_words(key, level, start, _WORDS)) for start in range(0, count, _WORDS)
    ]
    return np.concatenate([*chunks, np.zeros(0, np.uint32)])[:count]


def chain_length(n_blocks: int) -> int:
    """Blocks per chain: long chains are better by a fraction of a bit each, but must fill the lanes
    of a product."""
    return 16 if n_blocks > 512 else 8


def block_ids(level: int, n_blocks: int) -> UInt32[np.ndarray, "blocks 2"]:
    """Numbers that tell the blocks of a signal apart: level and chain, place in the chain."""
    chain, place = np.divmod(
        np.arange(n_blocks, dtype=np.uint32), np.uint32(chain_length(n_blocks))
    )
    return np.stack([np.uint32(level << 24) + chain, place], axis=1)


def samples(
    prior: TransformPrior,
    coder: "BlockDecoder",
    level: int,
    blocks: Blocks,
    index: Int[np.ndarray, "blocks"],
) -> Float[np.ndarray, "coded"]:
    """The decoded values of a level, N(0, 1) under the prior, in the order of its blocks."""
    from recjax.blocks.samples import block_samples

    count, index = len(blocks.widths), index.astype(np.int32)
    # the first block of a chain has no block before it
    previous = np.where(np.arange(count) % chain_length(count), np.roll(index, 1), 0)
    widths = blocks.widths.astype(np.int32)
    return block_samples(coder, stream_key(prior), block_ids(level, count), index, previous, widths)


def latents_of(
    prior: TransformPrior,
    level: int,
    cells: tuple[int, ...],
    blocks: Blocks,
    values: Float[np.ndarray, "coded"],
) -> Float[np.ndarray, "*cells depth"]:
    """The latents of a level with ``cells``; 0 where nothing is coded."""
    from recjax.codec.transform.sinh_prior import stretched

    depth = prior.config.depths[level]
    out, which = np.zeros(math.prod(cells) * depth, np.float32), blocks.latents % depth
    out[blocks.latents] = stretched(values, prior.scales[level][which], prior.tails[level][which])
    return out.reshape(*cells, depth)
