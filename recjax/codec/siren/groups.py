"""Groups of latents: rows of one kind (image, region, patch) with a prior and a block partition of their own.

A file holds the groups in the order image, region, patch: the hierarchy of RECOMBINER (He et al., ICLR 2024, section
3.3). The weights' latents of a patch are the sum over its image, its region of patches and itself; the latents of its
grid are its own. Without hierarchy there is the group of patches only.
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float32, Int32

from recjax.codec.siren.partition import block_table

KINDS = ("image", "region", "patch")


@dataclasses.dataclass(frozen=True, eq=False)
class LatentGroup:
    """What encoder and decoder share about the latents of one kind of row.

    Attributes:
      kind: ``"image"``, ``"region"`` or ``"patch"``.
      scale: standard deviation of every latent.
      log_std: of a posterior relative to the prior, where its fit starts.
      order: the latents in coding order; those not listed are 0.
      widths: how many of them each block takes.
    """

    kind: str
    scale: Float32[np.ndarray, "latents"]
    log_std: Float32[np.ndarray, "latents"]
    order: Int32[np.ndarray, "coded"]
    widths: Int32[np.ndarray, "blocks"]

    @property
    def n_latents(self) -> int:
        return len(self.scale)

    @property
    def n_blocks(self) -> int:
        """Blocks a row."""
        return len(self.widths)

    @functools.cached_property
    def blocks(self) -> Int32[np.ndarray, "blocks width"]:
        """Latents of every block, padded with ``n_latents``."""
        return block_table(self.order, self.widths, self.n_latents)


def kinds(levels: int) -> tuple[str, ...]:
    """The kinds of rows of a hierarchy.

    >>> kinds(2)
    ('image', 'patch')
    """
    return {1: ("patch",), 2: ("image", "patch"), 3: KINDS}[levels]


def n_rows(kind: str, patches: tuple[int, int], region: int) -> int:
    """Rows of one kind in an image of ``patches`` (rows, columns) with regions of ``region x region`` patches.

    >>> [n_rows(kind, (8, 12), 4) for kind in KINDS]
    [1, 6, 96]
    """
    side = {"image": max(patches), "region": region, "patch": 1}[kind]
    return -(-patches[0] // side) * -(-patches[1] // side)
