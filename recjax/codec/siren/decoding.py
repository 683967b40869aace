"""Decoding: signals from the index streams of implicit neural representations."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int

from recjax.blocks.ordered_random import BlockCoder
from recjax.blocks.samples import block_samples, previous_in_chain
from recjax.blocks.trellis_decoder import TrellisDecoder
from recjax.codec.header import Header
from recjax.codec.prior import stream_key
from recjax.codec.siren.batch import make_batch, render
from recjax.codec.siren.layout import GroupLayout
from recjax.codec.siren.prior import SirenPrior
from recjax.codec.siren.stream import read_indices
from recjax.modalities import Grid
from recjax.modalities.grid import n_patches
from recjax.randomness import SharedKey


def decode(prior: SirenPrior, files: Sequence[tuple[Header, bytes]]) -> list[Grid]:
    """The signals in streams of equal version and extra bits.

    Raises:
        FormatError: a stream is damaged.
    """
    coder = files[0][0].block_coder(prior)
    sides = [header.sides(prior) for header, _ in files]
    # Before the batch: a few damaged bytes must not cost the memory of a large signal.
    indices = [read_indices(prior, header, stream) for header, stream in files]
    batch = make_batch(prior, [n_patches(shape, prior.patch) for shape in sides])
    z = tuple(
        _coded_latents(coder, stream_key(prior), group, np.concatenate(index))
        for group, index in zip(batch.layout.groups, zip(*indices, strict=True), strict=True)
    )
    values = render(prior, batch, z, sides)
    return [Grid(x, flag=header.flag) for x, (header, _) in zip(values, files, strict=True)]


def _coded_latents(
    coder: BlockCoder | TrellisDecoder,
    key: SharedKey,
    group: GroupLayout,
    index: Int[np.ndarray, "rows blocks"],
) -> Float32[np.ndarray, "padded_rows latents"]:
    """All latents of one group from the indices of its blocks, 0 where nothing was coded."""
    rows = len(index)
    # the block coder of version 1 has no chains
    before = (previous_in_chain(index, axis=1),) if isinstance(coder, TrellisDecoder) else ()
    widths = np.broadcast_to(group.widths, index.shape)
    parts = (part.astype(np.int32).ravel() for part in (index, *before, widths))
    samples = block_samples(coder, key, group.ids[:rows].reshape(-1, 2), *parts)
    latents = group.blocks[np.arange(group.blocks.shape[1]) < group.widths[:, None]]
    z = np.zeros(group.source.shape, np.float32)
    z[group.source[:rows, latents], latents] = samples.reshape(rows, len(latents))
    return z
