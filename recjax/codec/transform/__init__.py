"""Learned multi-level transforms whose latents are relative-entropy coded."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import jax

    from recjax.codec.header import Header
    from recjax.codec.payload import Payload
    from recjax.codec.transform.efforts import TransformEffort
    from recjax.codec.transform.prior import TransformPrior
    from recjax.modalities import Grid


def parse(
    header: dict[str, Any], tensors: dict[str, np.ndarray], n_bytes: int, common: dict[str, Any]
) -> "TransformPrior":
    """The prior in a file; see `recjax.codec.kinds.Kind`."""
    from recjax.codec.transform import prior

    return prior.parse(header, tensors, n_bytes, common)


def effort(level: int) -> "TransformEffort":
    """Settings of the encoder; see `recjax.codec.kinds.Kind`."""
    from recjax.codec.transform import efforts

    return efforts.EFFORTS[level]


def encode(
    grids: "Sequence[Grid]",
    prior: "TransformPrior",
    settings: "TransformEffort",
    key: "jax.Array",
    *,
    prices: Sequence[float],
    progress: Callable[[float], None] | None,
) -> "list[Payload]":
    """Codes signals together; see `recjax.codec.kinds.Kind`."""
    from recjax.codec.transform import encoding

    return encoding.encode(grids, prior, settings, key, prices, progress)


def decode(prior: "TransformPrior", files: "Sequence[tuple[Header, bytes]]") -> "list[Grid]":
    """Decodes streams; see `recjax.codec.kinds.Kind`."""
    from recjax.codec.transform import decoding

    return decoding.decode(prior, files)


def account(prior: "TransformPrior", header: "Header", stream: bytes) -> dict[str, dict[str, Any]]:
    """Blocks and bits by part of the stream; see `recjax.codec.kinds.Kind`."""
    from recjax.codec.transform import stream as streams

    return streams.account(prior, header, stream)
