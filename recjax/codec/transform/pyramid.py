"""Images as pyramids of latents: which are coded, their samples, and their pixels."""

import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt16

from recjax import randomness
from recjax.blocks.samples import block_samples
from recjax.blocks.trellis import TrellisCoder
from recjax.codec.prior import stream_key
from recjax.codec.transform.allocation import Blocks, allocate, scaled
from recjax.codec.transform.network import Context, bordered
from recjax.codec.transform.prior import TransformPrior
from recjax.codec.transform.sinh_prior import stretched

_WORDS = 1 << 16
_WIDTH_STEP = 64
_TILE_PIXELS = 256  # a side


def level_units(
    prior: TransformPrior, level: int, classes: Int[np.ndarray, "rows columns"], factor: int
) -> UInt16[np.ndarray, "height width depth"]:
    """Expected KL of the latents of one level of an image, in units."""
    side = 1 << (prior.class_level - level)
    return scaled(prior.expected[level], factor)[classes.repeat(side, 0).repeat(side, 1)]


def count_units(
    prior: TransformPrior, level: int, classes: Int[np.ndarray, "rows columns"], factor: int
) -> int:
    """The sum of `level_units`, without them."""
    counts = np.bincount(classes.ravel(), minlength=len(prior.expected[level]))
    sums = scaled(prior.expected[level], factor).astype(np.int64).sum(1)
    return 4 ** (prior.class_level - level) * int(counts @ sums)


def blocks_of(
    prior: TransformPrior, level: int, classes: Int[np.ndarray, "rows columns"], factor: int
) -> Blocks:
    """The blocks of one level of an image."""
    units = level_units(prior, level, classes, factor)
    return allocate(units, _words(stream_key(prior), level, np.count_nonzero(units)), prior.budget)


def _words(key, level, count):
    chunks = [np.asarray(_chunk(key, level, start)) for start in range(0, count, _WORDS)]
    return np.concatenate([*chunks, np.zeros(0, np.uint32)])[:count]


@jax.jit
def _chunk(key, level, start):
    words = randomness.stream_key(key, randomness.Stream.BRANCH, level)
    numbers = jnp.uint32(start) + jnp.arange(_WORDS, dtype=jnp.uint32)
    return randomness.threefry2x32(words, jnp.uint32(0), numbers)[0]


def table_width(blocks: Sequence[Blocks]) -> int:
    """Columns of the candidates of these blocks: a multiple, so that few are compiled."""
    return (
        -(-max([1, *(int(own.widths.max(initial=0)) for own in blocks)]) // _WIDTH_STEP)
        * _WIDTH_STEP
    )


def chain_length(n_blocks: int) -> int:
    """Blocks of a chain: long ones are better by a fraction of a bit a chain, but must fill the lanes of a product."""
    return 16 if n_blocks > 512 else 8


def block_ids(level: int, n_blocks: int) -> np.ndarray:
    """What tells the blocks of an image apart: level and chain, place in the chain. ``uint32[blocks, 2]``."""
    chain, place = np.divmod(
        np.arange(n_blocks, dtype=np.uint32), np.uint32(chain_length(n_blocks))
    )
    return np.stack([np.uint32(level << 24) + chain, place], axis=1)


def samples(
    prior: TransformPrior,
    coder: TrellisCoder,
    level: int,
    blocks: Blocks,
    index: Int[np.ndarray, "blocks"],
) -> Float[np.ndarray, "coded"]:
    """What is coded of a level, N(0, 1) under the prior, in the order of its blocks."""
    count, index = len(blocks.widths), index.astype(np.int32)
    previous = np.where(np.arange(count) % chain_length(count), np.roll(index, 1), 0)
    widths = blocks.widths.astype(np.int32)
    return block_samples(coder, stream_key(prior), block_ids(level, count), index, previous, widths)


def grid_of(
    prior: TransformPrior,
    level: int,
    shape: tuple[int, int],
    blocks: Blocks,
    values: Float[np.ndarray, "coded"],
) -> Float[np.ndarray, "height width depth"]:
    """The latents of a level of an image of so many cells, 0 where nothing is coded."""
    depth = prior.config.depths[level]
    out, which = np.zeros(shape[0] * shape[1] * depth, np.float32), blocks.latents % depth
    out[blocks.latents] = stretched(values, prior.scales[level][which], prior.tails[level][which])
    return out.reshape(*shape, depth)


def values_of(
    prior: TransformPrior,
    grids: Sequence[Float[np.ndarray, "height width depth"]],
    sides: Sequence[int],
) -> Float[np.ndarray, "height width channels"]:
    """Values of the signal of these sides with these latents, lowest level first; tile by tile.

    A cell needs only those next to it and what is above these. So there are two programs: for an image of one cell
    of the top level, and for a tile of more; tiles are filled up with cells beyond the edge, which hold nothing.
    """
    cell, (rows, columns) = prior.config.cell, grids[-1].shape[:2]
    tile = 1 if rows == columns == 1 else max(_TILE_PIXELS // cell, 2)
    out = np.empty((rows * cell, columns * cell, prior.config.channels), np.float32)
    for row, column in itertools.product(range(0, rows, tile), range(0, columns, tile)):
        per_cell = [1 << level for level in reversed(range(len(grids)))]
        parts = [
            _window(grid, row * side, column * side, tile * side)
            for grid, side in zip(grids, per_cell, strict=True)
        ]
        there = out[row * cell :, column * cell :][: tile * cell, : tile * cell]
        values = np.asarray(_decoded(prior.network, tuple(parts)))
        there[:] = values[0, : there.shape[0], : there.shape[1]]
    return out[: sides[0], : sides[1]]


def _window(grid, row, column, side):
    """The square of cells from this row and column on, and those next to it, 0 beyond the edges."""
    part = grid[max(row - 1, 0) : row + side + 1, max(column - 1, 0) : column + side + 1]
    before = int(row == 0), int(column == 0)
    after = (side + 2 - first - n for first, n in zip(before, part.shape, strict=False))
    return np.pad(part, [*zip(before, after, strict=True), (0, 0)])[None]


@jax.jit
def _decoded(network, latents):
    return network.module().decode(latents)


@functools.partial(jax.jit, static_argnames="level")
def next_context(
    network, level: int, context: Context, latents: Float[Array, "n height width depth"]
) -> Context:
    """The context of a level, from that of the level above and its latents."""
    coefficients = context.coefficients(bordered(latents))
    return network.module().context(level, context, coefficients)
