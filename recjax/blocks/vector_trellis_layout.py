"""Steps of a trellis through the blocks of a vector. Frozen: FORMAT.md, section Vectors.

The bits of the indices of all blocks pass through a shift register of L bits. A block sends its
bits in two steps, each of which codes half of the block. After a step, the register is the number
of the row that the step's coordinates read.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt32

from recjax.blocks import vector_layout
from recjax.blocks.vector_layout import Layout
from recjax.words import Word


class StepBits(NamedTuple):
    """Numbers of bits.

    Attributes:
        first: bits that the first step of a block sends.
        second: bits that its second step sends.
        register: L, the bits of the register; there are 2^L rows.
    """

    first: int
    second: int
    register: int

    @property
    def block(self) -> int:
        """Bits of an index."""
        return self.first + self.second


def step_bits(log2_candidates: int, extra_bits: int) -> StepBits:
    """The bits of steps, and of a register that holds ``extra_bits`` more than one block sends.

    >>> step_bits(9, 4), step_bits(0, 4)
    (StepBits(first=2, second=3, register=9), StepBits(first=0, second=0, register=0))
    """
    bits = max(log2_candidates - extra_bits, 0)  # no candidates to spare where nothing is said
    return StepBits(bits // 2, bits - bits // 2, log2_candidates)


def layout_of_steps(layout: Layout, d: int, parts: Int[np.ndarray, "*sums"]) -> Layout:
    """Divides the blocks of a layout into two steps each, which are blocks of another layout.

    Args:
        layout: layout of the blocks.
        d: number of coordinates.
        parts: divergence as `recjax.blocks.vector_layout.parts_of_bits` returns it.

    >>> layout_of_steps(Layout(5, 14, 200, None), 1000, np.array(256 * 50))
    Layout(blocks=10, log2_candidates=14, columns=100, starts=None, steps=2)
    """
    steps = 2 * layout.blocks
    if layout.starts is None:
        columns = max(-(-d // steps), vector_layout.LEAST_COLUMNS)
        return Layout(steps, layout.log2_candidates, columns, None, steps=2)
    starts = layout.starts.astype(np.int64)
    before, after = parts[starts[:-1]], parts[starts[1:]]
    # as many coordinates as have at most half of the block's divergence; of one coordinate none,
    # since the second step chooses among more rows
    middles = np.searchsorted(parts, (before + after) // 2, side="right") - 1
    middles = np.clip(middles, starts[:-1], starts[1:])
    starts = np.append(np.stack([starts[:-1], middles], axis=1).ravel(), starts[-1])
    columns = max(int(np.diff(starts).max()), vector_layout.LEAST_COLUMNS)
    return Layout(steps, layout.log2_candidates, columns, starts.astype(np.uint32))


def first_register(call: Word, layout: Layout) -> UInt32[Array, ""]:
    """The register before the first step, which differs from call to call."""
    return vector_layout.heads(call, layout, jnp.uint32(0))[1]


def registers(
    call: Word, layout: Layout, bits: StepBits, index: UInt32[Array, "blocks"]
) -> UInt32[Array, "steps"]:
    """The register after every step, from the indices of the blocks."""
    blocks, b = len(index), bits.block
    if b == 0:
        return jnp.zeros(2 * blocks, jnp.uint32)
    number = jnp.arange(blocks, dtype=jnp.int32)
    start = first_register(call, layout)

    def after(number):
        """The register after a block, of which there may be none."""
        # as many indices as the register holds, the last one at its low end
        register = jnp.zeros(blocks, jnp.uint32)
        for back in range(-(-bits.register // b)):
            place = number - back
            piece = index.at[place].get(mode="clip") << (b * back)
            register |= jnp.where(place >= 0, piece, 0)
        # the bits before the first block move out of the register within 20 steps
        moved = jnp.minimum(b * (number + 1), bits.register).astype(jnp.uint32)
        return (register | start << moved) & jnp.uint32((1 << bits.register) - 1)

    low = jnp.uint32((1 << bits.register) - 1)
    middle = (after(number - 1) << bits.first | index >> bits.second) & low
    return jnp.stack([middle, after(number)], axis=1).ravel()
