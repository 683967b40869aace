"""Which latents of an image form a block: an allocation that follows the image.

Every cell of one level of the pyramid has a class of activity, which the file says first. For each class and latent the
prior lists the KL that is to be expected, as an integer, and the file says for every level how much more or less it
has; so the decoder knows without floating point how many bits are to be expected where. The latents of a level, in a
random order known to both, fill blocks of about ``budget`` bits.
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Int, UInt16, UInt32

UNIT = 256
"""Units of a bit."""
FACTOR_UNIT = 32
"""What a file says of a level is 1 to 256 of these: how many bits it has for one that is expected."""
MOST = 10 * UNIT
"""No latent is expected to have more, so that no block of at least 14 bits is empty."""


@dataclasses.dataclass(frozen=True, eq=False)
class Blocks:
    """The blocks of one level of one image.

    Attributes:
      latents: numbers of the latents in the order of the blocks: row-major cells, then latents of a cell.
      widths: how many of them each block takes.
    """

    latents: Int[np.ndarray, "coded"]
    widths: Int[np.ndarray, "blocks"]

    @functools.cached_property
    def table(self) -> Int[np.ndarray, "blocks width"]:
        """Latents of every block, padded with -1 to the widest."""
        out = np.full((len(self.widths), int(self.widths.max(initial=0))), -1, np.int64)
        out[np.arange(out.shape[1]) < self.widths[:, None]] = self.latents
        return out


def scaled(units: UInt16[np.ndarray, "..."], factor: int) -> UInt16[np.ndarray, "..."]:
    """Units times ``factor / FACTOR_UNIT``, rounded; those with 0 stay 0, the others are at least 1.

    >>> scaled(np.array([0, 1, 100, 2000], np.uint16), 64).tolist()
    [0, 2, 200, 2560]
    """
    out = np.clip((units.astype(np.int64) * factor + FACTOR_UNIT // 2) // FACTOR_UNIT, 1, MOST)
    return np.where(units > 0, out, 0).astype(np.uint16)


def count_blocks(units: int, budget: int) -> int:
    """Blocks for latents with so many units of expected KL together.

    >>> [count_blocks(units, 16) for units in (0, 1, 16 * 256, 40 * 256)]
    [0, 1, 1, 3]
    """
    return max(1, (units + budget * UNIT // 2) // (budget * UNIT)) if units else 0


def allocate(
    units: UInt16[np.ndarray, "*shape"], words: UInt32[np.ndarray, "coded"], budget: int
) -> Blocks:
    """Fills blocks with latents.

    Args:
      units: expected KL of every latent; those with 0 are not coded.
      words: random, one for each latent that is coded; ties keep their order.
      budget: bits a block; the total is divided evenly over the nearest number of blocks.

    >>> blocks = allocate(np.array([[256, 0, 512], [512, 256, 512]], np.uint16), np.arange(5, dtype=np.uint32), 4)
    >>> blocks.latents.tolist(), blocks.widths.tolist()
    ([0, 2, 3, 4, 5], [2, 3])
    """
    flat = units.reshape(-1)
    coded = np.flatnonzero(flat)[np.argsort(words, kind="stable")]
    if not len(coded):
        return Blocks(coded, np.zeros(0, np.int64))
    ends = np.cumsum(flat[coded], dtype=np.uint64)
    count = count_blocks(int(ends[-1]), budget)
    # as a fraction: the error of a rounded mean would add up to whole blocks
    number = (ends - (flat[coded] + 1) // 2) * np.uint64(count) // ends[-1]
    return Blocks(coded, np.bincount(number.astype(np.int64), minlength=count))
