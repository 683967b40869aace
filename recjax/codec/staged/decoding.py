"""Signals from streams of staged coefficients."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from recjax.codec.header import Header
from recjax.codec.staged import lapped
from recjax.codec.staged.channels import together
from recjax.codec.staged.prior import StagedPrior
from recjax.codec.staged.stream import MOST_COEFFICIENTS, read
from recjax.errors import FormatError
from recjax.modalities import Grid


def decode(prior: StagedPrior, files: Sequence[tuple[Header, bytes]]) -> list[Grid]:
    """The signals in streams.

    Raises:
        FormatError: a stream is damaged.
    """
    return [_decoded(prior, header, data) for header, data in files]


def _decoded(prior, header, data) -> Grid:
    length = _length(prior, header)
    head, found, scales = read(prior, data, length)
    y = prior.reconstructed(np.abs(found), scales) * np.sign(found, dtype=np.float32)
    rows = np.zeros((len(head.loudness), length), np.float32)
    if head.heard:
        rows[head.heard] = lapped.values(y * np.float32(head.step_size), length)
    return Grid(together(rows), flag=header.flag)


def account(prior: StagedPrior, header: Header, data: bytes) -> dict[str, dict[str, Any]]:
    """Bits by part of the stream; see `recjax.codec.kinds.Kind`."""
    _, found, _ = read(prior, data, _length(prior, header))
    signs = int(np.count_nonzero(found))
    return {
        "signs": {"blocks": 0, "index_bits": float(signs)},
        "magnitudes": {"blocks": 0, "index_bits": float(8 * len(data) - signs)},
    }


def _length(prior, header) -> int:
    if header.version == 1 or header.exponent or header.extra_bits:
        raise FormatError("staged coefficients have version 2 or 3, exponent 0 and no extra bits")
    (length,) = header.sides(prior)
    if length > MOST_COEFFICIENTS:  # of silence too
        raise FormatError(f"a stream has at most {MOST_COEFFICIENTS} values")
    return length
