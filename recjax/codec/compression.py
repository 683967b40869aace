"""Signals to ``.rec`` bytes."""

from collections.abc import Sequence

import jax

from recjax.codec.encoding import AnyPrior, encode_batch
from recjax.codec.rate_control import encode_at_rate
from recjax.modalities import Signal


def compress(
    signal: Signal,
    prior: AnyPrior | None = None,
    *,
    bpp: float | None = None,
    effort: int = 5,
    key: jax.Array | None = None,
) -> bytes:
    """Compresses one signal to the bytes of a ``.rec`` file; same input, same bytes.

    Args:
      signal: an image, see :func:`recjax.load`.
      prior: or its name or path, see :func:`recjax.load_prior`; by default the embedded ``photo-high``, or with ``bpp``
        the one whose own rate is nearest.
      bpp: bits of the file for each pixel, at most and about; see :func:`recjax.codec.encode_at_rate`. By default what
        the image takes at the quality of the prior.
      effort: 1 (fast) to 9 (slow, better).
      key: of the encoder's own noise; the decoder does not need it.

    Raises:
      ValueError: an argument is out of range, or there is no such prior or no such small file.
    """
    return compress_batch([signal], prior, bpp=bpp, effort=effort, key=key)[0]


def compress_batch(
    signals: Sequence[Signal],
    prior: AnyPrior | None = None,
    *,
    bpp: float | None = None,
    effort: int = 5,
    key: jax.Array | None = None,
) -> list[bytes]:
    """:func:`compress` for many signals at once, which fills a device (unless there is a size to be met)."""
    if bpp is not None:
        return [
            encode_at_rate(signal, bpp, prior, effort=effort, key=key).blob for signal in signals
        ]
    return [result.blob for result in encode_batch(signals, prior, effort=effort, key=key)]
