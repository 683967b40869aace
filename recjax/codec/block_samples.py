"""The samples of any number of blocks, by one program."""

import numpy as np
from jax import Array
from jaxtyping import Float

from recjax.samplers.block_coder import BlockCoder
from recjax.samplers.trellis_coder import TrellisCoder

_GROUP = 256  # blocks that are decoded at a time
_COLUMNS = 64  # at least


def block_samples(
    coder: BlockCoder | TrellisCoder, key: Array, *parts: np.ndarray
) -> Float[np.ndarray, "blocks width"]:
    """What the coder decodes, with at least as many columns as the widest block has latents.

    Args:
      coder: of the blocks.
      key: of its candidates.
      parts: what ``coder.decode`` takes after the key, ids to widths, an array each with a row a block.
    """
    widths = parts[-1]
    count, columns = len(widths), _COLUMNS
    while columns < widths.max(initial=1):  # in large steps: the last columns cost less than another program
        columns *= 4
    padding = -count % _GROUP
    parts = tuple(np.pad(part, [(0, padding)] + [(0, 0)] * (part.ndim - 1)) for part in parts)
    out = [
        np.asarray(coder.decode(key, *(part[i : i + _GROUP] for part in parts), columns))
        for i in range(0, count, _GROUP)
    ]
    return np.concatenate([*out, np.zeros((0, columns), np.float32)])[:count]
