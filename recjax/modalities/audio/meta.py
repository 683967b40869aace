"""Side information of sound in files. Frozen: FORMAT.md, Sound.

One byte, from which sample rate, sample format and number of channels follow; two more combinations
of them take four bytes; none at all is 16 kHz, PCM_16, mono. A last byte is there if samples of a
float format are beyond [-1, 1].
"""

import dataclasses

from recjax.errors import FormatError

COMMON_RATES = (8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
SUBTYPES = ("PCM_16", "PCM_24", "FLOAT", "PCM_U8", "PCM_32", "DOUBLE")
"""Sample formats by their names in libsndfile; the first three are common."""
MOST_CHANNELS = 8
MOST_RATE = 1 << 20
_N_COMMON = 3
_ESCAPE = len(COMMON_RATES) * _N_COMMON * MOST_CHANNELS  # bytes from here on have a rate behind
_RATE_BYTES = 3
_MOST_SCALE = 128  # 2^128 is beyond every number in float32


@dataclasses.dataclass(frozen=True)
class SoundMeta:
    """What a decoder must know of a sound besides its samples.

    Attributes:
        sample_rate: samples per second.
        subtype: sample format, one of `SUBTYPES`.
        channels: number of channels.
        scale: samples are those in [-1, 1] times 2^scale.
    """

    sample_rate: int = 16000
    subtype: str = "PCM_16"
    channels: int = 1
    scale: int = 0


def pack(meta: SoundMeta) -> bytes:
    """The bytes of side information.

    >>> pack(SoundMeta()), len(pack(SoundMeta(44100, "FLOAT", 2)))
    (b'', 1)
    >>> unpack(pack(SoundMeta(11025, "PCM_U8", 8))) == SoundMeta(11025, "PCM_U8", 8)
    True
    """
    if meta == SoundMeta():
        return b""
    subtype, channel = SUBTYPES.index(meta.subtype), meta.channels - 1
    if meta.sample_rate in COMMON_RATES and subtype < _N_COMMON:
        rate = COMMON_RATES.index(meta.sample_rate)
        head = bytes([(rate * _N_COMMON + subtype) * MOST_CHANNELS + channel])
    else:
        head = bytes([_ESCAPE + subtype * MOST_CHANNELS + channel])
        head += (meta.sample_rate - 1).to_bytes(_RATE_BYTES, "big")
    return head + (bytes([meta.scale]) if meta.scale else b"")


def unpack(data: bytes) -> SoundMeta:
    """Side information from its bytes.

    Raises:
        FormatError: no encoder writes these bytes.
    """
    if not data:
        return SoundMeta()
    code, channel = divmod(data[0], MOST_CHANNELS)
    if data[0] < _ESCAPE:
        rate, subtype = divmod(code, _N_COMMON)
        sample_rate, rest = COMMON_RATES[rate], data[1:]
    else:
        subtype, rest = code - _ESCAPE // MOST_CHANNELS, data[1 + _RATE_BYTES :]
        sample_rate = int.from_bytes(data[1 : 1 + _RATE_BYTES], "big") + 1
    if subtype < len(SUBTYPES) and sample_rate <= MOST_RATE:
        scale = rest[0] if rest else 0
        meta = SoundMeta(sample_rate, SUBTYPES[subtype], channel + 1, scale)
        if scale <= _MOST_SCALE and pack(meta) == data:
            return meta
    raise FormatError("the side information of the sound is damaged")
