"""Scores of the rows of the table for blocks of a vector. Free to change.

The log-ratio of a row is linear in its numbers z and their squares. The scores of all rows and
blocks are one matrix product, plus another for the squares if the target's variance is not that of
the proposal. It is computed for one tile of rows at a time, slab by slab of columns, so that
neither the table nor the scores of all rows are stored.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, UInt32

from recjax.blocks import vector_layout
from recjax.blocks.vector_layout import Layout
from recjax.randomness import SharedKey
from recjax.words import Word

_ROWS = 2048  # most rows per tile
_COLUMNS = 512  # most columns per slab
_SCORES = 1 << 24  # most scores per tile
# Rounding moves a score by about 2^-24 of its largest term: 0.02 nats at this limit.
_LARGEST_TERM = 2.0**18


class Shape(NamedTuple):
    """Static sizes of a search, of which there are few.

    Attributes:
        blocks: number of blocks, rounded up.
        lanes: blocks per product.
        rows: rows per tile.
        columns: columns per slab.
        slabs: most slabs.
    """

    blocks: int
    lanes: int
    rows: int
    columns: int
    slabs: int


def shape_of(layout: Layout, d: int, most_lanes: int = 1 << 32) -> Shape:
    """The sizes of the search in a vector of ``d`` coordinates.

    >>> shape_of(Layout(5, 14, 200, None), 1000)
    Shape(blocks=8, lanes=8, rows=2048, columns=256, slabs=1)
    """
    blocks = _few_sizes(layout.blocks)
    # the widest block of a layout that is rounded up to as many
    widest = layout.columns
    if layout.starts is None:
        widest = max(widest, -(-d // (blocks // 2 + 1)))
    columns = min(_COLUMNS, _power_of_two(widest))
    lanes = min(blocks, most_lanes)
    rows = min(_ROWS, 1 << layout.log2_candidates, _power_of_two(_SCORES // lanes + 1) // 2)
    return Shape(blocks, lanes, rows, columns, -(-widest // columns))


def _few_sizes(n: int) -> int:
    """The next power of two; from 256 on, also three quarters of it.

    >>> [_few_sizes(n) for n in (1, 3, 5, 260)]
    [1, 4, 8, 384]
    """
    power = _power_of_two(n)
    return 3 * power // 4 if power > 256 and n <= 3 * power // 4 else power


def _power_of_two(n: int) -> int:
    """The next power of two."""
    return 1 << (n - 1).bit_length()


class Search(NamedTuple):
    """The parts of a search that its blocks have in common.

    Attributes:
        key: the shared key.
        call: key of the call.
        layout: the layout.
        mean: means of the target relative to N(0, 1).
        std: standard deviations of the target.
        table: the first columns of all rows, or None: what is missing is drawn anew.
        shape: sizes of the search.
    """

    key: SharedKey
    call: Word
    layout: Layout
    mean: Float[Array, "d"]
    std: Float[Array, "d"]
    table: Float[Array, "N columns"] | None
    shape: Shape

    @property
    def tiles(self) -> Int[Array, ""]:
        """Number of tiles of rows."""
        return (jnp.int32(1) << self.layout.log2_candidates) // self.shape.rows

    @property
    def slabs(self) -> Int[Array, ""]:
        """Number of slabs that blocks have columns in."""
        return (self.layout.columns + self.shape.columns - 1) // self.shape.columns

    def log_ratios(self, block: UInt32[Array, "lanes"]) -> "LogRatios":
        """The log-ratios of rows, up to a constant per block, for any number of blocks."""
        m, s = self._arranged(block)
        precision = 1 / (s * s)
        slabs = (-1, self.shape.columns, block.size)
        return LogRatios(
            self,
            (m * precision).reshape(slabs),
            (0.5 - 0.5 * precision).reshape(slabs),
            jnp.any(self.std != 1),
            jnp.sum((m / s) ** 2, axis=0) > _LARGEST_TERM,
        )

    def exact_log_ratios(self, block: UInt32[Array, "1"]) -> "ExactLogRatios":
        """The log-ratios of rows for one block, to full precision and slowly."""
        return ExactLogRatios(self, *self._arranged(block))

    def over_slabs(self, count: int, add) -> Float[Array, "rows lanes"]:
        """Adds up scores of a tile of rows over slabs of columns."""
        start = jnp.zeros((self.shape.rows, count), self.mean.dtype)
        return lax.fori_loop(0, self.slabs, add, start)

    def rows(self, tile: Int[Array, ""], slab: Int[Array, ""]) -> Float[Array, "rows columns"]:
        """A tile of rows and slab of columns of the table."""
        shape, table, start = self.shape, self.table, slab * self.shape.columns

        def drawn():
            row = tile * shape.rows + jnp.arange(shape.rows, dtype=jnp.int32)
            row = row.astype(jnp.uint32)
            return vector_layout.table_rows(self.key, row, start, shape.columns, self.mean.dtype)

        if table is None or table.shape[1] < shape.columns:
            return drawn()
        corner = (tile * shape.rows, start)
        return lax.cond(
            start + shape.columns <= table.shape[1],
            lambda: lax.dynamic_slice(table, corner, (shape.rows, shape.columns)),
            drawn,
        )

    def _arranged(
        self, block: UInt32[Array, "lanes"]
    ) -> tuple[Float[Array, "wide lanes"], Float[Array, "wide lanes"]]:
        """Means and standard deviations of blocks in the order and with the signs of the columns.

        Columns that a block does not read have those of the proposal: their coefficients are 0.
        """
        column = jnp.arange(self.shape.slabs * self.shape.columns, dtype=jnp.uint32)[:, None]
        first, _ = vector_layout.heads(self.call, self.layout, block)
        columns = jnp.uint32(self.layout.columns)
        place = (column + (columns - first)[None]) % columns
        coordinate, exists = vector_layout.coordinates(
            self.call, self.layout, block, place, self.mean.size
        )
        exists &= column < columns
        negative = self._negative(block, place)
        # places without a coordinate read the last one, and drop it
        m, s = (x.at[coordinate].get(mode="clip") for x in (self.mean, self.std))
        return jnp.where(exists, jnp.where(negative, -m, m), 0), jnp.where(exists, s, 1)

    def _negative(self, block, place):
        """Whether blocks change the sign of the coordinate at a place."""
        group = jnp.arange(-(-len(place) // 64), dtype=jnp.uint32)[:, None]
        # one call of the cipher for 64 places
        both = jnp.stack(vector_layout.sign_words(self.call, block[None], group), axis=1)
        signs = both.reshape(-1, block.size)
        word = signs.at[place >> 5, jnp.arange(block.size)[None]].get(mode="clip")
        return (word >> (place & 31)) & 1 == 1


class LogRatios(NamedTuple):
    """Log-ratios as products. Its columns are in slabs.

    Attributes:
        search: the search.
        linear: coefficients of the numbers of a row.
        square: coefficients of their squares.
        curved: whether any of the latter is not 0.
        sharp: blocks whose scores lose their precision as products.
    """

    search: Search
    linear: Float[Array, "slabs columns lanes"]
    square: Float[Array, "slabs columns lanes"]
    curved: Bool[Array, ""]
    sharp: Bool[Array, "lanes"]

    def of_tile(self, tile: Int[Array, ""]) -> Float[Array, "rows lanes"]:
        """Scores of a tile of rows."""

        def add(slab, scores):
            z = self.search.rows(tile, slab)
            scores = scores + _product(z, self.linear[slab])
            # targets of the proposal's variance need no squares
            return lax.cond(
                self.curved, lambda: scores + _product(z * z, self.square[slab]), lambda: scores
            )

        return self.search.over_slabs(self.linear.shape[2], add)


class ExactLogRatios(NamedTuple):
    """Log-ratios of one block, as differences of squares.

    Attributes:
        search: the search.
        mean: means of the block.
        std: standard deviations of the block.
    """

    search: Search
    mean: Float[Array, "wide 1"]
    std: Float[Array, "wide 1"]

    def of_tile(self, tile: Int[Array, ""]) -> Float[Array, "rows 1"]:
        """Scores of a tile of rows."""
        columns = self.search.shape.columns

        def add(slab, scores):
            z = self.search.rows(tile, slab)
            m, s = (
                lax.dynamic_slice_in_dim(x[:, 0], slab * columns, columns)
                for x in (self.mean, self.std)
            )
            distance = (z - m[None]) / s[None]
            return scores + 0.5 * jnp.sum(z * z - distance * distance, axis=1)[:, None]

        return self.search.over_slabs(1, add)


def _product(a, b):
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
