"""Trellis coding of chains of Gaussian blocks: candidates also depend on the block before.

The bits of a chain of blocks pass through a shift register of L bits. A block sends `budget` bits
in two steps. After each step, the register is the number of the candidate, one of 2^L, from which
half of the block's coordinates are read. The sample of a block therefore depends on its index and
on the index before it, and every index costs `budget` bits.

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

`TrellisCoder.decode` is frozen (FORMAT.md, section Shared randomness, version 2). The search of the
encoder is free to change.
"""

import dataclasses
import functools
import math
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
from recjax.randomness import SharedKey

_LANES = 128  # most chains per product
_COLUMNS = 32, 48  # columns of products, times powers of two: each is compiled as a branch
_MOST_BITS = 20  # largest register: the features of all candidates are stored


class _Blocks(NamedTuple):
    """Blocks with their posteriors; padding has mu = 0 and sigma = 1, those of the prior."""

    ids: UInt32[Array, "*blocks 2"]
    mu: Float[Array, "*blocks d"]
    sigma: Float[Array, "*blocks d"]
    width: Int[Array, "*blocks"]


class _Steps(NamedTuple):
    """The two steps of blocks: all first steps, then all second steps."""

    ids: UInt32[Array, "2B 2"]
    start: Int[Array, "2B"]  # first coordinate that the step codes
    count: Int[Array, "2B"]  # number of coordinates that it codes


class _Futures(NamedTuple):
    """Best scores of the rest of a path, for every value of the register's low bits."""

    middle: Float[Array, "states lanes"]  # after the first step of a block
    end: Float[Array, "states lanes"]  # after its second step


class _Backward(NamedTuple):
    """State of the pass from the last block of chains to the first."""

    future: Float[Array, "states lanes"]  # best score of the rest of a path
    futures: _Futures  # of every block, stacked


class _Forward(NamedTuple):
    """State of the pass from the first block of chains to the last."""

    register: Int[Array, "lanes"]
    index: Int[Array, "T lanes"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrellisCoder:
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

    budget: int = 16
    extra_bits: int = 0
    lookahead: int = 4

    def __post_init__(self) -> None:
        if not 4 <= self.budget <= _MOST_BITS:
            raise ValueError(f"budget must be 4 to {_MOST_BITS} bits, got {self.budget}")
        most = min(self.budget // 2, _MOST_BITS - self.budget)
        if not 0 <= self.extra_bits <= most:
            raise ValueError(
                f"extra_bits must be 0 to {most} at a budget of {self.budget} bits, "
                f"got {self.extra_bits}"
            )
        if self.lookahead < 0:
            raise ValueError(f"lookahead must not be negative, got {self.lookahead}")

    @property
    def register_bits(self) -> int:
        """L, the length of the register; there are 2^L candidates."""
        return self.budget + self.extra_bits

    @property
    def step_bits(self) -> tuple[int, int]:
        """Bits that the two steps of a block send."""
        return self.budget // 2, self.budget - self.budget // 2

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
        count = 1 << self.register_bits
        chunk = min(count, 1 << 14)

        def rows(start):
            z = candidate_rows(key, start + jnp.arange(chunk, dtype=jnp.int32), -(-d // 2), dtype)
            features = jnp.stack([z * z, z], axis=2)
            return features.reshape(chunk, *_grouped(2 * z.shape[1])).swapaxes(0, 1)

        chunks = lax.map(rows, jnp.arange(0, count, chunk, dtype=jnp.int32))
        return chunks.swapaxes(0, 1).reshape(chunks.shape[1], count, chunks.shape[3])

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
        groups, together = _grouped(2 * -(-d // 2))
        if table.shape != (groups, 1 << self.register_bits, together):
            raise ValueError(f"table must be the result of table(key, {d}), got {table.shape}")
        if (
            sigma.shape != mu.shape
            or ids.shape != (batch, window, 2)
            or width.shape != (batch, window)
        ):
            raise ValueError(
                f"shapes of ids, mu, sigma, width must be [B, W, 2], [B, W, d], [B, W, d], [B, W], "
                f"got {ids.shape}, {mu.shape}, {sigma.shape}, {width.shape}"
            )
        if batch == 0:
            return jnp.zeros(0, jnp.int32), jnp.zeros((0, d), table.dtype)
        inside = jnp.arange(d, dtype=jnp.int32)[None, None] < width.astype(jnp.int32)[:, :, None]
        sound = (
            jnp.isfinite(mu)
            & jnp.isfinite(sigma)
            & (sigma > 0)
            & jnp.isfinite(mu / (sigma * sigma))
        )
        valid = jnp.all(~inside | sound, axis=(1, 2))
        # padding and invalid chains get posterior = prior: no NaN can reach another chain
        used = inside & valid[:, None, None]
        mu, sigma = jnp.where(used, mu, 0), jnp.where(used, sigma, 1)
        blocks = _Blocks(
            *(x.reshape(batch * window, *x.shape[2:]) for x in (ids, mu, sigma, width))
        )
        coefficients = self._coefficients(key, blocks, table.dtype)
        coefficients = coefficients.reshape(2, batch, window, -1)
        search = functools.partial(self._best_paths, table)
        index = for_platform(search, _LANES, coefficients, previous)
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
        coefficients = self._chain_coefficients(table, key, _Blocks(ids, mu, sigma, width))
        length = len(width) if length is None else length
        return self._best_chains(table, coefficients, width, np.int32(length))

    @functools.partial(jax.jit, static_argnums=0)
    def _chain_coefficients(self, table, key, blocks):
        """Coefficients of all columns of the table in both steps of blocks, [T, 2, columns, B]."""
        place = jnp.arange(blocks.mu.shape[2], dtype=jnp.int32)
        inside = place[None, None] < blocks.width.astype(jnp.int32)[:, :, None]
        # padding gets posterior = prior, whose coefficients are zero
        blocks = blocks._replace(
            mu=jnp.where(inside, blocks.mu, 0), sigma=jnp.where(inside, blocks.sigma, 1)
        )
        out = lax.map(lambda block: self._coefficients(key, block, table.dtype), blocks)
        # the table may have more columns than any block
        missing = _n_columns(table) - out.shape[3]
        return jnp.pad(out, ((0, 0), (0, 0), (0, 0), (0, missing))).swapaxes(2, 3)

    @functools.partial(jax.jit, static_argnums=0)
    def _best_chains(self, table, coefficients, width, length):
        """Indices on the best paths, int32[T, B]; see `encode_chains`."""
        first, second = self.step_bits
        most_blocks, lanes = width.shape
        # most blocks are narrower than the widest: the product of a step has only as many columns,
        # of a few sizes, as the widest block of this step needs
        columns = _n_columns(table)
        sizes = [size << n for n in range(columns.bit_length()) for size in _COLUMNS]
        sizes = [size for size in sizes if size < columns] + [columns]
        needed = (jnp.max(width.astype(jnp.int32), axis=1, initial=0) + 1) // 2 * 2
        size_numbers = jnp.searchsorted(jnp.array(sizes), needed)

        def backward(i, state):
            step, future = length - 1 - i, state.future

            def scores(size, coefficients):
                middle = _value(table, future, coefficients[1, :size], second)
                return middle, _value(table, middle, coefficients[0, :size], first)

            branches = [functools.partial(scores, size) for size in sizes]
            middle, start = lax.switch(size_numbers[step], branches, coefficients[step])
            return _Backward(
                start,
                _Futures(
                    state.futures.middle.at[step].set(middle),
                    state.futures.end.at[step].set(future),
                ),
            )

        def forward(step, state):
            def after(size, coefficients):
                register = state.register
                register = _choose(
                    table, futures.middle[step], coefficients[0, :size], register, first
                )
                return _choose(table, futures.end[step], coefficients[1, :size], register, second)

            branches = [functools.partial(after, size) for size in sizes]
            register = lax.switch(size_numbers[step], branches, coefficients[step])
            index = register & ((1 << self.budget) - 1)
            return _Forward(register, state.index.at[step].set(index))

        middles, ends = (
            jnp.zeros((most_blocks, 1 << (self.register_bits - bits), lanes), table.dtype)
            for bits in (second, first)
        )
        # behind a chain's end all registers are equally good
        start = _Backward(jnp.zeros_like(ends[0]), _Futures(middles, ends))
        futures = lax.fori_loop(0, length, backward, start).futures
        none = jnp.zeros((most_blocks, lanes), jnp.int32)
        return lax.fori_loop(0, length, forward, _Forward(none[0], none)).index

    @functools.partial(jax.jit, static_argnums=(0, 6, 7))
    def decode(
        self,
        key: SharedKey,
        ids: UInt32[Array | np.ndarray, "B 2"],
        index: Int[Array | np.ndarray, "B"],
        previous: Int[Array | np.ndarray, "B"],
        width: Int[Array | np.ndarray, "B"],
        d: int,
        dtype=jnp.float32,
    ) -> Float[Array, "B d"]:
        """Regenerates one block of each chain from two indices, in O(d).

        Args:
            key: the key of the encoder's table.
            ids: the encoder's ids of these blocks.
            index: the encoder's indices of these blocks.
            previous: indices of the blocks before, 0 at a chain's start.
            width: number of coordinates of each block.
            d: number of columns to return, at least the largest width.
            dtype: dtype of the encoder's table.

        Returns:
            The samples; zero from column `width` on.
        """
        index, previous = (x.astype(jnp.uint32) for x in (index, previous))
        first, second = self.step_bits
        half = -(-d // 2)
        steps = _steps(ids, width)
        # the register after the first step of every block, then after the second
        registers = jnp.concatenate(
            [(previous << first) | (index >> second), (previous << self.budget) | index]
        )
        registers = registers & ((1 << self.register_bits) - 1)
        values = block_values(key, steps.ids, registers, steps.count, half, dtype)
        # columns: ceil(d / 2) values of the first step, then those of the second, each padded
        values = jnp.concatenate(jnp.split(values, 2), axis=1)
        place, middle = jnp.arange(d, dtype=jnp.int32)[None], steps.start[len(index) :, None]
        # the minimum keeps places beyond the block inside the array; they are masked below
        source = jnp.where(place < middle, place, jnp.minimum(place - middle, half - 1) + half)
        return jnp.where(place < width[:, None], jnp.take_along_axis(values, source, axis=1), 0)

    def _coefficients(self, key, blocks, dtype):
        """Coefficients of the table's features in both steps of every block, [2, B, columns].

        Args:
            key: the key of the table.
            blocks: `_Blocks` of B blocks.
            dtype: dtype of the table.
        """
        half = -(-blocks.mu.shape[1] // 2)
        # both steps of a block read its posterior
        mu = jnp.tile(blocks.mu.astype(dtype), (2, 1))
        precision = jnp.tile(1 / jnp.square(blocks.sigma.astype(dtype)), (2, 1))
        steps = _steps(blocks.ids, blocks.width)
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
        return jnp.stack([square, linear], axis=2).reshape(2, len(blocks.ids), 2 * half)

    def _best_paths(self, table, coefficients, previous, *, granule):
        """Index of the first block on the best path of every chain, int32[B].

        Args:
            table: features of the candidates.
            coefficients: `[2, B, W, columns]`.
            previous: index of the block before, `[B]`.
            granule: see `recjax.blocks.tiles.lane_groups`.
        """
        _, batch, window, _ = coefficients.shape
        groups, lanes = lane_groups(batch, _LANES, granule)
        # lanes beyond the batch have zero coefficients and are cut off at the end
        pad = ((0, 0), (0, groups * lanes - batch), (0, 0), (0, 0))
        coefficients = jnp.pad(coefficients, pad).reshape(2, groups, lanes, window, -1)
        coefficients = coefficients.transpose(1, 3, 0, 4, 2)
        # -1, of a chain without a choice, is no state of the register
        before = jnp.pad(jnp.maximum(previous, 0), pad[1]).reshape(groups, lanes)
        # one group at a time: only the scores of one group are in memory
        index = lax.map(lambda group: self._best_path(table, *group), (coefficients, before))
        return index.reshape(-1)[:batch]

    def _best_path(self, table, coefficients, previous):
        """Index of the first block on the best path of every lane, int32[lanes].

        Args:
            table: features of the candidates.
            coefficients: `[W, 2, columns, lanes]`.
            previous: index of the block before, `[lanes]`.
        """
        first, second = self.step_bits
        lanes = coefficients.shape[-1]
        # behind the blocks in view all registers are equally good
        future = jnp.zeros((1 << (self.register_bits - first), lanes), table.dtype)

        def block(future, coefficients):
            middle = _value(table, future, coefficients[1], second)
            return _value(table, middle, coefficients[0], first), None

        future, _ = lax.scan(block, future, coefficients[1:], reverse=True)
        middle = _value(table, future, coefficients[0, 1], second)
        register = _choose(table, middle, coefficients[0, 0], previous, first)
        register = _choose(table, future, coefficients[0, 1], register, second)
        return register & ((1 << self.budget) - 1)


def _value(table, future, coefficients, bits):
    """Best score of the rest of a path before a step, one stage of the Viterbi algorithm.

    Args:
        table: features of the 2^L candidates.
        future: score after the step, for every value of the n low bits of the register that the
            following steps keep, `[2^n, lanes]`.
        coefficients: coefficients of the leading columns of the table, `[columns, lanes]`.
        bits: number of bits that the step sends.

    Returns:
        Score before the step, for every value of the low `L - bits` bits of the register,
        `[2^(L - bits), lanes]`.
    """
    lanes, count = future.shape[1], table.shape[1]
    tile = min(count, TILE)
    part = min(tile, len(future))

    def best(start):
        rows = _rows(table, start, tile, len(coefficients))
        gain = jnp.matmul(rows, coefficients, precision=lax.Precision.HIGHEST)
        # registers that agree in their low bits share a future: it repeats along the table
        after = lax.dynamic_slice_in_dim(future, start & (len(future) - 1), part)
        total = gain.reshape(-1, part, lanes) + after[None]
        # the step shifts its bits in at the low end: its choices are neighbours in the table
        return total.reshape(-1, 1 << bits, lanes).max(axis=1)

    return lax.map(best, jnp.arange(0, count, tile, dtype=jnp.int32)).reshape(-1, lanes)


def _choose(table, future, coefficients, register, bits):
    """Register of every lane after its best step of `bits` bits, `[lanes]`."""

    def lane(future, coefficients, register):
        start = (register << bits) & (table.shape[1] - 1)
        rows = _rows(table, start, 1 << bits, len(coefficients))
        gain = jnp.sum(rows * coefficients[None], axis=1)
        after = lax.dynamic_slice_in_dim(future, start & (len(future) - 1), 1 << bits)
        return start + jnp.argmax(gain + after).astype(jnp.int32)

    return jax.vmap(lane, in_axes=(1, 1, 0))(future, coefficients, register)


def _grouped(columns):
    """Number of groups of columns of a table, and columns per group."""
    together = math.gcd(columns, 16)
    return columns // together, together


def _n_columns(table):
    return table.shape[0] * table.shape[2]


def _rows(table, start, count, columns):
    """The leading columns of `count` consecutive candidates, `[count, columns]`."""
    together = table.shape[2]
    part = lax.dynamic_slice(table, (0, start, 0), (columns // together, count, together))
    return part.swapaxes(0, 1).reshape(count, columns)


def _steps(ids, width):
    """Returns the `_Steps` of blocks.

    All steps are in one array: the cipher on two arrays would take twice the time to compile.
    """
    width = width.astype(jnp.int32)
    # floor(w / 2) coordinates belong to the first step; the steps of block n draw their orders as
    # blocks 2 n and 2 n + 1
    first, number = width // 2, 2 * ids[:, 1]
    step_ids = jnp.stack([jnp.tile(ids[:, 0], 2), jnp.concatenate([number, number + 1])], axis=1)
    return _Steps(
        step_ids,
        jnp.concatenate([jnp.zeros_like(first), first]),
        jnp.concatenate([first, width - first]),
    )
