"""Ordered random coding of many small Gaussian blocks against one shared table of candidates.

A block is a vector of at most `d` coordinates with prior N(0, I) and posterior
N(mu, diag(sigma^2)). It is coded as the index `i < N` of the one of N candidates z_i ~ N(0, I) that
maximises

    log q(z_i) / p(z_i) - log T_i,    T_i = sum_{k <= i} E_k N / (N - k),    E_k ~ Exp(1)

(ordered random coding: Theis and Yosri, *Algorithms for the communication of samples*, ICML 2022).
The law of the sample is that of importance sampling with N candidates, and small indices are more
likely than large ones.

The log-ratio is quadratic in z: the scores of all candidates and blocks are one matrix product of
the features [z^2, z, -log T] with a column of coefficients per block. The product is reduced tile
by tile to maxima over slots of consecutive candidates and never stored; only the winning slot of
each block is then scored candidate by candidate.

Each block reads the columns of the table in an order and with signs of its own
(`recjax.blocks.candidates`), which costs nothing: the coefficients are permuted, not the table.

`BlockCoder.decode` is frozen (FORMAT.md, section Shared randomness, version 1). The search of
`BlockCoder.encode` is free to change.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, UInt32

from recjax.blocks.candidates import (
    block_values,
    candidate_rows,
    coordinate_of_column,
    signed_columns,
)
from recjax.blocks.tiles import TILE, for_platform, lane_groups
from recjax.randomness import SharedKey, Stream, coordinate_bits, exponential, stream_key

_LANES = 1024  # most blocks per product: with TILE the fastest shape measured, on 1 and 2 cores
_SLOT = 32  # candidates per slot, scored one by one at the end
_CHUNK = 1 << 14  # candidates generated at once for the table
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockCoder:
    """Coder of Gaussian blocks, each as one of `2**(budget + extra_bits)` shared candidates.

    The bias of the sample falls with `extra_bits`. For blocks whose KL divergence is the budget,
    the sample is visibly over-dispersed at 0 extra bits and nearly exact at 4. Encoding takes time
    proportional to the number of candidates.

    Beside the table, `encode` needs at most about `4 d^2 + 1300` bytes per block, and
    `8192 + 128 (2 d + 1)` bytes for each of at most 1,024 blocks.

    Attributes:
        budget: KL divergence that a block is meant to have, in bits, 4 to 20.
        extra_bits: head-room in bits; `budget + extra_bits` must be 4 to 24.
        table_bytes: largest size of the table of features, which is `4 N (2 d + 1)` bytes in
            float32. A larger table is not stored but regenerated tile by tile in every `encode`,
            with equal results.

    Raises:
        ValueError: a setting is out of range.

    >>> import jax, jax.numpy as jnp
    >>> coder, key = BlockCoder(budget=8), jax.random.key(0)
    >>> ids, width = jnp.array([[0, 0], [0, 1]], jnp.uint32), jnp.array([3, 2])
    >>> mu, sigma = jnp.full((2, 3), 1.5), jnp.full((2, 3), 0.4)
    >>> table = coder.table(key, 3)
    >>> index, sample = coder.encode(table, key, ids, mu, sigma, width)
    >>> bool((sample == coder.decode(key, ids, index, width, 3)).all())
    True
    """

    budget: int = 16
    extra_bits: int = 0
    table_bytes: int = 1 << 29

    def __post_init__(self) -> None:
        if not 4 <= self.budget <= 20:
            raise ValueError(f"budget must be 4 to 20 bits, got {self.budget}")
        if not 4 <= self.budget + self.extra_bits <= 24:
            raise ValueError(
                f"budget + extra_bits must be 4 to 24, got {self.budget + self.extra_bits}"
            )

    @property
    def candidates(self) -> int:
        """N, the number of candidates."""
        return 1 << (self.budget + self.extra_bits)

    @functools.partial(jax.jit, static_argnums=(0, 2, 3))
    def table(self, key: SharedKey, d: int, dtype=jnp.float32) -> Float[Array, "N columns"]:
        """Computes the features of all candidates, for any number of calls of `encode`.

        Args:
            key: typed JAX key or uint32[2], known to the decoder.
            d: largest width of a block.
            dtype: float32 or float64.

        Returns:
            [z^2, z, -log T] with 2 d + 1 columns, or only -log T if all columns would exceed
            `table_bytes`.
        """
        n = self.candidates
        # arrival times of ordered random coding: increments E_k N / (N - k)
        words = stream_key(key, Stream.ARRIVAL)
        draws = exponential(coordinate_bits(words, jnp.arange(n, dtype=jnp.uint32), 1)[:, 0], dtype)
        noise = -jnp.log(jnp.cumsum(draws * (n / jnp.arange(n, 0, -1, dtype=dtype))))[:, None]
        if n * (2 * d + 1) * jnp.finfo(dtype).bits // 8 > self.table_bytes:
            return noise
        chunk = min(n, _CHUNK)
        starts = jnp.arange(0, n, chunk, dtype=jnp.int32)
        # in chunks: the random words and intermediates of all candidates would take several tables
        chunks = lax.map(lambda start: _features(key, start, chunk, d, noise), starts)
        return chunks.reshape(n, 2 * d + 1)

    @functools.partial(jax.jit, static_argnums=0)
    def encode(
        self,
        table: Float[Array, "N columns"],
        key: SharedKey,
        ids: UInt32[Array, "B 2"],
        mu: Float[Array, "B d"],
        sigma: Float[Array, "B d"],
        width: Int[Array, "B"],
    ) -> tuple[Int[Array, "B"], Float[Array, "B d"]]:
        """Chooses a candidate for every block, independently of the rest of the batch.

        Args:
            table: the result of `table` for `key` and `d`.
            key: the key of the table.
            ids: 64 bits that tell the blocks sharing a table apart, known to the decoder.
            mu: posterior means, relative to the prior N(0, 1).
            sigma: posterior standard deviations, in units of the prior's.
            width: number of coordinates of each block; columns from `width` on are padding and
                ignored.

        Returns:
            The indices, and the coded blocks as `decode` returns them. A block without a meaningful
            choice (NaN or infinite mu or sigma, sigma not positive, width not in 0 .. d, or scores
            beyond the range of the dtype) has index -1 and a sample of NaN.

        Raises:
            ValueError: the shapes do not fit.
        """
        self._check(table, ids, mu, sigma, width)
        batch, d = mu.shape
        if batch == 0:
            return jnp.zeros(0, jnp.int32), jnp.zeros((0, d), table.dtype)
        width, place = width.astype(jnp.int32), jnp.arange(d, dtype=jnp.int32)
        inside = place[None] < width[:, None]
        mu, sigma = (jnp.asarray(x, table.dtype) for x in (mu, sigma))
        valid = (width >= 0) & (width <= d)
        valid &= jnp.all(~inside | (jnp.isfinite(mu) & jnp.isfinite(sigma) & (sigma > 0)), axis=1)
        # padding and invalid blocks get posterior = prior: their coefficients are zero, and no NaN
        # can reach another block of the batch
        used = inside & valid[:, None]
        column, sign = signed_columns(key, ids, width, d)
        # permute the posterior into the order of the table's columns
        coordinate = coordinate_of_column(column)
        mu = jnp.where(used, sign.astype(mu.dtype) * mu, 0)
        mu = jnp.take_along_axis(mu, coordinate, axis=1)
        sigma = jnp.take_along_axis(jnp.where(used, sigma, 1), coordinate, axis=1)

        search = functools.partial(self._best_slots, table, key)
        slot = for_platform(search, _LANES, mu, sigma)
        index, score = self._best_in_slots(table, key, mu, sigma, slot)
        index, score = self._rescore(table, key, mu, sigma, index, score)
        valid &= jnp.isfinite(score)
        index = jnp.where(valid, index, -1)
        # -1 is no candidate: decode candidate 0 and overwrite its sample below
        sample = self.decode(key, ids, jnp.maximum(index, 0), width, d, table.dtype)
        return index, jnp.where(valid[:, None], sample, jnp.nan)

    @functools.partial(jax.jit, static_argnums=(0, 5, 6))
    def decode(
        self,
        key: SharedKey,
        ids: UInt32[Array | np.ndarray, "B 2"],
        index: Int[Array | np.ndarray, "B"],
        width: Int[Array | np.ndarray, "B"],
        d: int,
        dtype=jnp.float32,
    ) -> Float[Array, "B d"]:
        """Regenerates coded blocks from their indices, in O(d) each.

        Args:
            key: the key of the encoder's table.
            ids: the encoder's ids.
            index: the encoder's indices.
            width: number of coordinates of each block.
            d: number of columns to return, at least the largest width.
            dtype: dtype of the encoder's table.

        Returns:
            The samples; zero from column `width` on.
        """
        width = width.astype(jnp.int32)
        values = block_values(key, ids, index, width, d, dtype)
        return jnp.where(jnp.arange(d, dtype=jnp.int32)[None] < width[:, None], values, 0)

    def _check(self, table, ids, mu, sigma, width):
        batch, d = mu.shape
        if table.shape not in ((self.candidates, 2 * d + 1), (self.candidates, 1)):
            raise ValueError(
                f"table must be that of table(key, {d}), {self.candidates} rows, got {table.shape}"
            )
        if sigma.shape != mu.shape or ids.shape != (batch, 2) or width.shape != (batch,):
            raise ValueError(
                f"shapes of ids, mu, sigma, width must be [B, 2], [B, d], [B, d], [B], "
                f"got {ids.shape}, {mu.shape}, {sigma.shape}, {width.shape}"
            )

    def _rows(self, table, key, start, count, d):
        """Features of `count` consecutive candidates, from the table if it holds them."""
        if table.shape[1] == 1:
            return _features(key, start, count, d, table)
        return lax.dynamic_slice_in_dim(table, start, count)

    def _best_slots(self, table, key, mu, sigma, *, granule):
        """First candidate of the slot with the largest score, [B]."""
        n, (batch, d) = self.candidates, mu.shape
        tile = min(n, TILE)
        slots = max(1, tile // _SLOT)
        groups, lanes = lane_groups(batch, _LANES, granule)
        precision = 1 / (sigma * sigma)
        coefficients = jnp.concatenate(
            [0.5 - 0.5 * precision, mu * precision, jnp.ones_like(mu[:, :1])], axis=1
        )
        # lanes beyond the batch have zero coefficients and are cut off at the end
        coefficients = jnp.pad(coefficients, ((0, groups * lanes - batch), (0, 0)))
        coefficients = coefficients.reshape(groups, lanes, 2 * d + 1).transpose(0, 2, 1)

        def step(t, best):
            rows = self._rows(table, key, t * tile, tile, d)

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

    def _best_in_slots(self, table, key, mu, sigma, first):
        """Best candidate of each block's slot and its score, [B] each."""
        size = min(self.candidates, _SLOT)

        def best(block):
            m, s, start = block
            return _best_row(self._rows(table, key, start, size, mu.shape[1]), m, s)

        # batches of blocks bound the memory
        row, score = lax.map(best, (mu, sigma, first), batch_size=_LANES)
        return first + row, score

    def _rescore(self, table, key, mu, sigma, index, score):
        """Searches again for very sharp posteriors, without expanding the square.

        Scores as products of features lose their precision there: rounding would choose.
        """
        n, d = self.candidates, mu.shape[1]
        tile = min(n, TILE)
        # the size of the terms near the posterior's mean, where the chosen candidate is
        sharp = jnp.sum((mu / sigma) ** 2, axis=1) > _LARGEST_TERM
        queue = jnp.argsort(~sharp)  # sharp blocks first; the loop below ends after them

        def search(k, found):
            block = queue[k]

            def step(t, best):
                rows = self._rows(table, key, t * tile, tile, d)
                row, value = _best_row(rows, mu[block], sigma[block])
                return best.improved(value, t * tile + row)

            start = _Best(jnp.full((), -jnp.inf, mu.dtype), jnp.zeros((), jnp.int32))
            best = lax.fori_loop(jnp.int32(0), jnp.int32(n // tile), step, start)
            return _Best(
                found.score.at[block].set(best.score), found.index.at[block].set(best.index)
            )

        count = jnp.sum(sharp, dtype=jnp.int32)
        best = lax.fori_loop(jnp.int32(0), count, search, _Best(score, index))
        return best.index, best.score


def _features(key, start, count, d, noise):
    z = candidate_rows(key, start + jnp.arange(count, dtype=jnp.int32), d, noise.dtype)
    # six times faster on the CPU than concatenating
    rows = jnp.zeros((count, 2 * d + 1), z.dtype).at[:, :d].set(z * z).at[:, d : 2 * d].set(z)
    return rows.at[:, 2 * d :].set(lax.dynamic_slice_in_dim(noise, start, count))


def _best_row(rows, mu, sigma):
    """First row with the largest score for one block, and this score."""
    d = mu.shape[0]
    z = rows[:, d : 2 * d]
    distance = (z - mu[None]) / sigma[None]
    score = 0.5 * jnp.sum(z * z - distance * distance, axis=1) + rows[:, 2 * d]
    return jnp.argmax(score).astype(jnp.int32), jnp.max(score)
