"""Signals from the streams of implicit neural representations."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from recjax.bits.container import Header
from recjax.bits.range_coder import decode_indices
from recjax.codec.inr_prior import InrPrior
from recjax.codec.patches import make_batch, render, table_key
from recjax.codec.prior import Prior
from recjax.codec.refine import decode_blocks
from recjax.modalities import Signal
from recjax.modalities.image import n_patches
from recjax.samplers.block_coder import BlockCoder
from recjax.samplers.trellis_coder import TrellisCoder


def block_coder(prior: Prior, header: Header) -> BlockCoder | TrellisCoder:
    """The coder of a file's blocks.

    Raises:
      ValueError: the header's extra bits do not fit the prior's budget.
    """
    kind = BlockCoder if header.version == 1 else TrellisCoder
    return kind(budget=prior.budget, extra_bits=header.extra_bits)


def decode_inr(prior: InrPrior, group: Sequence[tuple[Header, bytes]]) -> list[Signal]:
    """The signals in streams of equal version and extra bits."""
    first = group[0][0]
    coder = block_coder(prior, first)
    shapes = [header.shape or prior.patch_shape[:2] for header, _ in group]
    patches = [n_patches(shape, prior.patch_shape) for shape in shapes]
    # Before the batch: a few damaged bytes must not cost the memory of a large image.
    indices = [
        decode_indices(payload, np.full(sum(counts), header.log2_indices(prior.budget)), header.exponent)
        for (header, payload), counts in zip(group, map(prior.blocks_in, patches), strict=True)
    ]
    batch, z = make_batch(prior, patches), []
    ends = [np.cumsum(prior.blocks_in(image)) for image in patches]
    for g, (own, blocks) in enumerate(zip(prior.groups, batch.blocks, strict=True)):
        rows = np.zeros((len(blocks.slots), own.n_blocks), np.int32)
        parts = [np.split(index, end)[g] for index, end in zip(indices, ends, strict=True)]
        rows[: batch.rows[g]] = np.concatenate(parts).reshape(batch.rows[g], -1)
        z.append(decode_blocks(coder, table_key(prior), batch.arrangement.layouts[g], blocks, jnp.asarray(rows.T)))
    wanted = [(shape, header.gray) for shape, (header, _) in zip(shapes, group, strict=True)]
    return render(prior, batch, tuple(z), wanted)
