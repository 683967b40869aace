"""The samples of any number of blocks, by one program."""

import numpy as np
from jax import Array
from jaxtyping import Float, Int

from recjax.blocks.ordered_random import BlockCoder
from recjax.blocks.trellis import TrellisCoder

_GROUP = 256  # blocks that are decoded at a time
_COLUMNS = 64  # at least


def block_samples(
    coder: BlockCoder | TrellisCoder, key: Array, *parts: np.ndarray
) -> Float[np.ndarray, "coded"]:
    """What the coder decodes: the latents of the first block, then of the second, and so on.

    Args:
      coder: of the blocks.
      key: of its candidates.
      parts: what ``coder.decode`` takes after the key, ids to widths, an array each with a row a block.
    """
    widths = parts[-1]
    count, columns = len(widths), _COLUMNS
    while columns < widths.max(
        initial=1
    ):  # in large steps: another program takes longer than the columns
        columns *= 4
    padding = -count % _GROUP
    parts = tuple(np.pad(part, [(0, padding)] + [(0, 0)] * (part.ndim - 1)) for part in parts)
    out = [np.zeros(0, np.float32)]
    for start in range(0, count, _GROUP):
        group = tuple(part[start : start + _GROUP] for part in parts)
        # what is beyond a block's width goes at once: of a large image it would be most of the memory
        out.append(
            np.asarray(coder.decode(key, *group, columns))[np.arange(columns) < group[-1][:, None]]
        )
    return np.concatenate(out)


def previous_in_chain(index: Int[np.ndarray, "..."], axis: int) -> Int[np.ndarray, "..."]:
    """The index of the block before each block of its chain, 0 at the chain's start.

    Args:
        index: indices of all blocks.
        axis: the axis along which blocks form a chain.

    >>> previous_in_chain(np.array([[3, 1, 2], [5, 4, 6]]), axis=1).tolist()
    [[0, 3, 1], [0, 5, 4]]
    """
    before = np.roll(index, 1, axis)
    before[(slice(None),) * (axis % index.ndim) + (0,)] = 0
    return before
