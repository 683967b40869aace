"""Coefficients of a lapped transform, quantised and coded in interleaved stages."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import jax

    from recjax.codec.header import Header
    from recjax.codec.payload import Payload
    from recjax.codec.staged.efforts import StagedEffort
    from recjax.codec.staged.prior import StagedPrior
    from recjax.modalities import Grid


def parse(
    header: dict[str, Any], tensors: dict[str, np.ndarray], n_bytes: int, common: dict[str, Any]
) -> "StagedPrior":
    """The prior in a file; see `recjax.codec.kinds.Kind`."""
    from recjax.codec.staged import prior

    return prior.parse(header, tensors, n_bytes, common)


def effort(level: int) -> "StagedEffort":
    """Settings of the encoder; see `recjax.codec.kinds.Kind`."""
    from recjax.codec.staged import efforts

    return efforts.EFFORTS[level]


def encode(
    grids: "Sequence[Grid]",
    prior: "StagedPrior",
    settings: "StagedEffort",
    key: "jax.Array",
    *,
    prices: Sequence[float],
    progress: Callable[[float], None] | None,
) -> "list[Payload]":
    """Codes signals together; see `recjax.codec.kinds.Kind`."""
    from recjax.codec.staged import encoding

    return encoding.encode(grids, prior, settings, prices, progress)


def decode(prior: "StagedPrior", files: "Sequence[tuple[Header, bytes]]") -> "list[Grid]":
    """Decodes streams; see `recjax.codec.kinds.Kind`."""
    from recjax.codec.staged import decoding

    return decoding.decode(prior, files)


def account(prior: "StagedPrior", header: "Header", stream: bytes) -> dict[str, dict[str, Any]]:
    """Bits by part of the stream; see `recjax.codec.kinds.Kind`."""
    from recjax.codec.staged import decoding

    return decoding.account(prior, header, stream)
