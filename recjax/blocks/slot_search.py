"""Search for the candidate with the largest score of every block. Free to change.

The log-ratio is quadratic in z: the scores of all candidates and blocks are one matrix product of
the features [z^2, z, -log T] with a column of coefficients per block. The product is reduced tile
by tile to maxima over slots of consecutive candidates and never stored; only the winning slot of
each block is then scored candidate by candidate.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from recjax.blocks.candidates import candidate_rows
from recjax.blocks.tiles import TILE, for_platform, lane_groups
from recjax.randomness import SharedKey

_LANES = 1024  # most blocks per product: with TILE the fastest shape measured, on 1 and 2 cores
_SLOT = 32  # candidates per slot, scored one by one at the end
# Rounding moves a score by about 2^-24 of its largest term: 0.02 nats at this limit.
_LARGEST_TERM = 2.0**18


class _Best(NamedTuple):
    """Running maximum of a search."""

    score: Float[Array, "..."]
    index: Int[Array, "..."]  # of a candidate, or of a tile of candidates

    def improved(self, score: Array, index: Array) -> "_Best":
        """Returns the better of this and another score; the earlier one if they are equal."""
        better = score > self.score
        return _Best(jnp.where(better, score, self.score), jnp.where(better, index, self.index))


def features(
    key: SharedKey,
    start: int | Int[Array, ""],
    count: int,
    d: int,
    noise: Float[Array, "N 1"],
) -> Float[Array, "count columns"]:
    """Features [z^2, z, -log T] of consecutive candidates.

    Args:
        key: key of the candidates.
        start: number of the first of them.
        count: number of candidates.
        d: number of coordinates.
        noise: -log T of all N candidates.
    """
    z = candidate_rows(key, start + jnp.arange(count, dtype=jnp.int32), d, noise.dtype)
    # six times faster on the CPU than concatenating
    rows = jnp.zeros((count, 2 * d + 1), z.dtype).at[:, :d].set(z * z).at[:, d : 2 * d].set(z)
    return rows.at[:, 2 * d :].set(lax.dynamic_slice_in_dim(noise, start, count))


def best_candidates(
    table: Float[Array, "N columns"],
    key: SharedKey,
    mu: Float[Array, "B d"],
    sigma: Float[Array, "B d"],
) -> tuple[Int[Array, "B"], Float[Array, "B"]]:
    """Finds the best candidate of every block, whatever the rest of the batch.

    Args:
        table: features of the candidates, or only -log T.
        key: key of the candidates.
        mu: posterior means in the order of the table's columns.
        sigma: posterior standard deviations in the same order.

    Returns:
        The candidates' numbers and scores.
    """
    slot = for_platform(functools.partial(_best_slots, table, key), _LANES, mu, sigma)
    index, score = _best_in_slots(table, key, mu, sigma, slot)
    return _rescore(table, key, mu, sigma, index, score)


def _rows(table, key, start, count, d):
    """Features of `count` consecutive candidates, from the table if it holds them."""
    if table.shape[1] == 1:
        return features(key, start, count, d, table)
    return lax.dynamic_slice_in_dim(table, start, count)


def _best_slots(table, key, mu, sigma, *, products):
    """First candidate of the slot with the largest score, [B]."""
    n, (batch, d) = len(table), mu.shape
    tile = min(n, products.tile)
    slots = max(1, tile // _SLOT)
    groups, lanes = lane_groups(batch, _LANES, products.granule)
    precision = 1 / (sigma * sigma)
    coefficients = jnp.concatenate(
        [0.5 - 0.5 * precision, mu * precision, jnp.ones_like(mu[:, :1])], axis=1
    )
    # lanes beyond the batch have zero coefficients and are cut off at the end
    coefficients = jnp.pad(coefficients, ((0, groups * lanes - batch), (0, 0)))
    coefficients = coefficients.reshape(groups, lanes, 2 * d + 1).transpose(0, 2, 1)

    def step(t, best):
        rows = _rows(table, key, t * tile, tile, d)

        # one group at a time: only the scores of one product are in memory
        def slot_maxima(group):
            product = jnp.matmul(rows, group, precision=lax.Precision.HIGHEST)
            return product.reshape(slots, tile // slots, lanes).max(axis=1)

        return best.improved(lax.map(slot_maxima, coefficients), t)

    # each slot of a tile remembers the tile in which its maximum was
    start = _Best(
        jnp.full((groups, slots, lanes), -jnp.inf, mu.dtype),
        jnp.zeros((groups, slots, lanes), jnp.int32),
    )
    best = lax.fori_loop(jnp.int32(0), jnp.int32(n // tile), step, start)
    offset = (jnp.arange(slots, dtype=jnp.int32) * (tile // slots))[None, :, None]
    first = best.index * tile + offset
    # of equal maxima the first candidate wins, as in an argmax over all candidates
    highest = best.score == best.score.max(axis=1, keepdims=True)
    first = jnp.where(highest, first, n).min(axis=1)
    # a score of NaN equals nothing: any slot does, since `encode` then reports -1
    return jnp.minimum(first.reshape(-1)[:batch], n - tile // slots)


def _best_in_slots(table, key, mu, sigma, first):
    """Best candidate of each block's slot and its score, [B] each."""
    size = min(len(table), _SLOT)

    def best(block):
        m, s, start = block
        return _best_row(_rows(table, key, start, size, mu.shape[1]), m, s)

    # batches of blocks bound the memory
    row, score = lax.map(best, (mu, sigma, first), batch_size=_LANES)
    return first + row, score


def _rescore(table, key, mu, sigma, index, score):
    """Searches again for very sharp posteriors, without expanding the square.

    Scores as products of features lose their precision there: rounding would choose.
    """
    n, d = len(table), mu.shape[1]
    tile = min(n, TILE)
    # the size of the terms near the posterior's mean, where the chosen candidate is
    sharp = jnp.sum((mu / sigma) ** 2, axis=1) > _LARGEST_TERM
    queue = jnp.argsort(~sharp)  # sharp blocks first; the loop below ends after them

    def search(k, found):
        block = queue[k]

        def step(t, best):
            rows = _rows(table, key, t * tile, tile, d)
            row, value = _best_row(rows, mu[block], sigma[block])
            return best.improved(value, t * tile + row)

        start = _Best(jnp.full((), -jnp.inf, mu.dtype), jnp.zeros((), jnp.int32))
        best = lax.fori_loop(jnp.int32(0), jnp.int32(n // tile), step, start)
        return _Best(found.score.at[block].set(best.score), found.index.at[block].set(best.index))

    count = jnp.sum(sharp, dtype=jnp.int32)
    best = lax.fori_loop(jnp.int32(0), count, search, _Best(score, index))
    return best.index, best.score


def _best_row(rows, mu, sigma):
    """First row with the largest score for one block, and this score."""
    d = mu.shape[0]
    z = rows[:, d : 2 * d]
    distance = (z - mu[None]) / sigma[None]
    score = 0.5 * jnp.sum(z * z - distance * distance, axis=1) + rows[:, 2 * d]
    return jnp.argmax(score).astype(jnp.int32), jnp.max(score)
