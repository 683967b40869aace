"""Ordered random coding of many small Gaussian blocks against one shared table of candidates.

A block is a vector of at most ``d`` coordinates, a priori N(0, I), with posterior N(mu, diag(sigma^2)). It is coded
as the index ``i < N`` of one of N candidates z_i ~ N(0, I) that maximises

    log q(z_i) / p(z_i) - log T_i,    T_i = sum_{k <= i} E_k N / (N - k),    E_k ~ Exp(1)

(ordered random coding: Theis and Yosri, *Algorithms for the communication of samples*, ICML 2022). The law of the
sample is that of importance sampling with N candidates, and small indices are the likelier ones.

The log-ratio is quadratic in z, so the scores of all candidates and blocks are one matrix product of the features
[z^2, z, -log T] with a column of coefficients a block. The product is reduced tile by tile to maxima over slots of
consecutive candidates and never stored; only the winning slot of each block is then scored candidate by candidate.

Blocks with equal targets would all choose the same candidate. Each block therefore sees the columns of the table in
its own order and with its own signs, which costs nothing: the coefficients are permuted, not the table.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, UInt32

from recjax.randomness import Stream, coordinate_bits, exponential, normal, stream_key, threefry2x32

_TILE = 2048  # candidates a product
_LANES = (
    1024  # most blocks a product: with _TILE the fastest shape measured, on one core and on two
)
_SLOT = 32  # candidates scored one by one at the end
_CHUNK = 1 << 14  # candidates generated at once for the table
_FEW = 64  # coordinates that are faster compared, each with all others, than sorted
# Rounding moves a score by about 2^-24 of its largest term: 0.02 nats at this limit.
_LARGEST_TERM = 2.0**18


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockCoder:
    """Codes a batch of Gaussian blocks, each as one of ``2**(budget + extra_bits)`` shared candidates.

    The bias of the sample falls with ``extra_bits``: at 0, with blocks whose KL divergence is the budget, it is
    visibly over-dispersed, at 4 it is nearly exact. Encoding takes time proportional to the number of candidates.

    Attributes:
        budget: bits of KL divergence that a block is meant to have, 4 to 20.
        extra_bits: head-room in bits; ``budget + extra_bits`` must be 4 to 24.
        table_bytes: the most memory for the features of the candidates, ``4 N (2 d + 1)`` bytes in float32. A larger
            table is not kept but generated tile by tile in every ``encode``, with equal results.

    Beside the table, ``encode`` needs at most about ``4 d^2 + 1300`` bytes a block, and ``8192 + 128 (2 d + 1)`` for
    each of at most 1,024.

    Raises:
        ValueError: if a setting is out of range.

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
    def table(self, key: Array, d: int, dtype=jnp.float32) -> Float[Array, "N columns"]:
        """The features of all candidates, for any number of calls of `encode`.

        Args:
            key: a typed JAX key or uint32[2], known to the decoder.
            d: the largest width of a block.
            dtype: float32 or float64.

        Returns:
            [z^2, z, -log T], 2 d + 1 columns; only the last one if all of them would exceed ``table_bytes``.
        """
        n = self.candidates
        words = stream_key(key, Stream.ARRIVAL)
        draws = exponential(coordinate_bits(words, jnp.arange(n, dtype=jnp.uint32), 1)[:, 0], dtype)
        noise = -jnp.log(jnp.cumsum(draws * (n / jnp.arange(n, 0, -1, dtype=dtype))))[:, None]
        if n * (2 * d + 1) * jnp.finfo(dtype).bits // 8 > self.table_bytes:
            return noise
        chunk = min(n, _CHUNK)
        starts = jnp.arange(0, n, chunk, dtype=jnp.int32)
        return lax.map(lambda start: _features(key, start, chunk, d, noise), starts).reshape(
            n, 2 * d + 1
        )

    @functools.partial(jax.jit, static_argnums=0)
    def encode(
        self,
        table: Float[Array, "N columns"],
        key: Array,
        ids: UInt32[Array, "B 2"],
        mu: Float[Array, "B d"],
        sigma: Float[Array, "B d"],
        width: Int[Array, "B"],
    ) -> tuple[Int[Array, "B"], Float[Array, "B d"]]:
        """The chosen candidate of every block; a pure function of the block, whatever the batch.

        Args:
            table: what `table` returned for ``key`` and ``d``.
            key: the key of the table.
            ids: 64 bits that tell the blocks sharing a table apart, known to the decoder.
            mu: posterior means, relative to the prior N(0, 1).
            sigma: posterior standard deviations, in units of the prior's.
            width: coordinates a block has; those from ``width`` on are padding and ignored.

        Returns:
            The indices, and the coded blocks as `decode` returns them. A block without a meaningful choice (NaN or
            infinite mu or sigma, sigma not positive, width not in 0 .. d, or scores beyond the range of the dtype)
            has index -1 and a sample of NaN.

        Raises:
            ValueError: if the shapes do not fit.
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
        used = inside & valid[:, None]
        column, sign = signed_columns(key, ids, width, d)
        # the coordinate that each column of the table stands for in this block
        latent = jnp.sum(
            jnp.where(column[:, :, None] == place[None, None], place[None, :, None], 0), axis=1
        )
        mu = jnp.take_along_axis(jnp.where(used, sign.astype(mu.dtype) * mu, 0), latent, axis=1)
        sigma = jnp.take_along_axis(jnp.where(used, sigma, 1), latent, axis=1)

        slot = self._best_slots(table, key, mu, sigma)
        index, score = self._best_in_slots(table, key, mu, sigma, slot)
        index, score = self._rescore(table, key, mu, sigma, index, score)
        valid &= jnp.isfinite(score)
        index = jnp.where(valid, index, -1)
        sample = self.decode(key, ids, jnp.maximum(index, 0), width, d, table.dtype)
        return index, jnp.where(valid[:, None], sample, jnp.nan)

    @functools.partial(jax.jit, static_argnums=(0, 5, 6))
    def decode(
        self,
        key: Array,
        ids: UInt32[Array, "B 2"],
        index: Int[Array, "B"],
        width: Int[Array, "B"],
        d: int,
        dtype=jnp.float32,
    ) -> Float[Array, "B d"]:
        """The coded blocks, each regenerated in O(d) from its index; zero from column ``width`` on.

        Args:
            key: the key of the encoder's table.
            ids: the encoder's ids.
            index: the encoder's indices.
            width: coordinates a block has.
            d: columns to return, at least the largest width.
            dtype: that of the encoder's table.
        """
        width = width.astype(jnp.int32)
        column, sign = signed_columns(key, ids, width, d)
        row = candidate_rows(key, index, d, dtype)
        values = sign.astype(dtype) * jnp.take_along_axis(row, column, axis=1)
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
        """The features of ``count`` consecutive candidates, from the table if it holds them."""
        if table.shape[1] == 1:
            return _features(key, start, count, d, table)
        return lax.dynamic_slice_in_dim(table, start, count)

    def _best_slots(self, table, key, mu, sigma):
        """First candidate of the slot with the largest score, [B]."""
        n, (batch, d) = self.candidates, mu.shape
        tile = min(n, _TILE)
        slots = max(1, tile // _SLOT)
        groups, lanes = lane_groups(batch, _LANES)
        precision = 1 / (sigma * sigma)
        coefficients = jnp.concatenate(
            [0.5 - 0.5 * precision, mu * precision, jnp.ones_like(mu[:, :1])], axis=1
        )
        coefficients = jnp.pad(coefficients, ((0, groups * lanes - batch), (0, 0)))
        coefficients = coefficients.reshape(groups, lanes, 2 * d + 1).transpose(0, 2, 1)

        def step(t, best):
            rows = self._rows(table, key, t * tile, tile, d)

            def top(group):
                product = jnp.matmul(rows, group, precision=lax.Precision.HIGHEST)
                return product.reshape(slots, tile // slots, lanes).max(axis=1)

            score, where = best
            new = lax.map(top, coefficients)
            better = new > score
            return jnp.where(better, new, score), jnp.where(better, t, where)

        start = (
            jnp.full((groups, slots, lanes), -jnp.inf, mu.dtype),
            jnp.zeros((groups, slots, lanes), jnp.int32),
        )
        score, where = lax.fori_loop(jnp.int32(0), jnp.int32(n // tile), step, start)
        first = where * tile + (jnp.arange(slots, dtype=jnp.int32) * (tile // slots))[None, :, None]
        first = jnp.where(score == score.max(axis=1, keepdims=True), first, n).min(axis=1)
        return jnp.minimum(first.reshape(-1)[:batch], n - tile // slots)

    def _best_in_slots(self, table, key, mu, sigma, first):
        """The best candidate of each block's slot and its score, [B] each; groups of blocks bound the memory."""
        size = min(self.candidates, _SLOT)

        def best(block):
            m, s, start = block
            return _best_row(self._rows(table, key, start, size, mu.shape[1]), m, s)

        row, score = lax.map(best, (mu, sigma, first), batch_size=_LANES)
        return first + row, score

    def _rescore(self, table, key, mu, sigma, index, score):
        """Searches again, without expanding the square, for blocks so sharp that rounding would choose for them."""
        n, d = self.candidates, mu.shape[1]
        tile = min(n, _TILE)
        # the size of the terms near the posterior's mean, where the chosen candidate is
        sharp = jnp.sum((mu / sigma) ** 2, axis=1) > _LARGEST_TERM
        queue = jnp.argsort(~sharp)

        def search(k, found):
            block = queue[k]

            def step(t, best):
                row, value = _best_row(
                    self._rows(table, key, t * tile, tile, d), mu[block], sigma[block]
                )
                better = value > best[1]
                return jnp.where(better, t * tile + row, best[0]), jnp.where(better, value, best[1])

            start = jnp.zeros((), jnp.int32), jnp.full((), -jnp.inf, mu.dtype)
            best = lax.fori_loop(jnp.int32(0), jnp.int32(n // tile), step, start)
            return found[0].at[block].set(best[0]), found[1].at[block].set(best[1])

        return lax.fori_loop(jnp.int32(0), jnp.sum(sharp, dtype=jnp.int32), search, (index, score))


def lane_groups(batch: int, most: int) -> tuple[int, int]:
    """Equal groups of at most ``most`` blocks for one product: how many, and how many blocks each has room for.

    From 64 lanes on, the kernels of the CPU sum in the same order, whatever the batch; other backends are promised
    nothing and get one shape.
    """
    groups = max(1, -(-batch // most))
    return groups, max(
        1, -(-batch // (64 * groups))
    ) * 64 if jax.default_backend() == "cpu" else most


def candidate_rows(key, index, d, dtype):
    return normal(
        coordinate_bits(stream_key(key, Stream.CANDIDATE), index.astype(jnp.uint32), d), dtype
    )


def _features(key, start, count, d, noise):
    z = candidate_rows(key, start + jnp.arange(count, dtype=jnp.int32), d, noise.dtype)
    # six times faster on the CPU than concatenating
    rows = jnp.zeros((count, 2 * d + 1), z.dtype).at[:, :d].set(z * z).at[:, d : 2 * d].set(z)
    return rows.at[:, 2 * d :].set(lax.dynamic_slice_in_dim(noise, start, count))


def _best_row(rows, mu, sigma):
    """The first row with the largest score for one block, and that score."""
    d = mu.shape[0]
    z = rows[:, d : 2 * d]
    distance = (z - mu[None]) / sigma[None]
    score = 0.5 * jnp.sum(z * z - distance * distance, axis=1) + rows[:, 2 * d]
    return jnp.argmax(score).astype(jnp.int32), jnp.max(score)


def signed_columns(key, ids, width, d):
    """The table's column and the sign of each coordinate of each block, [B, d]: a random order of 0 .. width - 1.

    Integer arithmetic alone: one word a coordinate, 31 bits for its rank (ties by position) and one for the sign.
    """
    keys = jax.vmap(lambda pair: stream_key(key, Stream.SIGN, pair))(
        jnp.arange(-(-d // 2), dtype=jnp.uint32)
    )
    words = jnp.stack(jax.vmap(threefry2x32, (0, None, None))(keys, ids[:, 0], ids[:, 1]), axis=1)
    words = words.reshape(2 * keys.shape[0], ids.shape[0])[:d].T
    place = jnp.arange(d, dtype=jnp.int32)
    inside = place[None] < width[:, None]
    order = jnp.where(inside, words >> 1, jnp.uint32(0xFFFFFFFF))
    if d <= _FEW:
        here, there = order[:, :, None], order[:, None, :]
        before = (there < here) | ((there == here) & (place[None, None, :] < place[None, :, None]))
        column = jnp.sum(before, axis=2, dtype=jnp.int32)
    else:
        there = jnp.argsort(order, axis=1, stable=True)
        column = (
            jnp.zeros(order.shape, jnp.int32)
            .at[jnp.arange(len(order))[:, None], there]
            .set(place[None])
        )
    return column, jnp.where(inside & (words & 1 == 1), -1, 1)
