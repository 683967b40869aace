"""``.rec`` bytes to signals."""

import functools
import math
from collections.abc import Iterable, Sequence

import jax

from recjax import randomness
from recjax.codec.container import parse, verify
from recjax.codec.prior import Prior
from recjax.codec.prior_files import embedded_with
from recjax.codec.siren.decode import block_coder, decode_inr
from recjax.codec.transform.decode import decode_transform
from recjax.codec.transform.prior import TransformPrior
from recjax.errors import FormatError
from recjax.modalities import Signal
from recjax.modalities.image.pixels import MAX_SIDE
from recjax.samplers.base import check_range


def decompress(
    blob: bytes, *, priors: Iterable[Prior] = (), max_pixels: int = MAX_SIDE**2
) -> Signal:
    """The signal in a ``.rec`` file.

    Args:
      blob: the file.
      priors: besides the embedded ones; the file names its prior by digest.
      max_pixels: larger images are refused. A plain image of any size has a file of some hundred bytes, so that a short
        file may ask for much work; this bounds it.

    Raises:
      FormatError: the file is damaged, of a newer version, its prior is not at hand, or its image is too large.
      ValueError: ``blob`` is not bytes, ``priors`` are not priors, or ``max_pixels`` is not a whole number from 1 to
        4096^2.
    """
    return decompress_batch([blob], priors=priors, max_pixels=max_pixels)[0]


def decompress_batch(
    blobs: Sequence[bytes], *, priors: Iterable[Prior] = (), max_pixels: int = MAX_SIDE**2
) -> list[Signal]:
    """:func:`decompress` for many files at once."""
    given = list(priors) if isinstance(priors, Iterable) else [priors]
    if isinstance(priors, Prior) or not all(isinstance(prior, Prior) for prior in given):
        raise ValueError("priors must be a sequence of what load_prior returns")
    check_range("max_pixels", max_pixels, 1, MAX_SIDE**2)
    groups: dict[tuple, list[int]] = {}
    embedded = functools.cache(embedded_with)  # once for all files of a prior
    parsed = [_open(blob, given, embedded, max_pixels) for blob in blobs]
    for i, (prior, header, _) in enumerate(parsed):
        groups.setdefault((prior.digest, header.version, header.extra_bits), []).append(i)
    out: list[Signal | None] = [None] * len(blobs)
    for members in groups.values():
        lot = [parsed[i] for i in members]
        prior = lot[0][0]
        with jax.enable_x64(False):  # the same pixels whatever the program computes with
            if isinstance(prior, TransformPrior):
                decoded = [decode_transform(prior, header, payload) for _, header, payload in lot]
            else:
                decoded = decode_inr(prior, [(header, payload) for _, header, payload in lot])
        for i, signal in zip(members, decoded, strict=True):
            out[i] = signal
    return [signal for signal in out if signal is not None]


def _open(blob, priors, embedded, max_pixels):
    if not isinstance(blob, bytes | bytearray | memoryview):
        raise ValueError(f"blob must be the bytes of a .rec file, got {type(blob).__name__}")
    blob = bytes(blob)
    header, _ = parse(blob)
    prefix = header.digest_prefix
    matching = [*(prior for prior in priors if prior.digest.startswith(prefix)), *embedded(prefix)]
    if not matching:
        raise FormatError(
            f"the prior {prefix.hex()}... of this file is not known: it is neither embedded nor given"
        )
    if header.scheme != randomness.SCHEME:
        raise FormatError(
            f"randomness scheme {header.scheme} is not known (this release knows {randomness.SCHEME})"
        )
    prior, payload = _verified(blob, matching)
    if header.modality.name.lower() != prior.modality:
        raise FormatError(
            f"a prior for {prior.modality} cannot decode {header.modality.name.lower()}"
        )
    if max(header.shape or (1,)) > MAX_SIDE:
        raise FormatError(f"shape {header.shape} is larger than {MAX_SIDE} x {MAX_SIDE}")
    if math.prod(header.shape or prior.patch_shape[:2]) > max_pixels:
        raise FormatError(f"the image has more than {max_pixels} pixels")
    try:
        block_coder(prior, header)
    except ValueError as error:
        raise FormatError(str(error)) from None
    return prior, header, payload


def _verified(blob, priors):
    """The prior among those of one digest prefix that the checksum fits, and the index stream."""
    for prior in priors[:-1]:
        try:
            return prior, verify(blob, prior.digest)[1]
        except FormatError:
            continue
    return priors[-1], verify(blob, priors[-1].digest)[1]
