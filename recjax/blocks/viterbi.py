"""Best paths through a trellis, by the algorithm of Viterbi. Free to change.

Two paths that agree in their last L bits have the same future. A pass from the last block to the
first keeps the best score of the rest of a path for every value of the register's low bits; a pass
from the first block on then makes the best choices, step by step. Chains are the lanes of products.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from recjax.blocks.tiles import for_platform, lane_groups
from recjax.blocks.trellis_decoder import TrellisDecoder
from recjax.blocks.trellis_features import leading_columns, n_columns

_LANES = 128  # most chains per product
_COLUMNS = 32, 48  # columns of products, times powers of two: each is compiled as a branch


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


@functools.partial(jax.jit, static_argnums=0)
def best_chains(
    trellis: TrellisDecoder,
    table: Float[Array, "groups N columns"],
    coefficients: Float[Array, "T 2 features B"],
    width: Int[Array | np.ndarray, "T B"],
    length: Int[Array | np.ndarray, ""],
) -> Int[Array, "T B"]:
    """Indices on the best paths through whole chains.

    Args:
        trellis: the trellis.
        table: features of the candidates.
        coefficients: coefficients of all columns of the table.
        width: number of coordinates of each block.
        length: number of blocks of the chains; those from there on are padding, of index 0.
    """
    first, second = trellis.step_bits
    most_blocks, lanes = width.shape
    # most blocks are narrower than the widest: the product of a step has only as many columns,
    # of a few sizes, as the widest block of this step needs
    columns = n_columns(table)
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
            register = _choose(table, futures.middle[step], coefficients[0, :size], register, first)
            return _choose(table, futures.end[step], coefficients[1, :size], register, second)

        branches = [functools.partial(after, size) for size in sizes]
        register = lax.switch(size_numbers[step], branches, coefficients[step])
        return _Forward(register, state.index.at[step].set(trellis.index_of(register)))

    middles, ends = (
        jnp.zeros((most_blocks, 1 << (trellis.register_bits - bits), lanes), table.dtype)
        for bits in (second, first)
    )
    # behind a chain's end all registers are equally good
    start = _Backward(jnp.zeros_like(ends[0]), _Futures(middles, ends))
    futures = lax.fori_loop(0, length, backward, start).futures
    none = jnp.zeros((most_blocks, lanes), jnp.int32)
    return lax.fori_loop(0, length, forward, _Forward(none[0], none)).index


def next_indices(
    trellis: TrellisDecoder,
    table: Float[Array, "groups N columns"],
    coefficients: Float[Array, "2 B W features"],
    previous: Int[Array, "B"],
) -> Int[Array, "B"]:
    """Index of the first of W blocks on the best path of every chain.

    Args:
        trellis: the trellis.
        table: features of the candidates.
        coefficients: coefficients of the blocks in both steps.
        previous: index of the block before.
    """
    search = functools.partial(_next_indices, trellis, table)
    return for_platform(search, _LANES, coefficients, previous)


def _next_indices(trellis, table, coefficients, previous, *, products):
    """`next_indices` with products of one platform, see `recjax.blocks.tiles`."""
    _, batch, window, _ = coefficients.shape
    groups, lanes = lane_groups(batch, _LANES, products.granule)
    # lanes beyond the batch have zero coefficients and are cut off at the end
    pad = ((0, 0), (0, groups * lanes - batch), (0, 0), (0, 0))
    coefficients = jnp.pad(coefficients, pad).reshape(2, groups, lanes, window, -1)
    coefficients = coefficients.transpose(1, 3, 0, 4, 2)
    # -1, of a chain without a choice, is no state of the register
    before = jnp.pad(jnp.maximum(previous, 0), pad[1]).reshape(groups, lanes)
    # one group at a time: only the scores of one group are in memory
    index = lax.map(lambda group: _best_path(trellis, table, *group), (coefficients, before))
    return index.reshape(-1)[:batch]


def _best_path(trellis, table, coefficients, previous):
    """Index of the first block on the best path of every lane, int32[lanes].

    Args:
        trellis: the trellis.
        table: features of the candidates.
        coefficients: `[W, 2, columns, lanes]`.
        previous: index of the block before, `[lanes]`.
    """
    first, second = trellis.step_bits
    lanes = coefficients.shape[-1]
    # behind the blocks in view all registers are equally good
    future = jnp.zeros((1 << (trellis.register_bits - first), lanes), table.dtype)

    def block(future, coefficients):
        middle = _value(table, future, coefficients[1], second)
        return _value(table, middle, coefficients[0], first), None

    future, _ = lax.scan(block, future, coefficients[1:], reverse=True)
    middle = _value(table, future, coefficients[0, 1], second)
    register = _choose(table, middle, coefficients[0, 0], previous, first)
    register = _choose(table, future, coefficients[0, 1], register, second)
    return trellis.index_of(register)


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
    search = functools.partial(_stage, bits=bits)
    return for_platform(search, future.shape[1], table, future, coefficients)


def _stage(table, future, coefficients, *, bits, products):
    """`_value` with products of one platform, see `recjax.blocks.tiles`."""
    lanes, count = future.shape[1], table.shape[1]
    tile = min(count, products.tile)
    part = min(tile, len(future))

    def best(start):
        rows = leading_columns(table, start, tile, len(coefficients))
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
        rows = leading_columns(table, start, 1 << bits, len(coefficients))
        gain = jnp.sum(rows * coefficients[None], axis=1)
        after = lax.dynamic_slice_in_dim(future, start & (len(future) - 1), 1 << bits)
        return start + jnp.argmax(gain + after).astype(jnp.int32)

    return jax.vmap(lane, in_axes=(1, 1, 0))(future, coefficients, register)
