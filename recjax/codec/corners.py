"""Upsampling layers as products around the corners between cells: their only mixing across space.

Nearest upsampling by f and then a convolution with f + 1 taps per axis shows every output just two
cells per axis, and which two depends only on whether the output lies before or behind the middle of
its cell. So around every corner between cells the f^r outputs are one linear function of the 2^r
cells that meet there: a layer is a single matrix product with 2^r inputs instead of (f + 1)^r. A
transposed convolution by a kernel of 2 f taps per axis at stride f (a lapped transform) is such a
product as well.

However many layers follow one another, an output depends only on its cell and the cells next to it.
"""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

PRECISION = jax.lax.Precision.HIGHEST


def corner_product(
    x: Float[Array, "rows *sides inputs"],
    kernel: Float[Array, "window outputs"],
    factors: int | Sequence[int],
    mixed: Sequence[bool] | None = None,
) -> Float[Array, "rows *up_sides outputs"]:
    """Computes all outputs around the corners between cells, in their places.

    Args:
        x: the cells.
        kernel: ``[2^r inputs, prod(factors) outputs]``: from the 2^r cells around a corner, in
            row-major order, to the outputs around it. Only mixed axes count for r: along the others
            windows have one cell.
        factors: factor of upsampling of every axis, or one factor for all of them.
        mixed: whether an axis is mixed; by default those are whose factor exceeds 1.

    Returns:
        ``factor (side - 1)`` outputs along a mixed axis of ``side`` cells, ``factor side`` along
        another.
    """
    rank = x.ndim - 2
    factors = (factors,) * rank if isinstance(factors, int) else tuple(factors)
    mixed = [factor > 1 for factor in factors] if mixed is None else mixed
    sides = [n - two for n, two in zip(x.shape[1:-1], mixed, strict=True)]
    starts = itertools.product(*((0, 1) if two else (0,) for two in mixed))
    windows = [
        x[(slice(None), *(slice(i, i + n) for i, n in zip(start, sides)))] for start in starts
    ]
    # one plain product: XLA's CPU backend is slow at gradients of products with several batch axes
    out = jnp.matmul(
        jnp.concatenate(windows, axis=-1).reshape(-1, len(kernel)), kernel, precision=PRECISION
    )
    out = out.reshape(len(x), *sides, *factors, -1)
    interleaved = (axis for k in range(rank) for axis in (1 + k, 1 + rank + k))
    out = out.transpose(0, *interleaved, 1 + 2 * rank)
    return out.reshape(len(x), *(n * f for n, f in zip(sides, factors)), out.shape[-1])


def folded(kernel: np.ndarray, factors: int | Sequence[int]) -> np.ndarray:
    """The matrix of nearest upsampling by ``factors`` and then a convolution.

    Args:
        kernel: ``[*(factor + 1 along every axis), inputs, outputs]``.
        factors: an even factor for every axis, or one for all of them.

    Returns:
        ``[2^r inputs, prod(factors) outputs]``, see `corner_product`.
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
        basis: ``[*factors, outputs, inputs]``: a block of outputs for every coefficient of a cell;
            factors are even, or 1 along axes that are not mixed.

    Returns:
        ``[2^r inputs, prod(factors) outputs]``, see `corner_product`.
    """
    *factors, outputs, inputs = basis.shape
    windows = [2 if f > 1 else 1 for f in factors]
    out = np.zeros((*windows, inputs, *factors, outputs), basis.dtype)
    for cell in itertools.product(*map(range, windows)):
        # the cell before the corner shows its second half there, the cell behind it its first
        first = [np.s_[: f // 2] if f > 1 else np.s_[:] for f in factors]
        second = [np.s_[f // 2 :] if f > 1 else np.s_[:] for f in factors]
        to = tuple(b if i else a for i, a, b in zip(cell, first, second))
        source = tuple(a if i else b for i, a, b in zip(cell, first, second))
        out[cell][(slice(None), *to)] = np.moveaxis(basis[source], -1, 0)
    return out.reshape(math.prod(windows) * inputs, -1)
