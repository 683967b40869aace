"""Sound as arrays: its grid of values, PCM levels, PSNR, SI-SDR."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float32

from recjax.errors import FormatError
from recjax.modalities.audio.meta import MOST_CHANNELS, MOST_RATE, SUBTYPES, SoundMeta, pack, unpack
from recjax.modalities.grid import Grid
from recjax.modalities.signal import Signal

MAX_SAMPLES = 1 << 31
PCM_BITS = {"PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
"""Bits of a sample in the formats of whole numbers; the others are FLOAT and DOUBLE."""


def check(signal: Signal) -> None:
    """Raises a ValueError unless the signal is a sound that can be coded."""
    values = signal.values
    if not isinstance(values, np.ndarray):
        raise ValueError(f"the values of audio must be a NumPy array, got {type(values).__name__}")
    if values.dtype != np.float32 or values.ndim != 2:
        raise ValueError(
            f"the values of audio must be float32[T, channels], got "
            f"{values.dtype}{list(values.shape)}"
        )
    length, channels = values.shape
    if not 1 <= channels <= MOST_CHANNELS:
        raise ValueError(f"audio must have 1 to {MOST_CHANNELS} channels, got {channels}")
    if not 1 <= length <= MAX_SAMPLES:
        raise ValueError(f"audio must have 1 to {MAX_SAMPLES} samples, got {length}")
    rate, subtype = signal.meta.get("sample_rate"), _subtype(signal)
    if not isinstance(rate, int | np.integer) or not 1 <= rate <= MOST_RATE:
        raise ValueError(
            f'meta["sample_rate"] of audio must be a whole number of 1 to {MOST_RATE}, got {rate}'
        )
    if subtype not in SUBTYPES:
        raise ValueError(
            f'meta["subtype"] of audio must be one of {", ".join(SUBTYPES)}, got {subtype}'
        )
    if not np.isfinite(values).all():
        raise ValueError("the audio has samples that are not finite")


def to_grid(signal: Signal) -> Grid:
    """Values in [-1/2, 1/2]. Samples beyond [-1, 1] are scaled in float formats, else clipped."""
    subtype, scale, values = _subtype(signal), 0, signal.values
    if subtype not in PCM_BITS:
        mantissa, exponent = math.frexp(float(np.abs(values).max()))
        scale = max(exponent - (mantissa == 0.5), 0)  # a power of 2 is in [-1, 1] times itself
    meta = SoundMeta(int(signal.meta["sample_rate"]), subtype, values.shape[1], scale)
    return Grid(np.clip(np.ldexp(values, -scale - 1), -0.5, 0.5), meta=pack(meta))


def from_grid(grid: Grid) -> Signal:
    """The sound of decoded values, rounded to the levels of its sample format.

    Raises:
        FormatError: the side information is damaged, or has another number of channels.
    """
    meta = unpack(grid.meta)
    if grid.values.shape[-1] != meta.channels:
        raise FormatError(
            f"the file has {grid.values.shape[-1]} channels, and says {meta.channels}"
        )
    most = min(2.0**meta.scale, float(np.finfo(np.float32).max))
    values = np.clip(2 * grid.values, -1, 1).astype(np.float32)
    values = np.clip(np.ldexp(values, meta.scale), -most, most)
    if meta.subtype in PCM_BITS:
        values = rounded(values, PCM_BITS[meta.subtype])
    return Signal(values, "audio", {"sample_rate": meta.sample_rate, "subtype": meta.subtype})


def rounded(
    values: Float32[np.ndarray, "T channels"], bits: int
) -> Float32[np.ndarray, "T channels"]:
    """The nearest multiples of 2^(1 - bits) from -1 to the last one below 1.

    >>> rounded(np.array([[-1.0], [0.3], [1.0]], np.float32), 8).ravel().tolist()
    [-1.0, 0.296875, 0.9921875]
    """
    step = 2.0 ** (1 - bits)
    last = 1 - max(step, 2.0**-24)  # the last float32 below 1, of which PCM_32 has more
    return np.clip(np.rint(values * np.float32(1 / step)) * np.float32(step), -1, np.float32(last))


def describe(flag: bool, meta: bytes) -> dict[str, Any]:
    """Sample rate, sample format and channels, for people."""
    known = unpack(meta)
    return {
        "sample_rate": known.sample_rate,
        "subtype": known.subtype,
        "channels": known.channels,
    }


def psnr(original: Signal, decoded: Signal) -> float:
    """Peak signal-to-noise ratio in dB of samples mapped to [0, 1]; inf if the sounds are equal.

    This is the measure of RECOMBINER (He et al., ICLR 2024): the peak is 1 and the error that of
    (x + 1) / 2, without rounding.

    >>> silence, loud = (Signal(np.full((4, 1), x, np.float32), "audio") for x in (0, 0.5))
    >>> round(psnr(silence, loud), 2)
    12.04
    """
    error = _mean_square(original.values, decoded.values) / 4
    return math.inf if error == 0 else -10 * math.log10(error)


def si_sdr(original: Signal, decoded: Signal) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al., ICASSP 2019).

    All channels count as one vector; no mean is taken off. It is -inf if either sound is silent,
    and inf if one is a multiple of the other.

    >>> x = np.sin(np.arange(99, dtype=np.float32))[:, None]
    >>> si_sdr(Signal(x, "audio"), Signal(x / 2, "audio"))
    inf
    """
    x, y = (np.asarray(each.values, np.float64).ravel() for each in (original, decoded))
    power = float(x @ x)
    target = (float(x @ y) / power if power else 0.0) * x
    kept, lost = float(target @ target), float(np.square(y - target).sum())
    if kept == 0:
        return -math.inf
    return math.inf if lost == 0 else 10 * math.log10(kept / lost)


def _mean_square(a: np.ndarray, b: np.ndarray) -> float:
    total, run = 0.0, 1 << 20  # runs, so that hours of sound take no copy in float64
    for start in range(0, len(a), run):
        place = slice(start, start + run)
        total += float(np.square(a[place].astype(np.float64) - b[place]).sum())
    return total / a.size


def _subtype(signal: Signal) -> str:
    return signal.meta.get("subtype", "PCM_16")
