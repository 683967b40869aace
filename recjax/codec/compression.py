"""Signals to ``.rec`` files: `compress`, `encode`, and their targets."""

from collections.abc import Callable, Sequence
from typing import TypedDict, Unpack

import jax

from recjax.codec.encoding import AnyPrior, Encoding, check_signals, encode_batch
from recjax.codec.rate_control import encode_to_target
from recjax.codec.targets import TARGETS
from recjax.modalities import Signal


class Options(TypedDict, total=False):
    """Keyword arguments of encoders, with the meanings and defaults of those of `compress`."""

    quality: str | int | None
    bpp: float | None
    kbps: float | None
    psnr: float | None
    effort: int
    key: jax.Array | None


def compress(
    signal: Signal,
    prior: AnyPrior | None = None,
    *,
    quality: str | int | None = None,
    bpp: float | None = None,
    kbps: float | None = None,
    psnr: float | None = None,
    effort: int = 5,
    key: jax.Array | None = None,
) -> bytes:
    """Compresses a signal to the bytes of a ``.rec`` file; same input, same bytes.

    At most one of ``quality``, ``bpp``, ``kbps`` and ``psnr`` may be given; by default the file has
    the default quality of the modality, or that of ``prior``. Compiled programs are kept between
    runs, see `recjax.cache`.

    Args:
        signal: the signal, see `recjax.load`.
        prior: a prior, its name or its path, see `recjax.load_prior`.
        quality: name of a quality of the modality, or its number in order of rate from 1; of images
            and audio ``"low"``, ``"medium"``, ``"high"`` or ``"best"``. It stands for a prior
            and a Lagrange multiplier.
        bpp: bits of the file per cell of the signal (per pixel), at most: the file is the largest
            found that is not larger, within 2 % unless a `recjax.errors.TargetWarning` says
            otherwise. With a prior whose rate is fixed, the choice is among the embedded priors of
            its kind.
        kbps: thousands of bits of the file per second of a signal in time (audio), at most; as
            ``bpp``.
        psnr: PSNR of the decoded signal in dB, at least: the file is the smallest found that
            reaches it.
        effort: 1 (fast) to 9 (slow, better).
        key: key of the encoder's noise; the decoder does not need it.

    Returns:
        The file, for `recjax.decompress`.

    Raises:
        ValueError: an argument is out of range, two targets are given, no such prior exists, or no
            file meets the target.
    """
    return encode(
        signal, prior, quality=quality, bpp=bpp, kbps=kbps, psnr=psnr, effort=effort, key=key
    ).blob


def compress_batch(
    signals: Sequence[Signal], prior: AnyPrior | None = None, **options: Unpack[Options]
) -> list[bytes]:
    """Compresses many signals at once, which fills a device; see `compress`.

    A target holds for every signal. Each signal has a Lagrange multiplier of its own, and each
    round of the search codes together the signals whose search goes on.
    """
    return [encoding.blob for encoding in encode_all(signals, prior, **options)]


def encode(
    signal: Signal,
    prior: AnyPrior | None = None,
    *,
    progress: Callable[[float], None] | None = None,
    **options: Unpack[Options],
) -> Encoding:
    """Compresses a signal and says what went into the file.

    Args:
        signal: the signal.
        prior: a prior, its name or its path.
        progress: called with the fraction done.
        options: ``quality``, ``bpp``, ``kbps``, ``psnr``, ``effort`` and ``key`` as for `compress`.

    Returns:
        The file with its latents, its KL divergence in bits by group of latents, and the decoded
        signal, which is computed when it is first asked for.

    Raises:
        ValueError: as `compress`.
    """
    (encoding,) = encode_all([signal], prior, progress=progress, **options)
    return encoding


def encode_all(
    signals: Sequence[Signal],
    prior: AnyPrior | None = None,
    *,
    quality: str | int | None = None,
    bpp: float | None = None,
    kbps: float | None = None,
    psnr: float | None = None,
    effort: int = 5,
    key: jax.Array | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Encoding]:
    """`encode` for many signals at once; see `compress_batch`."""
    wanted = {"quality": quality, "bpp": bpp, "kbps": kbps, "psnr": psnr}
    given = {name: value for name, value in wanted.items() if value is not None}
    check_targets(given, prior)
    if not signals:
        return []
    (name, value), *_ = [*given.items(), ("quality", None)]
    if name != "quality":
        return encode_to_target(
            signals, TARGETS[name], value, prior, effort=effort, key=key, progress=progress
        )
    price = 1.0
    if prior is None:
        modality = check_signals(signals)
        prior, price = modality.prior_of_quality(value), modality.price_of_quality(value)
    return encode_batch(signals, prior, effort=effort, key=key, price=price, progress=progress)


def check_targets(given: dict[str, object], prior: AnyPrior | None) -> None:
    """Raises a ValueError that names two arguments of which a file can have only one."""
    if len(given) > 1:
        one, other = list(given)[:2]
        raise ValueError(f"a file has one target: give {one} or {other}, not both")
    if "quality" in given and prior is not None:
        raise ValueError("quality is the choice of a prior: give quality or prior, not both")
