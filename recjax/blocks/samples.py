"""Samples of any number of blocks, by one program. Free to change: the coders decide the values."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, UInt32

from recjax.randomness import SharedKey

_GROUP = 256  # blocks per call of the decoder
_COLUMNS = 64  # fewest columns of a call


@runtime_checkable
class BlockDecoder(Protocol):
    """A coder of blocks, such as `BlockCoder` and `TrellisCoder`, that regenerates samples."""

    decode: Callable[..., Any]


def block_samples(
    coder: BlockDecoder,
    key: SharedKey,
    ids: UInt32[np.ndarray, "B 2"],
    *arrays: Int[np.ndarray, "B"],
) -> Float[np.ndarray, "coded"]:
    """Decodes blocks: the latents of the first block, then of the second, and so on.

    A Python loop calls one compiled program for every 256 blocks. One program for all blocks would
    be compiled again for every number of blocks, and hold the padded samples of all of them.

    Args:
        coder: the coder of the blocks.
        key: key of the candidates.
        ids: ids of the blocks.
        arrays: further arguments of `coder.decode`, one entry per block: the indices, for a
            `TrellisCoder` also the indices of the blocks before, and the widths.

    Returns:
        float32 latents, `sum(widths)` of them.
    """
    widths = arrays[-1]
    count, columns = len(widths), _COLUMNS
    # in large steps: compiling another program takes longer than unused columns
    while columns < widths.max(initial=1):
        columns *= 4
    # whole groups: added blocks have width 0 and leave nothing behind
    padding = -count % _GROUP
    padded = [
        np.pad(array, [(0, padding)] + [(0, 0)] * (array.ndim - 1)) for array in (ids, *arrays)
    ]
    latents = [np.zeros(0, np.float32)]
    for start in range(0, count, _GROUP):
        group = [array[start : start + _GROUP] for array in padded]
        values = np.asarray(coder.decode(key, *group, columns))
        # drop the padding of every group at once: of a large image it would be most of the memory
        latents.append(values[np.arange(columns) < group[-1][:, None]])
    return np.concatenate(latents)


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
