"""Bayesian implicit neural representations: COMBINER and RECOMBINER."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import jax

    from recjax.codec.header import Header
    from recjax.codec.payload import Payload
    from recjax.codec.siren.efforts import SirenEffort
    from recjax.codec.siren.prior import SirenPrior
    from recjax.modalities import Grid


def parse(
    header: dict[str, Any], tensors: dict[str, np.ndarray], n_bytes: int, common: dict[str, Any]
) -> "SirenPrior":
    """The prior in a file; see `recjax.codec.kinds.Kind`."""
    from recjax.codec.siren import prior

    return prior.parse(header, tensors, n_bytes, common)


def effort(level: int) -> "SirenEffort":
    """Settings of the encoder; see `recjax.codec.kinds.Kind`."""
    from recjax.codec.siren import efforts

    return efforts.EFFORTS[level]


def encode(
    grids: "Sequence[Grid]",
    prior: "SirenPrior",
    settings: "SirenEffort",
    key: "jax.Array",
    *,
    prices: Sequence[float],
    progress: Callable[[float], None] | None,
) -> "list[Payload]":
    """Codes signals together; see `recjax.codec.kinds.Kind`."""
    from recjax.codec.siren import encoding

    return encoding.encode(grids, prior, settings, key, progress)


def decode(prior: "SirenPrior", files: "Sequence[tuple[Header, bytes]]") -> "list[Grid]":
    """Decodes streams; see `recjax.codec.kinds.Kind`."""
    from recjax.codec.siren import decoding

    return decoding.decode(prior, files)


def account(prior: "SirenPrior", header: "Header", stream: bytes) -> dict[str, dict[str, Any]]:
    """Blocks and bits by part of the stream; see `recjax.codec.kinds.Kind`."""
    from recjax.codec.siren import stream as streams

    return streams.account(prior, header, stream)
