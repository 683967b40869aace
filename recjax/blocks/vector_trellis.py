"""Search for the best path through the steps of a trellis, by the algorithm of Viterbi. Free to
change.

The log-ratios of the rows in a step do not depend on the path: those of a window of steps are one
matrix product. A pass over a window from its end keeps the best score of the rest of a path for
every value of the register's low bits; a pass from its start then makes the best choices. Windows
overlap: choices of the last steps, whose future is out of view, are left to the next window.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, UInt32

from recjax.blocks.vector_scores import Search
from recjax.blocks.vector_trellis_layout import StepBits, first_register


class _Futures(NamedTuple):
    """Best scores of the rest of a path, for every value of the register's low bits."""

    middle: Float[Array, "blocks states"]  # after the first step of a block
    end: Float[Array, "blocks states"]  # after its second step


class _Path(NamedTuple):
    """State of the loop over windows."""

    register: UInt32[Array, ""]  # before the first step of the window
    index: UInt32[Array, "blocks"]
    effective_samples: Float[Array, "blocks"]


def best_path(
    search: Search, bits: StepBits
) -> tuple[UInt32[Array, "blocks"], Float[Array, "blocks"]]:
    """Chooses the index of every block.

    Args:
        search: the search, whose blocks are steps, and whose lanes are the steps of a window.
        bits: bits of the steps.

    Returns:
        The index of every block, and the product of the effective numbers of samples of its steps.
    """
    window, layout = search.shape.lanes, search.layout
    # a vector of few steps has one window
    decided = window if window >= search.shape.blocks else 3 * window // 4
    windows = -(-search.shape.blocks // decided)

    def one_window(number, path):
        start = number * decided
        gains = _gains(search, start, 1 << bits.register)
        register, index = _decide(gains, bits, path.register, decided // 2)
        place = (start // 2,)
        return _Path(
            register,
            lax.dynamic_update_slice(path.index, index, place),
            lax.dynamic_update_slice(path.effective_samples, _effective_samples(gains), place),
        )

    blocks = (windows - 1) * decided // 2 + window // 2
    zeros = jnp.zeros(blocks, search.mean.dtype)
    path = _Path(first_register(search.call, layout), zeros.astype(jnp.uint32), zeros)
    used = (jnp.int32(layout.blocks) + decided - 1) // decided
    path = lax.fori_loop(0, used, one_window, path)
    return path.index, path.effective_samples


def _gains(search: Search, start: Int[Array, ""], count: int) -> Float[Array, "window N"]:
    """Log-ratios of all rows, ``count``, in the steps of a window."""
    step = (start + jnp.arange(search.shape.lanes, dtype=jnp.int32)).astype(jnp.uint32)
    ratios = search.log_ratios(step)
    rows = search.shape.rows

    def tile(t, gains):
        return lax.dynamic_update_slice(gains, ratios.of_tile(t).T, (0, t * rows))

    gains = jnp.zeros((len(step), count), search.mean.dtype)
    gains = lax.fori_loop(0, search.tiles, tile, gains)
    # sharp steps first; the loop below, which scores them again, ends after them
    queue = jnp.argsort(~ratios.sharp)

    def again(i, gains):
        this = queue[i]
        exact = search.exact_log_ratios(step[this, None])

        def tile(t, gains):
            return lax.dynamic_update_slice(gains, exact.of_tile(t).T, (this, t * rows))

        return lax.fori_loop(0, search.tiles, tile, gains)

    return lax.fori_loop(0, jnp.sum(ratios.sharp, dtype=jnp.int32), again, gains)


def _effective_samples(gains: Float[Array, "window N"]) -> Float[Array, "blocks"]:
    """Product of Kish's effective numbers of samples in the two steps of blocks."""
    ratio = jnp.exp(gains - gains.max(axis=1, keepdims=True))
    number = ratio.sum(axis=1) ** 2 / (ratio * ratio).sum(axis=1)
    # of a target that is sharper than numbers can say only one row counts
    number = jnp.where(jnp.isfinite(number), number, 1)
    return number[0::2] * number[1::2]


def _decide(
    gains: Float[Array, "window N"], bits: StepBits, register: UInt32[Array, ""], decided: int
) -> tuple[UInt32[Array, ""], UInt32[Array, "blocks"]]:
    """Finds the best path through a window.

    Args:
        gains: scores of all rows in all steps, two for each block.
        bits: bits of the steps.
        register: the register before the window.
        decided: number of blocks after which the next window begins.

    Returns:
        The register after the decided blocks, and the indices of all blocks.
    """
    pairs = gains.reshape(len(gains) // 2, 2, -1)

    def backward(future, gain):
        middle = _value(gain[1], future, bits.second)
        return _value(gain[0], middle, bits.first), _Futures(middle, future)

    # behind the window all registers are equally good
    last = jnp.zeros(1 << (bits.register - bits.first), gains.dtype)
    _, futures = lax.scan(backward, last, pairs, reverse=True)

    def forward(register, block):
        gain, future = block
        register = _choice(gain[0], future.middle, register, bits.first)
        register = _choice(gain[1], future.end, register, bits.second)
        return register, register

    _, after = lax.scan(forward, register, (pairs, futures))
    return after[decided - 1], after & ((1 << bits.block) - 1)


def _value(gain: Float[Array, "N"], future: Float[Array, "n"], sent: int) -> Float[Array, "m"]:
    """Best score of the rest of a path before a step that sends some bits."""
    # registers that agree in their low bits share a future: it repeats along the rows
    total = gain.reshape(-1, len(future)) + future[None]
    # the step shifts its bits in at the low end: its choices are neighbours
    return total.reshape(-1, 1 << sent).max(axis=1)


def _choice(
    gain: Float[Array, "N"], future: Float[Array, "n"], register: UInt32[Array, ""], sent: int
) -> UInt32[Array, ""]:
    """Register after the best step."""
    start = register << sent & (len(gain) - 1)
    here = lax.dynamic_slice_in_dim(gain, start, 1 << sent)
    after = lax.dynamic_slice_in_dim(future, start & (len(future) - 1), 1 << sent)
    return start + jnp.argmax(here + after).astype(jnp.uint32)
