"""Where the patches of the images in a batch lie: in which region and image, and next to which others."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from recjax.codec.siren.groups import n_rows


class Geometry(NamedTuple):
    """Tables of row numbers.

    Attributes:
      parents: the row of the image, then of the region that each patch lies in, as far as there are such groups.
      cells: for every patch the cells of its grid and one of each neighbour around it, numbered over all patches of
        the batch; beyond the image a number too large. None if every image is a single patch.
    """

    parents: tuple[Int[Array, "rows"], ...] = ()
    cells: Int[Array, "rows height+2 width+2"] | None = None

    def with_border(
        self, grids: Float[Array, "rows height width depth"]
    ) -> Float[Array, "rows height+2 width+2 depth"]:
        """The grids with one cell of each neighbour around them, 0 beyond the image."""
        if self.cells is None:
            return jnp.pad(grids, ((0, 0), (1, 1), (1, 1), (0, 0)))
        return grids.reshape(-1, grids.shape[-1]).at[self.cells].get(mode="fill", fill_value=0)


def make_geometry(
    patches: Sequence[tuple[int, int]],
    upper: Sequence[str],
    region: int,
    cells: tuple[int, int] | None,
) -> Geometry:
    """Geometry of images of so many (rows, columns) of patches, the rows of each kind following one another.

    Args:
      patches: of each image.
      upper: kinds of the groups above the patches.
      region: patches along a side of a region.
      cells: of a patch's grid, if it has one.
    """
    parents = []
    for kind in upper:
        side, start, table = region if kind == "region" else 1 << 30, 0, []
        for rows, columns in patches:
            y, x = np.divmod(np.arange(rows * columns), columns)
            table.append(start + y // side * -(-columns // side) + x // side)
            start += n_rows(kind, (rows, columns), region)
        parents.append(jnp.asarray(np.concatenate(table), jnp.int32))
    if cells is None or all(rows * columns == 1 for rows, columns in patches):
        return Geometry(tuple(parents), None)
    return Geometry(tuple(parents), jnp.asarray(_bordered_cells(patches, cells), jnp.int32))


def _bordered_cells(patches, cells):
    height, width = cells
    outside = sum(rows * columns for rows, columns in patches) * height * width
    start, tables = 0, []
    for rows, columns in patches:
        count = rows * columns * height * width
        own = start + np.arange(count).reshape(rows, columns, height, width)
        image = np.pad(
            own.swapaxes(1, 2).reshape(rows * height, columns * width), 1, constant_values=outside
        )
        windows = np.lib.stride_tricks.sliding_window_view(image, (height + 2, width + 2))
        tables.append(windows[::height, ::width].reshape(-1, height + 2, width + 2))
        start += count
    return np.concatenate(tables)
