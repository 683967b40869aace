"""Scores of candidates as products: features of candidates, coefficients of blocks. Free to change.

The logarithm of q(z) / p(z) is quadratic in z. The scores of all candidates in a step of all blocks
are one matrix product of the features [z^2, z] with a column of coefficients per block.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, UInt32

from recjax.blocks.candidates import candidate_rows, coordinate_of_column, signed_columns
from recjax.blocks.posteriors import prior_unless, within
from recjax.blocks.trellis_decoder import steps_of
from recjax.randomness import SharedKey


def feature_table(
    key: SharedKey, count: int, d: int, dtype=jnp.float32
) -> Float[Array, "groups N columns"]:
    """Features of all candidates.

    Args:
        key: key of the candidates.
        count: number of candidates.
        d: largest width of a block.
        dtype: float32 or float64.

    Returns:
        z^2 and z of each of the ceil(d / 2) coordinates of a step, side by side, in groups as
        `grouped` says.
    """
    chunk = min(count, 1 << 14)

    def rows(start):
        z = candidate_rows(key, start + jnp.arange(chunk, dtype=jnp.int32), -(-d // 2), dtype)
        features = jnp.stack([z * z, z], axis=2)
        return features.reshape(chunk, *grouped(d)).swapaxes(0, 1)

    chunks = lax.map(rows, jnp.arange(0, count, chunk, dtype=jnp.int32))
    return chunks.swapaxes(0, 1).reshape(chunks.shape[1], count, chunks.shape[3])


def grouped(d: int) -> tuple[int, int]:
    """Number of groups of columns of a table for blocks of width `d`, and columns per group.

    Up to 16 columns form a group: a product that needs few columns reads contiguous memory.

    >>> grouped(9), grouped(32)
    ((5, 2), (2, 16))
    """
    columns = 2 * -(-d // 2)
    together = math.gcd(columns, 16)
    return columns // together, together


def n_columns(table: Float[Array, "groups N columns"]) -> int:
    """Number of columns of all groups of a table."""
    return table.shape[0] * table.shape[2]


def leading_columns(
    table: Float[Array, "groups N columns"], start: Int[Array, ""], count: int, columns: int
) -> Float[Array, "count leading"]:
    """The leading columns of `count` consecutive candidates."""
    together = table.shape[2]
    part = lax.dynamic_slice(table, (0, start, 0), (columns // together, count, together))
    return part.swapaxes(0, 1).reshape(count, columns)


def block_coefficients(
    key: SharedKey,
    ids: UInt32[Array, "B 2"],
    mu: Float[Array, "B d"],
    sigma: Float[Array, "B d"],
    width: Int[Array, "B"],
    dtype=jnp.float32,
) -> Float[Array, "2 B features"]:
    """Coefficients of the features in both steps of every block.

    Args:
        key: key of the candidates.
        ids: ids of the blocks.
        mu: posterior means, 0 in the padding.
        sigma: posterior standard deviations, 1 in the padding.
        width: number of coordinates of each block.
        dtype: dtype of the table.
    """
    half = -(-mu.shape[1] // 2)
    # both steps of a block read its posterior
    mu = jnp.tile(mu.astype(dtype), (2, 1))
    precision = jnp.tile(1 / jnp.square(sigma.astype(dtype)), (2, 1))
    steps = steps_of(ids, width)
    column, sign = signed_columns(key, steps.ids, steps.count, half)
    # the coordinate that reads each column of the table, counted within the step
    local = coordinate_of_column(column)
    # columns beyond the step's coordinates are masked below: any place in the block does
    place = jnp.clip(steps.start[:, None] + local, 0, mu.shape[1] - 1)
    m = jnp.take_along_axis(mu, place, axis=1)
    p = jnp.take_along_axis(precision, place, axis=1)
    s = jnp.take_along_axis(sign, local, axis=1)
    used = local < steps.count[:, None]
    square = jnp.where(used, 0.5 - 0.5 * p, 0)
    linear = jnp.where(used, s.astype(dtype) * m * p, 0)
    return jnp.stack([square, linear], axis=2).reshape(2, len(ids), 2 * half)


@jax.jit
def chain_coefficients(
    table: Float[Array, "groups N columns"],
    key: SharedKey,
    ids: UInt32[Array | np.ndarray, "T B 2"],
    mu: Float[Array | np.ndarray, "T B d"],
    sigma: Float[Array | np.ndarray, "T B d"],
    width: Int[Array | np.ndarray, "T B"],
) -> Float[Array, "T 2 features B"]:
    """Coefficients of all columns of a table in both steps of the blocks of chains."""
    mu, sigma = prior_unless(within(width, mu.shape[2]), mu, sigma)
    blocks = ids, mu, sigma, width
    out = lax.map(lambda block: block_coefficients(key, *block, dtype=table.dtype), blocks)
    # the table may have more columns than any block
    missing = n_columns(table) - out.shape[3]
    return jnp.pad(out, ((0, 0), (0, 0), (0, 0), (0, missing))).swapaxes(2, 3)
