"""Upsampling layers as products around the corners between cells: their only mixing across space.

Nearest upsampling by f and then a convolution with f + 1 taps an axis shows every output just two cells an axis, and
which two depends only on whether the output lies before or behind the middle of its cell. So around every corner
between cells the f^r outputs are one linear function of the 2^r cells that meet there: a layer is a single matrix
product with 2^r inputs instead of (f + 1)^r. A transposed convolution by a kernel of 2 f along every axis at stride f
(a lapped transform) is such a product as well.

However many layers follow one another, an output sees no more than the cells next to its own.
"""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

PRECISION = jax.lax.Precision.HIGHEST


def corner_product(
    x: Float[Array, "rows *sides inputs"],
    kernel: Float[Array, "window outputs"],
    factors: Sequence[int],
) -> Float[Array, "rows *up_sides outputs"]:
    """All outputs around the corners between cells, in their places: ``factor (side - 1)`` along every axis.

    Args:
      x: cells.
      kernel: ``[2^r inputs, prod(factors) outputs]``: the cells around a corner to the outputs around it.
      factors: of upsampling, along every axis.
    """
    factors = (factors,) * (x.ndim - 2) if isinstance(factors, int) else factors
    rank, sides = len(factors), [side - 1 for side in x.shape[1:-1]]
    windows = [
        x[(slice(None), *(slice(i, i + n) for i, n in zip(at, sides, strict=True)))]
        for at in itertools.product((0, 1), repeat=rank)
    ]
    # one plain product: XLA's CPU backend is slow at gradients of products with several batch axes
    out = jnp.matmul(
        jnp.concatenate(windows, axis=-1).reshape(-1, len(kernel)), kernel, precision=PRECISION
    )
    out = out.reshape(len(x), *sides, *factors, -1)
    order = (0, *(axis for k in range(rank) for axis in (1 + k, 1 + rank + k)), 1 + 2 * rank)
    up_sides = (n * f for n, f in zip(sides, factors, strict=True))
    return out.transpose(order).reshape(len(x), *up_sides, out.shape[-1])


def folded(kernel: np.ndarray, factors: Sequence[int] | int) -> np.ndarray:
    """The matrix of nearest upsampling by ``factors`` and then a convolution.

    Args:
      kernel: ``[*(factor + 1 along every axis), inputs, outputs]``.
      factors: even, along every axis.

    Returns:
      ``[2^r inputs, prod(factors) outputs]``: the cells around a corner to the outputs around it.
    """
    rank = kernel.ndim - 2
    factors = (factors,) * rank if isinstance(factors, int) else factors
    sees = []
    for factor in factors:
        place = np.arange(factor)[:, None] + np.arange(factor + 1)[None]
        behind = place >= factor
        sees.append(np.stack([~behind, behind]).astype(kernel.dtype))  # [cell, output, tap]
    cells, outputs, taps = "def"[:rank], "abc"[:rank], "stu"[:rank]
    each = ",".join("".join(axes) for axes in zip(cells, outputs, taps, strict=True))
    out = np.einsum(f"{each},{taps}io->{cells}i{outputs}o", *sees, kernel)
    return out.reshape(2**rank * kernel.shape[-2], -1)


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
