"""Index streams: the indices of all blocks of a signal, group after group, row after row."""

from typing import Any

import numpy as np
from jaxtyping import Int

from recjax.bits.range_coder import decode_indices
from recjax.bits.zipf import bin_bits, codelength_bits
from recjax.codec.header import Header
from recjax.codec.siren.prior import SirenPrior
from recjax.errors import FormatError
from recjax.modalities.grid import n_patches


def read_indices(
    prior: SirenPrior, header: Header, stream: bytes
) -> list[Int[np.ndarray, "_rows _blocks"]]:
    """The indices of every group's blocks in a stream.

    Raises:
        FormatError: the stream is damaged.
    """
    rows = prior.rows_in(n_patches(header.sides(prior), prior.patch))
    shapes = [(count, group.n_blocks) for count, group in zip(rows, prior.groups, strict=True)]
    sizes = [count * blocks for count, blocks in shapes]
    bits = header.log2_indices(prior.budget)
    # more blocks than the stream can hold are not allocated
    if sum(sizes) * bin_bits(bits, header.exponent).min() > 8 * len(stream) + 64:
        raise FormatError("the index stream is cut off")
    flat = decode_indices(stream, np.full(sum(sizes), bits), header.exponent)
    parts = np.split(flat, np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def account(prior: SirenPrior, header: Header, stream: bytes) -> dict[str, dict[str, Any]]:
    """Blocks of every group, and code length of their indices in bits.

    Raises:
        FormatError: the stream is damaged.
    """
    bits, out = header.log2_indices(prior.budget), {}
    for group, indices in zip(prior.groups, read_indices(prior, header, stream), strict=True):
        length = float(codelength_bits(indices.ravel(), bits, header.exponent).sum())
        out[group.kind] = {"blocks": indices.size, "index_bits": round(length, 2)}
    return out
