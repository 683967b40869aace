"""Signals to ``.rec`` bytes, with an account of the bits."""

import dataclasses
import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from recjax import randomness
from recjax.cache import enable_compilation_cache
from recjax.codec.container import pack, parse
from recjax.codec.decoding import decompress, decompress_batch
from recjax.codec.header import Header, least_version
from recjax.codec.kinds import KINDS
from recjax.codec.payload import Payload
from recjax.codec.prior import Prior
from recjax.codec.prior_files import load_prior
from recjax.codec.segments import pack_segments
from recjax.errors import check_range
from recjax.modalities import Grid, Modality, Signal, modality_of_name
from recjax.modalities.grid import divided

_TOGETHER = 1 << 23  # cells of signals that are coded together, unless a segment has more

AnyPrior = Prior | str | os.PathLike[str]
"""A prior, its name, or its path."""


@dataclasses.dataclass(frozen=True, eq=False)
class Encoding:
    """A file and what went into it.

    Attributes:
        blob: the file.
        latents: the coded latents by group, as the decoder has them; of a signal in several
            segments by group and number of the segment, such as ``"level 0, segment 2"``.
        kl_bits: KL divergence of the posteriors when they were coded, by group, in bits. No exact
            code can be much shorter than the sum on average.
        index_bits: length of the code of the indices; the stream is rounded up to bytes.
        header_bits: everything in the file but the index stream.
        signal: the original.
        prior: with which the file was made.
    """

    blob: bytes
    latents: dict[str, np.ndarray]
    kl_bits: dict[str, float]
    index_bits: float
    header_bits: int
    signal: Signal
    prior: Prior

    @functools.cached_property
    def decoded(self) -> Signal:
        """The signal in the file, decoded when it is first asked for."""
        return decompress(self.blob, priors=[self.prior])

    @property
    def score(self) -> float:
        """Quality of the decoded signal by its modality's measure; of an image the PSNR in dB."""
        return modality_of_name(self.signal.modality).score.measure(self.signal, self.decoded)

    @property
    def rate(self) -> float:
        """Bits of the file per cell of the signal; of an image per pixel."""
        return 8 * len(self.blob) / math.prod(parse(self.blob)[0].sides(self.prior))

    @property
    def kbps(self) -> float:
        """Thousands of bits of the file per second of the signal, whose first axis is time."""
        header, _ = parse(self.blob)
        seconds = header.seconds(self.prior)
        assert seconds is not None, "`rate_control` refuses signals without time"
        return 8 * len(self.blob) / seconds / 1000


def encode_batch(
    signals: Sequence[Signal],
    prior: AnyPrior | None = None,
    *,
    effort: int | Any = 5,
    key: jax.Array | None = None,
    extra_bits: int | None = None,
    price: float | Sequence[float] = 1.0,
    progress: Callable[[float], None] | None = None,
) -> list[Encoding]:
    """Compresses signals together, with an account of the bits of each.

    Args:
        signals: signals of one modality and any sizes.
        prior: a prior, its name or its path, see `recjax.load_prior`; by default the one of the
            modality's default quality.
        effort: 1 (fast) to 9 (slow, better), or explicit settings of the kind of prior.
        key: key of the encoder's noise; the decoder does not need it.
        extra_bits: replaces the effort's ``t``.
        price: Lagrange multiplier relative to the one at which the prior was trained, for priors
            whose rate is free; a number, or one per signal. Less makes a larger file.
        progress: called with the fraction done.

    Raises:
        ValueError: a signal cannot be coded, a setting is out of range, there is no such prior, or
            a posterior could not be coded (it was not finite).
    """
    if not signals:
        return []
    modality = check_signals(signals)
    prior = as_prior(modality.prior_of_quality() if prior is None else prior)
    if prior.modality != modality.name:
        raise ValueError(f"a prior for {prior.modality} cannot encode {modality.name}")
    kind = KINDS[prior.kind]
    settings: Any = effort
    if not dataclasses.is_dataclass(effort):
        check_range("effort", settings, 1, 9)
        settings = kind.effort(int(settings))
    if extra_bits is not None:
        settings = dataclasses.replace(settings, extra_bits=extra_bits)
    prices = list(price) if isinstance(price, Sequence) else [price] * len(signals)
    least, most = prior.price_range
    if not all(least <= each <= most for each in prices):
        raise ValueError(f"price must be {least:g} to {most:g}, got {price}")
    if not prior.rate_is_free and set(prices) != {1}:
        raise ValueError(f"the rate of a {prior.kind} is that of its prior: price must be 1")
    enable_compilation_cache()
    key = default_key() if key is None else key
    grids = [modality.to_grid(signal) for signal in signals]
    for grid in grids:
        _check_grid(grid, modality, prior)
    divisions = [divided(grid, modality.segment) for grid in grids]
    segments = [segment for division in divisions for segment in division]
    repeated = [price for price, division in zip(prices, divisions, strict=True) for _ in division]
    payloads: list[Payload] = []
    for group in _groups(segments):
        first, share = len(payloads), len(group) / len(segments)

        def done(fraction, first=first, share=share):
            if progress is not None:
                progress(first / len(segments) + share * fraction)

        with jax.enable_x64(False):  # the same files whatever the program computes with
            payloads += kind.encode(
                group,
                prior,
                settings,
                key,
                prices=repeated[first : first + len(group)],
                progress=None if progress is None else done,
            )
    streams = iter(payloads)
    return [
        _pack(signal, grid, modality, [next(streams) for _ in division], prior, settings.extra_bits)
        for signal, grid, division in zip(signals, grids, divisions, strict=True)
    ]


def _groups(segments: list[Grid]) -> Iterator[list[Grid]]:
    """Segments to be coded together: as many as memory has room for, in order."""
    group, cells = [], 0
    for segment in segments:
        size = math.prod(segment.sides)
        if group and cells + size > _TOGETHER:
            yield group
            group, cells = [], 0
        group.append(segment)
        cells += size
    yield group


def default_key() -> jax.Array:
    """The key of an encoder's noise for which nothing else is asked: same input, same bytes."""
    return jax.random.key(0, impl="threefry2x32")


def decode_together(encodings: Sequence[Encoding]) -> None:
    """Decodes many files at once, which fills a device, so that `Encoding.decoded` is at hand."""
    priors = {encoding.prior.digest: encoding.prior for encoding in encodings}
    blobs = [encoding.blob for encoding in encodings]
    for encoding, signal in zip(encodings, decompress_batch(blobs, priors=priors.values())):
        vars(encoding)["decoded"] = signal


def as_prior(prior: AnyPrior) -> Prior:
    """The prior itself, or that of a name or path. Raises a ValueError if there is none."""
    prior = load_prior(prior) if isinstance(prior, str | os.PathLike) else prior
    if not isinstance(prior, Prior):
        raise ValueError(f"prior must be a Prior, its name or its path, got {type(prior).__name__}")
    return prior


def check_signals(signals: Sequence[Signal]) -> Modality:
    """The modality of the signals; raises a ValueError unless they have one and can be coded."""
    for signal in signals:
        if not isinstance(signal, Signal):
            raise ValueError(
                f"a signal must be a recjax.Signal (recjax.load reads one), "
                f"got {type(signal).__name__}"
            )
    names = {signal.modality for signal in signals}
    if len(names) > 1:
        raise ValueError(f"signals of one batch must be of one modality, got {sorted(names)}")
    modality = modality_of_name(names.pop())
    for signal in signals:
        modality.check(signal)
    return modality


def _check_grid(grid: Grid, modality: Modality, prior: Prior) -> None:
    sides, channels = grid.sides, grid.values.shape[-1]
    if len(sides) != len(prior.patch) or prior.channels not in (None, channels):
        raise ValueError(
            f"the prior {prior.name} is one for {len(prior.patch)} axes and {prior.channels} "
            f"channels; the signal has {len(sides)} and {channels}"
        )
    if not all(1 <= side <= modality.max_side for side in sides):
        raise ValueError(f"{modality.name} sides must be 1 to {modality.max_side}, got {sides}")
    if math.prod(sides) > modality.max_cells:
        raise ValueError(f"the {modality.name} has more than {modality.max_cells} {modality.unit}s")
    if not np.isfinite(grid.values).all():
        raise ValueError(f"the {modality.name} has values that are not finite")
    if grid.mask is not None and not grid.mask.any():
        raise ValueError(f"the mask leaves nothing of the {modality.name}")


def _pack(
    signal: Signal,
    grid: Grid,
    modality: Modality,
    payloads: list[Payload],
    prior: Prior,
    extra_bits: int,
) -> Encoding:
    segment = modality.segment if len(payloads) > 1 else 0
    shape = None if grid.sides == prior.patch and not segment else grid.sides
    header = Header(
        scheme=randomness.SCHEME,
        modality=modality,
        shape=shape,
        flag=grid.flag,
        extra_bits=extra_bits,
        exponent=0 if segment else payloads[0].exponent,
        digest_prefix=prior.digest[:3],
        version=max(least_version(shape, grid.meta, segment), 2),
        meta=grid.meta,
        segment=segment,
    )
    stream = payloads[0].stream
    if segment:
        streams = [(payload.exponent, payload.stream) for payload in payloads]
        stream = pack_segments(header, streams, prior.digest)
    named = [
        (f"{name}, segment {i}" if segment else name, latents)
        for i, payload in enumerate(payloads)
        for name, latents in payload.latents.items()
    ]
    groups = payloads[0].kl_bits
    blob = pack(header, stream, prior.digest)
    return Encoding(
        blob=blob,
        latents=dict(named),
        kl_bits={name: sum(payload.kl_bits[name] for payload in payloads) for name in groups},
        index_bits=sum(payload.stream_bits for payload in payloads),
        header_bits=8 * (len(blob) - sum(len(payload.stream) for payload in payloads)),
        signal=signal,
        prior=prior,
    )
