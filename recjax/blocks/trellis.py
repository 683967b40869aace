"""Trellis coding of chains of Gaussian blocks: candidates also depend on the block before.

Blocks are linked by a shift register of L bits, see `recjax.blocks.trellis_decoder`. The sample of
a block depends on its index and on the index before it, and every index costs `budget` bits.

The encoder finds the path with the largest sum of log q(z) / p(z). For the refined posterior of a
signal this ratio is minus the distortion, in units of the Lagrange multiplier: the path is the best
signal and not a sample of the posterior. The Viterbi algorithm compares all paths at the cost of an
exhaustive search of 2^L candidates per block, since two paths that agree in their last L bits have
the same future. `encode_chains` finds the best path of whole chains. `encode` looks `lookahead`
blocks ahead and decides the first one, so that posteriors can adapt before the next block is coded.

A single block of b bits is coded about log2(b) / 2 bits worse than a long sequence, since its
length limits the rate. In the trellis every choice still has 2^L alternatives, but blocks have no
boundary. Random trellis codes reach the rate-distortion function: A. J. Viterbi and J. K. Omura,
*Trellis encoding of memoryless discrete-time sources with a fidelity criterion*, IEEE Transactions
on Information Theory 20 (3), 1974.

The decoder, `recjax.blocks.trellis_decoder`, is frozen. The search, `recjax.blocks.viterbi`, is
free to change.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt32

from recjax.blocks.posteriors import check_shapes, is_normal, prior_unless, within
from recjax.blocks.trellis_decoder import TrellisDecoder
from recjax.blocks.trellis_features import (
    block_coefficients,
    chain_coefficients,
    feature_table,
    grouped,
)
from recjax.blocks.viterbi import best_chains, next_indices
from recjax.randomness import SharedKey


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrellisCoder(TrellisDecoder):
    """Coder of chains of Gaussian blocks, with `budget` bits per block.

    Attributes:
        budget: bits per block, 4 to 20.
        extra_bits: `t`, at most half of the budget; the register has L = `budget + t` bits, at most
            20. Encoding takes time proportional to 2^L.
        lookahead: number of blocks that `encode` looks ahead; it takes time proportional to
            `lookahead + 1`. The decoder does not need it.

    Raises:
        ValueError: a setting is out of range.

    >>> import jax, jax.numpy as jnp
    >>> coder, key = TrellisCoder(budget=8, lookahead=1), jax.random.key(0)
    >>> ids, width = jnp.array([[[0, 0], [0, 1]]], jnp.uint32), jnp.array([[3, 2]])
    >>> mu, sigma = jnp.full((1, 2, 3), 1.5), jnp.full((1, 2, 3), 0.4)
    >>> before = jnp.zeros(1, jnp.int32)
    >>> index, sample = coder.encode(coder.table(key, 3), key, ids, mu, sigma, width, before)
    >>> bool((sample == coder.decode(key, ids[:, 0], index, before, width[:, 0], 3)).all())
    True
    """

    lookahead: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lookahead < 0:
            raise ValueError(f"lookahead must not be negative, got {self.lookahead}")

    @functools.partial(jax.jit, static_argnums=(0, 2, 3))
    def table(self, key: SharedKey, d: int, dtype=jnp.float32) -> Float[Array, "groups N columns"]:
        """Computes the features of all candidates, for any number of calls of `encode`.

        Args:
            key: typed JAX key or uint32[2], known to the decoder.
            d: largest width of a block.
            dtype: float32 or float64.

        Returns:
            z^2 and z of each of the ceil(d / 2) coordinates of a step, side by side. Up to 16
            columns form a group: a product that needs few columns reads contiguous memory.
        """
        return feature_table(key, 1 << self.register_bits, d, dtype)

    @functools.partial(jax.jit, static_argnums=0)
    def encode(
        self,
        table: Float[Array, "groups N columns"],
        key: SharedKey,
        ids: UInt32[Array, "B W 2"],
        mu: Float[Array, "B W d"],
        sigma: Float[Array, "B W d"],
        width: Int[Array, "B W"],
        previous: Int[Array, "B"],
    ) -> tuple[Int[Array, "B"], Float[Array, "B d"]]:
        """Chooses the next block of each of B chains, looking W - 1 blocks ahead.

        Args:
            table: the result of `table` for `key` and `d`.
            key: the key of the table.
            ids: 63 bits that tell the blocks sharing a table apart, known to the decoder; the
                second word must be below 2^31.
            mu: posterior means, relative to the prior N(0, 1).
            sigma: posterior standard deviations, in units of the prior's.
            width: number of coordinates of each block, 0 beyond a chain's end; columns from `width`
                on are padding and ignored.
            previous: index of the block before, 0 at a chain's start.

        Returns:
            The index of each chain's first block, and the block as `decode` returns it. A chain
            without a meaningful choice (NaN or infinite mu or sigma, or sigma not positive) has
            index -1 and a sample of NaN.

        Raises:
            ValueError: the shapes do not fit.
        """
        batch, window, d = mu.shape
        groups, together = grouped(d)
        if table.shape != (groups, 1 << self.register_bits, together):
            raise ValueError(f"table must be the result of table(key, {d}), got {table.shape}")
        check_shapes(ids, mu, sigma, width)
        if batch == 0:
            return jnp.zeros(0, jnp.int32), jnp.zeros((0, d), table.dtype)
        inside = within(width, d)
        sound = is_normal(mu, sigma) & jnp.isfinite(mu / (sigma * sigma))
        valid = jnp.all(~inside | sound, axis=(1, 2))
        mu, sigma = prior_unless(inside & valid[:, None, None], mu, sigma)
        n = batch * window
        coefficients = block_coefficients(
            key,
            ids.reshape(n, 2),
            mu.reshape(n, d),
            sigma.reshape(n, d),
            width.reshape(n),
            table.dtype,
        ).reshape(2, batch, window, -1)
        index = next_indices(self, table, coefficients, previous)
        index = jnp.where(valid, index, -1)
        # -1 is no index: decode index 0 and overwrite the sample below
        sample = self.decode(
            key, ids[:, 0], jnp.maximum(index, 0), previous, width[:, 0], d, table.dtype
        )
        return index, jnp.where(valid[:, None], sample, jnp.nan)

    def encode_chains(
        self,
        table: Float[Array, "groups N columns"],
        key: SharedKey,
        ids: UInt32[Array | np.ndarray, "T B 2"],
        mu: Float[Array | np.ndarray, "T B d"],
        sigma: Float[Array | np.ndarray, "T B d"],
        width: Int[Array | np.ndarray, "T B"],
        length: int | None = None,
    ) -> Int[Array, "T B"]:
        """Finds the best path through whole chains of T blocks; `lookahead` plays no part.

        Args:
            table: the result of `table` for `key` and `d` or more.
            key: the key of the table.
            ids: 63 bits that tell the blocks sharing a table apart; the second word must be below
                2^31.
            mu: finite posterior means, relative to the prior N(0, 1).
            sigma: positive posterior standard deviations, in units of the prior's.
            width: number of coordinates of each block, 0 beyond a chain's end.
            length: number of blocks of the chains, T by default. Blocks from there on are padding,
                of index 0: one program serves all lengths.

        Returns:
            The index of every block.
        """
        if width.size == 0:
            return jnp.zeros(width.shape, jnp.int32)
        # two programs: only the first, which compiles quickly, depends on d
        coefficients = chain_coefficients(table, key, ids, mu, sigma, width)
        length = len(width) if length is None else length
        return best_chains(self, table, coefficients, width, np.int32(length))
