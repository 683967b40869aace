"""Blocks of a chain from their indices. Frozen: FORMAT.md, section Shared randomness, version 2.

The bits of a chain of blocks pass through a shift register of L bits. A block sends `budget` bits
in two steps. After each step, the register is the number of the candidate, one of 2^L, from which
half of the block's coordinates are read. The sample of a block therefore depends on its index and
on the index before it, and every index costs `budget` bits.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Integer, UInt32

from recjax.blocks.candidates import block_values
from recjax.randomness import SharedKey

_MOST_BITS = 20  # largest register: the features of all candidates are stored


class Steps(NamedTuple):
    """The two steps of blocks: all first steps, then all second steps."""

    ids: UInt32[Array, "2B 2"]
    start: Int[Array, "2B"]  # first coordinate that the step codes
    count: Int[Array, "2B"]  # number of coordinates that it codes


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrellisDecoder:
    """Decoder of chains of Gaussian blocks, with `budget` bits per block.

    Attributes:
        budget: bits per block, 4 to 20.
        extra_bits: `t`, at most half of the budget; the register has L = `budget + t` bits, at most
            20.

    Raises:
        ValueError: a setting is out of range.
    """

    budget: int = 16
    extra_bits: int = 0

    def __post_init__(self) -> None:
        if not 4 <= self.budget <= _MOST_BITS:
            raise ValueError(f"budget must be 4 to {_MOST_BITS} bits, got {self.budget}")
        most = min(self.budget // 2, _MOST_BITS - self.budget)
        if not 0 <= self.extra_bits <= most:
            raise ValueError(
                f"extra_bits must be 0 to {most} at a budget of {self.budget} bits, "
                f"got {self.extra_bits}"
            )

    @property
    def register_bits(self) -> int:
        """L, the length of the register; there are 2^L candidates."""
        return self.budget + self.extra_bits

    @property
    def step_bits(self) -> tuple[int, int]:
        """Bits that the two steps of a block send."""
        return self.budget // 2, self.budget - self.budget // 2

    def index_of(self, register: Integer[Array, "*blocks"]) -> Integer[Array, "*blocks"]:
        """The index of a block, from the register after its second step."""
        return register & ((1 << self.budget) - 1)

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
        steps = steps_of(ids, width)
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


def steps_of(ids: UInt32[Array | np.ndarray, "B 2"], width: Int[Array | np.ndarray, "B"]) -> Steps:
    """Returns the steps of blocks.

    All steps are in one array: the cipher on two arrays would take twice the time to compile.
    """
    width = width.astype(jnp.int32)
    # floor(w / 2) coordinates belong to the first step; the steps of block n draw their orders as
    # blocks 2 n and 2 n + 1
    first, number = width // 2, 2 * ids[:, 1]
    step_ids = jnp.stack([jnp.tile(ids[:, 0], 2), jnp.concatenate([number, number + 1])], axis=1)
    return Steps(
        step_ids,
        jnp.concatenate([jnp.zeros_like(first), first]),
        jnp.concatenate([first, width - first]),
    )
