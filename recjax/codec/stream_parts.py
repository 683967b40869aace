"""The accounting of an index stream."""

from typing import Any

from recjax.bits.zipf import codelength_bits
from recjax.codec.container import Header
from recjax.codec.prior import Prior
from recjax.codec.siren.decode import read_indices
from recjax.codec.siren.prior import InrPrior
from recjax.codec.transform.prior import TransformPrior
from recjax.codec.transform.stream import part_bits, read_stream
from recjax.modalities.image.pixels import n_patches


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
    bits, out = header.log2_indices(prior.budget), {}
    for group, indices in zip(prior.groups, read_indices(prior, header, payload), strict=True):
        length = float(codelength_bits(indices, bits, header.exponent).sum())
        out[group.kind] = {"blocks": len(indices), "index_bits": round(length, 2)}
    return out


def _levels(prior: TransformPrior, header: Header, payload: bytes) -> dict[str, dict[str, Any]]:
    """Blocks, and length of the code of every part."""
    parts = read_stream(
        prior, n_patches(header.shape or prior.patch_shape[:2], prior.patch_shape), payload
    )
    blocks = {"blocks": sum(map(len, parts.indices))}
    bits = part_bits(prior, parts).items()
    return {
        name: {"blocks": blocks.get(name, 0), "index_bits": round(length, 2)}
        for name, length in bits
    }
