"""Signals from the streams of implicit neural representations."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from recjax.bits.range_coder import decode_indices
from recjax.bits.zipf import bin_bits
from recjax.blocks.ordered_random import BlockCoder
from recjax.blocks.samples import block_samples
from recjax.blocks.trellis import TrellisCoder
from recjax.codec.container import Header
from recjax.codec.prior import Prior, stream_key
from recjax.codec.siren.batch import make_batch, render
from recjax.codec.siren.fit import Layout
from recjax.codec.siren.prior import InrPrior
from recjax.codec.siren.refine import Blocks
from recjax.errors import FormatError
from recjax.modalities import Signal
from recjax.modalities.image.pixels import n_patches


def block_coder(prior: Prior, header: Header) -> BlockCoder | TrellisCoder:
    """The coder of a file's blocks.

    Raises:
      ValueError: the header's extra bits do not fit the prior's budget.
    """
    kind = BlockCoder if header.version == 1 else TrellisCoder
    return kind(budget=prior.budget, extra_bits=header.extra_bits)


def read_indices(
    prior: InrPrior, header: Header, payload: bytes
) -> list[Int[np.ndarray, "blocks"]]:
    """The indices of every group's blocks in a stream. What it cannot hold is not allocated.

    Raises:
      FormatError: the stream is damaged.
    """
    counts = prior.blocks_in(n_patches(header.shape or prior.patch_shape[:2], prior.patch_shape))
    bits = header.log2_indices(prior.budget)
    if sum(counts) * bin_bits(bits, header.exponent).min() > 8 * len(payload) + 64:
        raise FormatError("the index stream is cut off")
    return np.split(
        decode_indices(payload, np.full(sum(counts), bits), header.exponent), np.cumsum(counts)[:-1]
    )


def decode_inr(prior: InrPrior, group: Sequence[tuple[Header, bytes]]) -> list[Signal]:
    """The signals in streams of equal version and extra bits."""
    first = group[0][0]
    coder = block_coder(prior, first)
    shapes = [header.shape or prior.patch_shape[:2] for header, _ in group]
    patches = [n_patches(shape, prior.patch_shape) for shape in shapes]
    # Before the batch: a few damaged bytes must not cost the memory of a large image.
    indices = [read_indices(prior, header, payload) for header, payload in group]
    batch, z = make_batch(prior, patches), []
    for g, (layout, blocks) in enumerate(zip(batch.arrangement.layouts, batch.blocks, strict=True)):
        rows = np.concatenate([parts[g] for parts in indices]).reshape(batch.rows[g], -1)
        z.append(jnp.asarray(_coded_latents(coder, stream_key(prior), layout, blocks, rows)))
    wanted = [(shape, header.gray) for shape, (header, _) in zip(shapes, group, strict=True)]
    return render(prior, batch, tuple(z), wanted)


def _coded_latents(
    coder: BlockCoder | TrellisCoder,
    key: Array,
    layout: Layout,
    blocks: Blocks,
    index: Int[np.ndarray, "rows blocks"],
) -> Float[np.ndarray, "padded_rows latents"]:
    """All coded latents of one group from their indices, 0 where nothing was coded."""
    source, table, widths = (np.asarray(x) for x in (layout.source, layout.blocks, blocks.widths))
    count, n_blocks = index.shape
    ids, previous = np.asarray(blocks.ids(jnp.arange(n_blocks)))[:count], np.zeros_like(index)
    previous[:, 1:] = index[:, :-1]
    before = (previous,) if isinstance(coder, TrellisCoder) else ()
    parts = (
        part.astype(np.int32).ravel()
        for part in (index, *before, np.broadcast_to(widths, index.shape))
    )
    samples = block_samples(coder, key, ids.reshape(-1, 2), *parts)
    latents = table[np.arange(table.shape[1]) < widths[:, None]]
    z = np.zeros(source.shape, np.float32)
    z[source[:count, latents], latents] = samples.reshape(count, len(latents))
    return z
