"""The accounting of an index stream."""

from typing import Any

import numpy as np

from recjax.bits.container import Header
from recjax.bits.range_coder import decode_indices
from recjax.bits.zipf import codelength_bits
from recjax.codec.inr_prior import InrPrior
from recjax.codec.prior import Prior
from recjax.codec.transform_prior import TransformPrior
from recjax.codec.transform_stream import part_bits, read_stream
from recjax.modalities.image import n_patches


def stream_parts(prior: Prior, header: Header, payload: bytes) -> dict[str, dict[str, Any]]:
    """Number of blocks, and length of the code in bits, of every part of a stream.

    Raises:
      FormatError: the stream is damaged.
    """
    if isinstance(prior, TransformPrior):
        return _levels(prior, header, payload)
    assert isinstance(prior, InrPrior)
    return _groups(prior, header, payload)


def _groups(prior: InrPrior, header: Header, payload: bytes) -> dict[str, dict[str, Any]]:
    """Blocks of every group, and code length of their indices."""
    blocks = prior.blocks_in(n_patches(header.shape or prior.patch_shape[:2], prior.patch_shape))
    sizes = np.full(sum(blocks), header.log2_indices(prior.budget))
    lengths = codelength_bits(decode_indices(payload, sizes, header.exponent), sizes, header.exponent)
    parts = np.split(lengths, np.cumsum(blocks)[:-1])
    return {
        group.kind: {"blocks": count, "index_bits": round(float(part.sum()), 2)}
        for group, count, part in zip(prior.groups, blocks, parts, strict=True)
    }


def _levels(prior: TransformPrior, header: Header, payload: bytes) -> dict[str, dict[str, Any]]:
    """Blocks, and length of the code of every part."""
    parts = read_stream(prior, n_patches(header.shape or prior.patch_shape[:2], prior.patch_shape), payload)
    blocks = {"blocks": sum(map(len, parts.indices))}
    bits = part_bits(prior, parts).items()
    return {name: {"blocks": blocks.get(name, 0), "index_bits": round(length, 2)} for name, length in bits}
