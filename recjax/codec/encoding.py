"""Signals to ``.rec`` bytes, with an account of the bits."""

import dataclasses
import os
from collections.abc import Callable, Sequence

import jax
import numpy as np

from recjax import randomness
from recjax.codec.coded import Coded
from recjax.codec.container import Header, Modality, header_bits, pack
from recjax.codec.effort import Effort, effort_of
from recjax.codec.prior import Prior
from recjax.codec.prior_files import load_prior
from recjax.codec.siren.encode import encode_inr
from recjax.codec.siren.prior import InrPrior
from recjax.codec.transform.encode import encode_transform
from recjax.codec.transform.prior import TransformPrior
from recjax.modalities import Signal
from recjax.modalities.image.pixels import MAX_SIDE, psnr

AnyPrior = Prior | str | os.PathLike[str]
"""A prior, or its name or path."""


@dataclasses.dataclass(frozen=True)
class Encoded:
    """A file and what went into it.

    Attributes:
      blob: the file.
      kl_bits: KL of all blocks when they were coded; no exact code can be much shorter on average.
      index_bits: length of the indices' code; the stream is rounded up to bytes.
      header_bits: everything in the file but the index stream.
      psnr: of the decoded signal, in dB.
    """

    blob: bytes
    kl_bits: float
    index_bits: float
    header_bits: int
    psnr: float


def encode_batch(
    signals: Sequence[Signal],
    prior: AnyPrior | None = None,
    *,
    effort: int | Effort = 5,
    key: jax.Array | None = None,
    extra_bits: int | None = None,
    price: float = 1.0,
    progress: Callable[[float], None] | None = None,
) -> list[Encoded]:
    """Compresses signals together, with an account of the bits of each.

    Args:
      signals: images of any sizes.
      prior: or its name or path, see :func:`recjax.load_prior`; by default ``photo-high``.
      effort: 1 (fast) to 9 (slow, better), or explicit settings.
      key: of the encoder's own noise; the decoder does not need it.
      extra_bits: overrides the effort's ``t``.
      price: of a bit, relative to that at which the prior was trained; of a transform. Less makes a larger file.
      progress: called with the fraction done.

    Raises:
      ValueError: a signal is no image, a setting is out of range, there is no such prior, or a posterior could not be
        coded (it was not finite).
    """
    if not signals:
        return []
    prior = as_prior("photo-high" if prior is None else prior)
    for signal in signals:
        check_signal(signal)
    effort = (
        effort
        if isinstance(effort, Effort)
        else effort_of(effort, transform=isinstance(prior, TransformPrior))
    )
    if extra_bits is not None:
        effort = dataclasses.replace(effort, extra_bits=extra_bits)
    if not 0.01 <= price <= 100:
        raise ValueError(f"price must be 0.01 to 100, got {price}")
    if price != 1 and isinstance(prior, InrPrior):
        raise ValueError(
            "the rate of an implicit neural representation is that of its prior: price must be 1"
        )
    key = jax.random.key(0, impl="threefry2x32") if key is None else key
    with jax.enable_x64(False):  # the same files whatever the program computes with
        if isinstance(prior, TransformPrior):
            coded = encode_transform(signals, prior, effort, key, progress, price)
        else:
            coded = encode_inr(signals, prior, effort, key, progress)
    return [
        _pack(signal, own, prior, effort.extra_bits)
        for signal, own in zip(signals, coded, strict=True)
    ]


def as_prior(prior: AnyPrior) -> InrPrior | TransformPrior:
    """The prior itself, or that of a name or path. Raises a ValueError if there is none."""
    prior = load_prior(prior) if isinstance(prior, str | os.PathLike) else prior
    if not isinstance(prior, InrPrior | TransformPrior):
        raise ValueError(f"prior must be a Prior, its name or its path, got {type(prior).__name__}")
    return prior


def check_signal(signal: Signal) -> None:
    """Raises a ValueError unless this is an image that can be coded."""
    if not isinstance(signal, Signal):
        raise ValueError(
            f"a signal must be a recjax.Signal (recjax.load reads one), got {type(signal).__name__}"
        )
    values = signal.values
    if signal.modality != "image":
        raise ValueError(f"only images can be coded, not {signal.modality}")
    if not isinstance(values, np.ndarray):
        raise ValueError(
            f"the values of an image must be a NumPy array, got {type(values).__name__}"
        )
    if values.dtype != np.uint8 or values.ndim != 3 or values.shape[2] != 3:
        raise ValueError(
            f"the values of an image must be uint8[H, W, 3], got {values.dtype}{list(values.shape)}"
        )
    if not (min(values.shape) >= 1 and max(values.shape) <= MAX_SIDE):
        raise ValueError(
            f"an image must have sides of 1 to {MAX_SIDE}, got {values.shape[0]} x {values.shape[1]}"
        )


def _pack(signal: Signal, coded: Coded, prior: Prior, extra_bits: int) -> Encoded:
    sides = signal.values.shape[:2]
    header = Header(
        scheme=randomness.SCHEME,
        modality=Modality.IMAGE,
        shape=None if sides == prior.patch_shape[:2] else sides,
        gray=bool(signal.meta.get("gray")),
        extra_bits=extra_bits,
        exponent=coded.exponent,
        digest_prefix=prior.digest[:3],
    )
    return Encoded(
        blob=pack(header, coded.payload, prior.digest),
        kl_bits=coded.kl_bits,
        index_bits=coded.stream_bits,
        header_bits=header_bits(header, coded.payload),
        psnr=psnr(signal.values, coded.decoded.values),
    )
