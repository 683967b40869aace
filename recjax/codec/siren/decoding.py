"""Signals from the streams of implicit neural representations."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from recjax.bits.range_coder import decode_indices
from recjax.bits.zipf import bin_bits, codelength_bits
from recjax.blocks.ordered_random import BlockCoder
from recjax.blocks.samples import block_samples
from recjax.blocks.trellis import TrellisCoder
from recjax.codec.container import Header
from recjax.codec.prior import stream_key
from recjax.codec.siren.batch import make_batch, render
from recjax.codec.siren.fit import Layout
from recjax.codec.siren.prior import SirenPrior
from recjax.codec.siren.refine import Blocks
from recjax.errors import FormatError
from recjax.modalities import Grid
from recjax.modalities.grid import n_patches


def read_indices(
    prior: SirenPrior, header: Header, payload: bytes
) -> list[Int[np.ndarray, "blocks"]]:
    """The indices of every group's blocks in a stream. What it cannot hold is not allocated.

    Raises:
      FormatError: the stream is damaged.
    """
    counts = prior.blocks_in(n_patches(header.sides(prior), prior.patch))
    bits = header.log2_indices(prior.budget)
    if sum(counts) * bin_bits(bits, header.exponent).min() > 8 * len(payload) + 64:
        raise FormatError("the index stream is cut off")
    return np.split(
        decode_indices(payload, np.full(sum(counts), bits), header.exponent), np.cumsum(counts)[:-1]
    )


def decode(prior: SirenPrior, files: Sequence[tuple[Header, bytes]]) -> list[Grid]:
    """The signals in streams of equal version and extra bits.

    Raises:
      FormatError: a stream is damaged.
    """
    first = files[0][0]
    coder = first.block_coder(prior)
    sides = [header.sides(prior) for header, _ in files]
    # Before the batch: a few damaged bytes must not cost the memory of a large image.
    indices = [read_indices(prior, header, stream) for header, stream in files]
    batch, z = make_batch(prior, [n_patches(own, prior.patch) for own in sides]), []
    for g, (layout, blocks) in enumerate(zip(batch.arrangement.layouts, batch.blocks, strict=True)):
        rows = np.concatenate([parts[g] for parts in indices]).reshape(batch.rows[g], -1)
        z.append(jnp.asarray(_coded_latents(coder, stream_key(prior), layout, blocks, rows)))
    values = render(prior, batch, tuple(z), sides)
    return [Grid(own, flag=header.flag) for own, (header, _) in zip(values, files, strict=True)]


def account(prior: SirenPrior, header: Header, stream: bytes) -> dict[str, dict[str, Any]]:
    """Blocks of every group, and code length of their indices in bits.

    Raises:
      FormatError: the stream is damaged.
    """
    bits, out = header.log2_indices(prior.budget), {}
    for group, indices in zip(prior.groups, read_indices(prior, header, stream), strict=True):
        length = float(codelength_bits(indices, bits, header.exponent).sum())
        out[group.kind] = {"blocks": len(indices), "index_bits": round(length, 2)}
    return out


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
