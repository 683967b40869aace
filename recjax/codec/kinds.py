"""Kinds of priors: packages with the same five functions."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from recjax.codec import siren, staged, transform
from recjax.codec.header import Header
from recjax.codec.payload import Payload
from recjax.codec.prior import Prior
from recjax.modalities import Grid

if TYPE_CHECKING:
    import jax


class Kind(Protocol):
    """A kind of prior: a package whose `__init__` has these functions, and one entry in `KINDS`.

    The functions import the rest of their package when they are called, so that decoding loads no
    trainer and nothing of the other kinds.
    """

    def parse(
        self,
        header: dict[str, Any],
        tensors: dict[str, np.ndarray],
        n_bytes: int,
        common: dict[str, Any],
    ) -> Prior:
        """The prior in a file.

        Args:
            header: description of the prior.
            tensors: arrays by name.
            n_bytes: size of the file, which bounds what may be allocated.
            common: the fields that all priors have, see `recjax.codec.prior.Prior`.

        Raises:
            KeyError, TypeError, ValueError: the file is damaged.
        """
        ...

    def effort(self, level: int) -> Any:
        """Settings of the encoder at an effort of 1 (fast) to 9 (slow, better)."""
        ...

    def encode(
        self,
        grids: Sequence[Grid],
        prior: Any,
        settings: Any,
        key: "jax.Array",
        *,
        prices: Sequence[float],
        progress: Callable[[float], None] | None,
    ) -> list[Payload]:
        """Codes signals together.

        Args:
            grids: the signals.
            prior: a prior of this kind.
            settings: what `effort` returned, or the like.
            key: key of the encoder's noise.
            prices: Lagrange multiplier of every signal relative to the one of the prior's training;
                1 unless ``prior.rate_is_free``.
            progress: called with the fraction done.
        """
        ...

    def decode(self, prior: Any, files: Sequence[tuple[Header, bytes]]) -> list[Grid]:
        """Decodes the streams of files of equal version and extra bits.

        Raises:
            FormatError: a stream is damaged.
        """
        ...

    def account(self, prior: Any, header: Header, stream: bytes) -> dict[str, dict[str, Any]]:
        """Number of blocks and length of the code in bits, by part of the stream.

        Raises:
            FormatError: the stream is damaged.
        """
        ...


KINDS: dict[str, Kind] = {"siren": siren, "transform": transform, "staged": staged}
"""The kinds of priors by the name that their files have for them."""
