"""Upsampling layers as products around the corners between cells: their only mixing across space.

Nearest upsampling by f and then a convolution with f + 1 taps an axis shows every output just two cells an axis, and
which two depends only on whether the output lies before or behind the middle of its cell. So around every corner
between cells the f x f outputs are one linear function of the 2 x 2 cells that meet there: a layer is a single matrix
product with 4 inputs instead of (f + 1)^2. A transposed convolution by a kernel of 2 f x 2 f at stride f (a lapped
transform) is such a product as well.

However many layers follow one another, an output sees no more than the cells next to its own.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

PRECISION = jax.lax.Precision.HIGHEST


def corner_product(
    x: Float[Array, "rows height width inputs"], kernel: Float[Array, "window outputs"], factor: int
) -> Float[Array, "rows up_height up_width outputs"]:
    """All outputs around the corners between cells, in their places: ``factor (height - 1)`` rows, likewise columns.

    Args:
      x: cells.
      kernel: ``[4 inputs, factor^2 outputs]``: the 2 x 2 cells around a corner to the outputs around it.
      factor: of upsampling.
    """
    height, width = x.shape[1] - 1, x.shape[2] - 1
    windows = [x[:, i : i + height, j : j + width] for i in (0, 1) for j in (0, 1)]
    # one plain product: XLA's CPU backend is slow at gradients of products with several batch axes
    out = jnp.matmul(
        jnp.concatenate(windows, axis=-1).reshape(-1, len(kernel)), kernel, precision=PRECISION
    )
    out = out.reshape(len(x), height, width, factor, factor, -1).swapaxes(2, 3)
    return out.reshape(len(x), height * factor, width * factor, -1)


def folded(kernel: np.ndarray, factor: int) -> np.ndarray:
    """The matrix of nearest upsampling by ``factor`` and then a convolution.

    Args:
      kernel: ``[factor + 1, factor + 1, inputs, outputs]``.
      factor: even.

    Returns:
      ``[4 inputs, factor^2 outputs]``: the 2 x 2 cells around a corner to the ``factor x factor`` outputs around it.
    """
    place = np.arange(factor)[:, None] + np.arange(factor + 1)[None]
    behind = place >= factor
    sees = np.stack([~behind, behind]).astype(kernel.dtype)  # [cell, output, tap]
    out = np.einsum("das,ebt,stio->deiabo", sees, sees, kernel)
    return out.reshape(4 * kernel.shape[2], -1)


def lapped(basis: np.ndarray) -> np.ndarray:
    """The matrix of a block transform without overlap, which learning may turn into a lapped one.

    Args:
      basis: ``[factor, factor, outputs, inputs]``, a block of outputs for every coefficient of a cell.

    Returns:
      ``[4 inputs, factor^2 outputs]``, see :func:`corner_product`.
    """
    factor, _, outputs, inputs = basis.shape
    half = factor // 2
    out = np.zeros((2, 2, inputs, factor, factor, outputs), basis.dtype)
    # the cell before the corner shows its second half there, the cell behind it its first
    halves = (np.s_[:half], np.s_[half:]), (np.s_[half:], np.s_[:half])
    for i, (to_row, from_row) in enumerate(halves):
        for j, (to_column, from_column) in enumerate(halves):
            out[i, j][:, to_row, to_column] = basis[from_row, from_column].transpose(3, 0, 1, 2)
    return out.reshape(4 * inputs, -1)
