"""Ordered random coding of many small Gaussian blocks against one shared table of candidates.

A block is a vector of at most `d` coordinates with prior N(0, I) and posterior
N(mu, diag(sigma^2)). It is coded as the index `i < N` of the one of N candidates z_i ~ N(0, I) that
maximises

    log q(z_i) / p(z_i) - log T_i,    T_i = sum_{k <= i} E_k N / (N - k),    E_k ~ Exp(1)

(ordered random coding: Theis and Yosri, *Algorithms for the communication of samples*, ICML 2022).
The law of the sample is that of importance sampling with N candidates, and small indices are more
likely than large ones.

Each block reads the columns of the table in an order and with signs of its own
(`recjax.blocks.candidates`), which costs nothing: the coefficients are permuted, not the table.

Candidates, orders and signs are frozen there. The search, `recjax.blocks.slot_search`, is free to
change.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, UInt32

from recjax.blocks.candidates import block_values, coordinate_of_column, signed_columns
from recjax.blocks.posteriors import check_shapes, is_normal, prior_unless, within
from recjax.blocks.slot_search import best_candidates, features
from recjax.randomness import SharedKey, Stream, coordinate_bits, exponential, stream_key

_CHUNK = 1 << 14  # candidates generated at once for the table


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
        chunks = lax.map(lambda start: features(key, start, chunk, d, noise), starts)
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
        batch, d = mu.shape
        if table.shape not in ((self.candidates, 2 * d + 1), (self.candidates, 1)):
            raise ValueError(
                f"table must be that of table(key, {d}), {self.candidates} rows, got {table.shape}"
            )
        check_shapes(ids, mu, sigma, width)
        if batch == 0:
            return jnp.zeros(0, jnp.int32), jnp.zeros((0, d), table.dtype)
        width = width.astype(jnp.int32)
        mu, sigma = (jnp.asarray(x, table.dtype) for x in (mu, sigma))
        inside = within(width, d)
        valid = (width >= 0) & (width <= d)
        valid &= jnp.all(~inside | is_normal(mu, sigma), axis=1)
        mu, sigma = prior_unless(inside & valid[:, None], mu, sigma)
        column, sign = signed_columns(key, ids, width, d)
        # permute the posterior into the order of the table's columns
        coordinate = coordinate_of_column(column)
        mu = jnp.take_along_axis(sign.astype(mu.dtype) * mu, coordinate, axis=1)
        sigma = jnp.take_along_axis(sigma, coordinate, axis=1)
        index, score = best_candidates(table, key, mu, sigma)
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
        return block_values(key, ids, index, width, d, dtype)
