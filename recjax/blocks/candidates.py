"""Candidates of a block. Frozen: FORMAT.md, section Shared randomness.

Encoder and decoder regenerate candidates from (key, number of the candidate). Each block reads the
coordinates of its candidate in an order and with signs of its own: otherwise blocks with equal
targets would all choose the same candidate.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Integer, UInt32

from recjax.randomness import (
    SharedKey,
    Stream,
    coordinate_bits,
    normal,
    stream_key,
    threefry2x32,
)

_FEW = 64  # coordinates up to which comparing each with all others is faster than sorting


def candidate_rows(
    key: SharedKey, index: Integer[Array | np.ndarray, "n"], d: int, dtype=jnp.float32
) -> Float[Array, "n d"]:
    """Regenerates the first `d` coordinates of candidates, which are N(0, 1)."""
    bits = coordinate_bits(stream_key(key, Stream.CANDIDATE), index.astype(jnp.uint32), d)
    return normal(bits, dtype)


def signed_columns(
    key: SharedKey,
    ids: UInt32[Array | np.ndarray, "B 2"],
    width: Int[Array | np.ndarray, "B"],
    d: int,
) -> tuple[Int[Array, "B d"], Int[Array, "B d"]]:
    """Draws the order and the signs in which blocks read the coordinates of their candidates.

    Integer arithmetic alone decides: one random word per coordinate, of which 31 bits are sorted
    (ties by position) and one bit is the sign.

    Args:
        key: key of the candidates.
        ids: 64 bits that tell blocks with the same candidates apart.
        width: number of coordinates of each block.
        d: number of columns, at least the largest width.

    Returns:
        The column of the candidate that each coordinate reads, a permutation of
        `0 .. width - 1` followed by `width .. d - 1`, and its sign, 1 or -1.
    """
    # a call of the cipher yields the words of two coordinates
    keys = jax.vmap(lambda pair: stream_key(key, Stream.SIGN, pair))(
        jnp.arange(-(-d // 2), dtype=jnp.uint32)
    )
    words = jnp.stack(jax.vmap(threefry2x32, (0, None, None))(keys, ids[:, 0], ids[:, 1]), axis=1)
    words = words.reshape(2 * keys.shape[0], ids.shape[0])[:d].T
    place = jnp.arange(d, dtype=jnp.int32)
    inside = place[None] < width[:, None]
    # padding sorts last and, ties being broken by position, stays in its own columns
    rank_key = jnp.where(inside, words >> 1, jnp.uint32(0xFFFFFFFF))
    if d <= _FEW:
        # the rank of a coordinate is the number of coordinates before it
        this, other = rank_key[:, :, None], rank_key[:, None, :]
        earlier = place[None, None, :] < place[None, :, None]
        before = (other < this) | ((other == this) & earlier)
        column = jnp.sum(before, axis=2, dtype=jnp.int32)
    else:
        # the rank of each coordinate is the inverse of the sorting permutation
        order = jnp.argsort(rank_key, axis=1, stable=True)
        rows = jnp.arange(len(rank_key))[:, None]
        column = jnp.zeros(rank_key.shape, jnp.int32).at[rows, order].set(place[None])
    return column, jnp.where(inside & (words & 1 == 1), -1, 1)


def coordinate_of_column(column: Int[Array, "B d"]) -> Int[Array, "B d"]:
    """Inverts the permutations of `signed_columns`: the coordinate that reads each column."""
    place = jnp.arange(column.shape[1], dtype=jnp.int32)
    # a sum with one non-zero term: no scatter, which is slow on every backend
    hits = column[:, :, None] == place[None, None]
    return jnp.sum(jnp.where(hits, place[None, :, None], 0), axis=1)


def block_values(
    key: SharedKey,
    ids: UInt32[Array | np.ndarray, "B 2"],
    index: Integer[Array | np.ndarray, "B"],
    width: Int[Array | np.ndarray, "B"],
    d: int,
    dtype=jnp.float32,
) -> Float[Array, "B d"]:
    """Reads one candidate for each block, in the block's order and with its signs.

    Returns:
        The values; zero from column `width` on.
    """
    column, sign = signed_columns(key, ids, width, d)
    rows = candidate_rows(key, index, d, dtype)
    values = sign.astype(dtype) * jnp.take_along_axis(rows, column, axis=1)
    # the block does not use the coordinates of the candidate beyond its width
    inside = jnp.arange(d, dtype=jnp.int32)[None] < width.astype(jnp.int32)[:, None]
    return jnp.where(inside, values, 0)
