"""A trellis of Gaussian candidates: blocks whose candidates also depend on the block before.

The bits of a chain of blocks pass through a shift register of L bits. A block sends ``budget`` of them in two steps,
and after each step the register is the number of the candidate, one of 2^L, that half of the block's coordinates is
read from. So the sample of a block hangs on its own index and the one before; every index costs ``budget`` bits.

The encoder wants the path with the largest sum of log q(z) / p(z). To the refined posterior of a signal that ratio is
minus its distortion, in units of the price of a nat, so this is the best signal and not a sample of the posterior. The
Viterbi algorithm compares all paths; it is the cost of a bare search of 2^L candidates for every block, since two paths
that agree in the last L bits have the same future. `encode_chains` finds the best path of whole chains. `encode` looks
``lookahead`` blocks ahead and decides the first one, so that posteriors can adapt to it before the next block is coded.

A single block of b bits is coded about half a log2(b) bits worse than a long sequence (the rate is limited by the
block's length). In the trellis every choice still has 2^L alternatives, but no boundary. Random trellis codes reach
the rate-distortion function: A. J. Viterbi and J. K. Omura, *Trellis encoding of memoryless discrete-time sources
with a fidelity criterion*, IEEE Transactions on Information Theory 20 (3), 1974.
"""

import dataclasses
import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, UInt32

from recjax.blocks.ordered_random import candidate_rows, lane_groups, signed_columns

_TILE = 2048  # candidates a product
_LANES = 128  # most chains a product
_COLUMNS = 32, 48  # of a product, and these times powers of two: each is a program of its own
_MOST_BITS = 20  # of the register: the features of all candidates are kept


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrellisCoder:
    """Codes chains of Gaussian blocks, each with ``budget`` bits.

    Attributes:
        budget: bits a block, 4 to 20.
        extra_bits: ``t``, at most half of the budget; the register has L = ``budget + t`` bits, at most 20. Encoding
            takes time proportional to 2^L.
        lookahead: blocks that the encoder looks ahead; it takes time proportional to ``lookahead + 1``. The decoder
            does not need it.

    Raises:
        ValueError: if a setting is out of range.

    >>> import jax, jax.numpy as jnp
    >>> coder, key = TrellisCoder(budget=8, lookahead=1), jax.random.key(0)
    >>> ids, width = jnp.array([[[0, 0], [0, 1]]], jnp.uint32), jnp.array([[3, 2]])
    >>> mu, sigma, before = jnp.full((1, 2, 3), 1.5), jnp.full((1, 2, 3), 0.4), jnp.zeros(1, jnp.int32)
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
                f"extra_bits must be 0 to {most} at a budget of {self.budget} bits, got {self.extra_bits}"
            )
        if self.lookahead < 0:
            raise ValueError(f"lookahead must not be negative, got {self.lookahead}")

    @property
    def register_bits(self) -> int:
        """L: there are 2^L candidates."""
        return self.budget + self.extra_bits

    @property
    def step_bits(self) -> tuple[int, int]:
        """Bits sent in the two steps of a block."""
        return self.budget // 2, self.budget - self.budget // 2

    @functools.partial(jax.jit, static_argnums=(0, 2, 3))
    def table(self, key: Array, d: int, dtype=jnp.float32) -> Float[Array, "groups N columns"]:
        """The features z^2 and z of all candidates, for any number of calls of `encode`.

        Up to 16 columns lie together, so that a product that needs fewer columns reads whole lines.

        Args:
            key: a typed JAX key or uint32[2], known to the decoder.
            d: the largest width of a block.
            dtype: float32 or float64.
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
        key: Array,
        ids: UInt32[Array, "B W 2"],
        mu: Float[Array, "B W d"],
        sigma: Float[Array, "B W d"],
        width: Int[Array, "B W"],
        previous: Int[Array, "B"],
    ) -> tuple[Int[Array, "B"], Float[Array, "B d"]]:
        """The next block of each of B chains, chosen with the W - 1 blocks after it in view.

        Args:
            table: what `table` returned for ``key`` and ``d``.
            key: the key of the table.
            ids: what tells the blocks sharing a table apart, known to the decoder; the second word below 2^31.
            mu: posterior means, relative to the prior N(0, 1).
            sigma: posterior standard deviations, in units of the prior's.
            width: coordinates a block has; those from ``width`` on are padding and ignored. 0 beyond a chain's end.
            previous: the index of the block before, 0 at a chain's start.

        Returns:
            The index of each chain's first block, and the block as `decode` returns it. A chain without a meaningful
            choice (NaN or infinite mu or sigma, or sigma not positive) has index -1 and a sample of NaN.

        Raises:
            ValueError: if the shapes do not fit.
        """
        batch, window, d = mu.shape
        groups, together = _grouped(2 * -(-d // 2))
        if table.shape != (groups, 1 << self.register_bits, together):
            raise ValueError(f"table must be that of table(key, {d}), got {table.shape}")
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
        mu, sigma = (
            jnp.where(inside & valid[:, None, None], x, y) for x, y in ((mu, 0), (sigma, 1))
        )
        flat = tuple(x.reshape(batch * window, *x.shape[2:]) for x in (ids, mu, sigma, width))
        coefficients = self._coefficients(key, flat, table.dtype)
        coefficients = coefficients.reshape(2, batch, window, -1)
        groups, lanes = lane_groups(batch, _LANES)
        pad = ((0, 0), (0, groups * lanes - batch), (0, 0), (0, 0))
        coefficients = (
            jnp.pad(coefficients, pad)
            .reshape(2, groups, lanes, window, -1)
            .transpose(1, 3, 0, 4, 2)
        )
        before = jnp.pad(jnp.maximum(previous, 0), pad[1]).reshape(groups, lanes)
        index = lax.map(
            lambda group: self._best_path(table, *group), (coefficients, before)
        ).reshape(-1)
        index = jnp.where(valid, index[:batch], -1)
        sample = self.decode(
            key, ids[:, 0], jnp.maximum(index, 0), previous, width[:, 0], d, table.dtype
        )
        return index, jnp.where(valid[:, None], sample, jnp.nan)

    def encode_chains(
        self,
        table: Float[Array, "groups N columns"],
        key: Array,
        ids: UInt32[Array, "T B 2"],
        mu: Float[Array, "T B d"],
        sigma: Float[Array, "T B d"],
        width: Int[Array, "T B"],
        length: Int[Array, ""] | int | None = None,
    ) -> Int[Array, "T B"]:
        """The best path through whole chains of T blocks, whatever ``lookahead`` is.

        Args:
            table: what `table` returned for ``key`` and ``d`` or more columns.
            key: the key of the table.
            ids: what tells the blocks sharing a table apart; the second word below 2^31.
            mu: finite posterior means, relative to the prior N(0, 1).
            sigma: positive posterior standard deviations, in units of the prior's.
            width: coordinates a block has; 0 beyond a chain's end.
            length: blocks of the chains, at most T; those from there on are padding, whose index is 0.
                One program serves all lengths.

        Returns:
            The index of every block.
        """
        if width.size == 0:
            return jnp.zeros(width.shape, jnp.int32)
        # two programs: the first depends on d, the second, which takes long to compile, does not
        coefficients = self._chain_coefficients(table, key, ids, mu, sigma, width)
        return self._best_chains(
            table, coefficients, width, len(width) if length is None else length
        )

    @functools.partial(jax.jit, static_argnums=0)
    def _chain_coefficients(self, table, key, ids, mu, sigma, width):
        """`_coefficients` of all blocks, [T, 2, columns of the table, B]."""
        width = width.astype(jnp.int32)
        inside = jnp.arange(mu.shape[2], dtype=jnp.int32)[None, None] < width[:, :, None]
        blocks = ids, jnp.where(inside, mu, 0), jnp.where(inside, sigma, 1), width
        out = lax.map(lambda block: self._coefficients(key, block, table.dtype), blocks)
        padding = _columns(table) - out.shape[3]
        return jnp.pad(out, ((0, 0), (0, 0), (0, 0), (0, padding))).swapaxes(2, 3)

    @functools.partial(jax.jit, static_argnums=0)
    def _best_chains(self, table, coefficients, width, length):
        first, second = self.step_bits
        most_blocks, lanes = width.shape
        length = jnp.asarray(length, jnp.int32)
        # most blocks are narrower than the widest: a product has the columns that some chain needs in this step
        sizes = [size << n for n in range(_columns(table).bit_length()) for size in _COLUMNS]
        sizes = [size for size in sizes if size < _columns(table)] + [_columns(table)]
        most = (jnp.max(width.astype(jnp.int32), axis=1, initial=0) + 1) // 2 * 2
        which = jnp.searchsorted(jnp.array(sizes), most)

        def before(i, state):
            step, future = length - 1 - i, state.future

            def values(size, halves):
                middle = _value(table, future, halves[1, :size], second)
                return middle, _value(table, middle, halves[0, :size], first)

            branches = [functools.partial(values, size) for size in sizes]
            middle, earlier = lax.switch(which[step], branches, coefficients[step])
            return _Futures(
                earlier, state.middles.at[step].set(middle), state.ends.at[step].set(future)
            )

        def chosen(step, path):
            middle, end = futures.middles[step], futures.ends[step]

            def after(size, halves):
                register = _choose(table, middle, halves[0, :size], path.register, first)
                return _choose(table, end, halves[1, :size], register, second)

            branches = [functools.partial(after, size) for size in sizes]
            register = lax.switch(which[step], branches, coefficients[step])
            sent = register & ((1 << self.budget) - 1)
            return _Path(register, path.index.at[step].set(sent))

        kept = [1 << (self.register_bits - bits) for bits in (second, first)]
        middles, ends = (jnp.zeros((most_blocks, n, lanes), table.dtype) for n in kept)
        end = _Futures(jnp.zeros_like(ends[0]), middles, ends)
        futures = lax.fori_loop(0, length, before, end)
        start = _Path(jnp.zeros(lanes, jnp.int32), jnp.zeros((most_blocks, lanes), jnp.int32))
        return lax.fori_loop(0, length, chosen, start).index

    @functools.partial(jax.jit, static_argnums=(0, 6, 7))
    def decode(
        self,
        key: Array,
        ids: UInt32[Array, "B 2"],
        index: Int[Array, "B"],
        previous: Int[Array, "B"],
        width: Int[Array, "B"],
        d: int,
        dtype=jnp.float32,
    ) -> Float[Array, "B d"]:
        """One block of each chain, regenerated in O(d) from two indices; zero from column ``width`` on.

        Args:
            key: the key of the encoder's table.
            ids: the encoder's ids of these blocks.
            index: the encoder's indices.
            previous: those of the blocks before, 0 at a chain's start.
            width: coordinates a block has.
            d: columns to return, at least the largest width.
            dtype: that of the encoder's table.
        """
        index, previous = (x.astype(jnp.uint32) for x in (index, previous))
        first, second = self.step_bits
        half = -(-d // 2)
        own, start, count = _halves(ids, width)
        registers = jnp.concatenate(
            [(previous << first) | (index >> second), (previous << self.budget) | index]
        )
        rows = candidate_rows(key, registers & ((1 << self.register_bits) - 1), half, dtype)
        column, sign = signed_columns(key, own, count, half)
        values = sign.astype(dtype) * jnp.take_along_axis(rows, column, axis=1)
        values = jnp.concatenate(jnp.split(values, 2), axis=1)
        place, middle = jnp.arange(d, dtype=jnp.int32)[None], start[len(index) :, None]
        there = jnp.where(place < middle, place, jnp.minimum(place - middle, half - 1) + half)
        return jnp.where(place < width[:, None], jnp.take_along_axis(values, there, axis=1), 0)

    def _coefficients(self, key, blocks, dtype):
        """What the features of the table are multiplied with in either step of every block, [2, B, 2 d']."""
        ids, mu, sigma, width = blocks
        half = -(-mu.shape[1] // 2)
        place = jnp.arange(half, dtype=jnp.int32)
        mu, precision = (
            jnp.tile(mu.astype(dtype), (2, 1)),
            jnp.tile(1 / jnp.square(sigma.astype(dtype)), (2, 1)),
        )
        own, start, count = _halves(ids, width)
        column, sign = signed_columns(key, own, count, half)
        # the coordinate of the half that each column stands for
        local = jnp.sum(
            jnp.where(column[:, :, None] == place[None, None], place[None, :, None], 0), axis=1
        )
        there = jnp.clip(start[:, None] + local, 0, mu.shape[1] - 1)
        m, p, s = (
            jnp.take_along_axis(x, i, axis=1)
            for x, i in ((mu, there), (precision, there), (sign, local))
        )
        used = local < count[:, None]
        square, linear = (
            jnp.where(used, 0.5 - 0.5 * p, 0),
            jnp.where(used, s.astype(dtype) * m * p, 0),
        )
        return jnp.stack([square, linear], axis=2).reshape(2, len(ids), 2 * half)

    def _best_path(self, table, coefficients, previous):
        """Index of the first block on the best path through coefficients [W, 2, columns, lanes], int32[lanes]."""
        first, second = self.step_bits
        lanes = coefficients.shape[-1]
        future = jnp.zeros((1 << (self.register_bits - first), lanes), table.dtype)

        def block(future, coefficients):
            middle = _value(table, future, coefficients[1], second)
            return _value(table, middle, coefficients[0], first), None

        future, _ = lax.scan(block, future, coefficients[1:], reverse=True)
        middle = _value(table, future, coefficients[0, 1], second)
        register = _choose(table, middle, coefficients[0, 0], previous, first)
        register = _choose(table, future, coefficients[0, 1], register, second)
        return register & ((1 << self.budget) - 1)


class _Futures(NamedTuple):
    """Best scores of the rest of the paths: before the block at hand, between and after the steps of all."""

    future: Array
    middles: Array
    ends: Array


class _Path(NamedTuple):
    """Register after the block at hand, and the indices of the blocks."""

    register: Array
    index: Array


def _value(table, future, coefficients, bits):
    """The best score of the rest of a path before a step of ``bits`` bits, from the one after it.

    Args:
        future: the score after the step for every value of the low bits of the register that the steps after it
            keep, ``[2^kept, lanes]``.
        coefficients: ``[columns, lanes]``, of as many columns of the table as matter.

    Returns:
        The score before the step for every value of the low ``L - bits`` bits, ``[2^(L - bits), lanes]``.
    """
    lanes = future.shape[1]
    count = table.shape[1]
    tile = min(count, _TILE)
    part = min(tile, len(future))

    def best(start):
        rows = _rows(table, start, tile, len(coefficients))
        gain = jnp.matmul(rows, coefficients, precision=lax.Precision.HIGHEST)
        after = lax.dynamic_slice_in_dim(future, start & (len(future) - 1), part)
        return (
            (gain.reshape(-1, part, lanes) + after[None]).reshape(-1, 1 << bits, lanes).max(axis=1)
        )

    return lax.map(best, jnp.arange(0, count, tile, dtype=jnp.int32)).reshape(-1, lanes)


def _choose(table, future, coefficients, register, bits):
    """The register of every lane after the best step of ``bits`` bits, ``[lanes]``."""

    def one(future, coefficients, register):
        start = (register << bits) & (table.shape[1] - 1)
        rows = _rows(table, start, 1 << bits, len(coefficients))
        gain = jnp.sum(rows * coefficients[None], axis=1)
        after = lax.dynamic_slice_in_dim(future, start & (len(future) - 1), 1 << bits)
        return start + jnp.argmax(gain + after).astype(jnp.int32)

    return jax.vmap(one, in_axes=(1, 1, 0))(future, coefficients, register)


def _grouped(columns):
    """Groups of columns of a table, and columns per group."""
    together = math.gcd(columns, 16)
    return columns // together, together


def _columns(table):
    return table.shape[0] * table.shape[2]


def _rows(table, start, count, columns):
    """The first columns of consecutive candidates, ``[count, columns]``."""
    together = table.shape[2]
    part = lax.dynamic_slice(table, (0, start, 0), (columns // together, count, together))
    return part.swapaxes(0, 1).reshape(count, columns)


def _halves(ids, width):
    """Ids, first coordinate and number of coordinates of the two steps of every block: all first ones, then the second.

    One array of both, since the cipher on each of two would take twice the time to compile.
    """
    width = width.astype(jnp.int32)
    first, number = width // 2, 2 * ids[:, 1]
    own = jnp.stack([jnp.tile(ids[:, 0], 2), jnp.concatenate([number, number + 1])], axis=1)
    return (
        own,
        jnp.concatenate([jnp.zeros_like(first), first]),
        jnp.concatenate([first, width - first]),
    )
