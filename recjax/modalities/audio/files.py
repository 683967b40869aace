"""Sound files: WAV, FLAC, OGG and MP3. A page of the documentation lists what becomes of each."""

import io
from collections.abc import Iterator
from types import ModuleType

import numpy as np

from recjax.modalities.audio.meta import MOST_CHANNELS, SUBTYPES
from recjax.modalities.audio.samples import MAX_SAMPLES, PCM_BITS, check, rounded
from recjax.modalities.signal import Signal

_RUN = 1 << 20
"""Samples that are read or written at once."""
_STREAMED = 0x7FFFF000
"""Lengths from here on stand for an unknown one in WAV files that were written to a pipe."""
_LARGEST_WAV = (1 << 32) - (1 << 16)
_FLAC_SUBTYPES = {"PCM_U8": "PCM_S8", "PCM_16": "PCM_16"}  # all others become PCM_24


def sniff(head: bytes) -> bool:
    """Whether a file with these first bytes is a WAV, FLAC, OGG or MP3 file."""
    if head[:4] in (b"RIFF", b"RF64"):
        return head[8:12] == b"WAVE"
    if head.startswith((b"fLaC", b"OggS", b"ID3")):
        return True
    # a frame of an MP3 file: eleven bits of 1, then a version, layer III, bit rate, sample rate
    frame = len(head) > 2 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2
    return frame and head[1] & 0x18 != 0x08 and head[2] >> 4 != 15 and head[2] & 0x0C != 0x0C


def read(data: bytes, name: str) -> Signal:
    """The sound in the bytes of a file.

    Args:
        data: a WAV, FLAC, OGG or MP3 file.
        name: name of the file, for errors.

    Raises:
        ValueError: if it is damaged, cut off, empty, has more than 8 channels or 2^31 samples,
            samples that are not finite, or the package soundfile is missing.
    """
    soundfile = _soundfile()
    _check_length(data, name)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if file.channels > MOST_CHANNELS:
                raise ValueError(f"{name} has {file.channels} channels: at most {MOST_CHANNELS}")
            if file.frames > MAX_SAMPLES:
                raise ValueError(f"{name} is longer than {MAX_SAMPLES} samples")
            subtype = {"PCM_S8": "PCM_U8"}.get(file.subtype, file.subtype)
            meta = {
                "sample_rate": file.samplerate,
                # what was decoded from lossy formats has no more than 16 bits of use
                "subtype": subtype if subtype in SUBTYPES else "PCM_16",
            }
            # by runs: nothing is allocated that only a header promises
            values = np.concatenate(list(_runs(file, name)))
    except soundfile.SoundFileError:
        raise ValueError(f"{name} is damaged, or of a kind that libsndfile does not read") from None
    if not len(values):
        raise ValueError(f"{name} holds no samples")
    if meta["subtype"] in PCM_BITS:  # decoders of lossy formats overshoot
        np.clip(values, -1, 1, out=values)
    signal = Signal(values, "audio", meta)
    try:
        check(signal)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return signal


def write(signal: Signal, suffix: str) -> bytes:
    """The bytes of a WAV or FLAC file, by its suffix, in the sample format of the signal.

    FLAC has at most 24 bits: samples of PCM_32, FLOAT and DOUBLE become PCM_24.

    Raises:
        ValueError: FLAC cannot hold the sample rate, or the package soundfile is missing.
    """
    soundfile = _soundfile()
    values, subtype = signal.values, signal.meta.get("subtype", "PCM_16")
    rate, form = int(signal.meta["sample_rate"]), "FLAC"
    if suffix == ".flac":
        coded, bits = _FLAC_SUBTYPES.get(subtype, "PCM_24"), min(PCM_BITS.get(subtype, 24), 24)
    else:
        coded, bits = subtype, PCM_BITS.get(subtype, 0)
        form = "WAV" if 8 * values.size < _LARGEST_WAV else "RF64"
    buffer = io.BytesIO()
    try:
        with soundfile.SoundFile(buffer, "w", rate, values.shape[1], coded, format=form) as file:
            for start in range(0, len(values), _RUN):
                run = values[start : start + _RUN]
                # what is no level yet libsndfile would round down
                file.write(rounded(run, bits) if bits else run)
    except soundfile.SoundFileError as error:
        reason = str(error).split(": ", 1)[-1].rstrip(".")
        raise ValueError(
            f"a {suffix} file cannot hold {values.shape[1]} channels at {rate} Hz: {reason}"
        ) from None
    return buffer.getvalue()


def _runs(file, name: str) -> Iterator[np.ndarray]:
    count = 0
    while True:
        run = file.read(_RUN, dtype="float32", always_2d=True)
        count += len(run)
        if count > MAX_SAMPLES:
            raise ValueError(f"{name} is longer than {MAX_SAMPLES} samples")
        yield run
        if len(run) < _RUN:
            return


def _check_length(data: bytes, name: str) -> None:
    """Raises a ValueError if a WAV file promises more samples than there are, which libsndfile
    would not notice."""
    offset = 12
    while data[:4] in (b"RIFF", b"RF64") and offset + 8 <= len(data):
        size = int.from_bytes(data[offset + 4 : offset + 8], "little")
        left = len(data) - offset - 8
        if data[offset : offset + 4] == b"data":
            if data[:4] == b"RF64":  # the size is in the first chunk
                size = int.from_bytes(data[28:36], "little")
            elif size >= _STREAMED:
                return
            if left < size:
                raise ValueError(f"{name} is cut off: {left} of {size} bytes of samples")
            return
        offset += 8 + size + size % 2


def _soundfile() -> ModuleType:
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: libsndfile itself is missing
        raise ValueError(
            "sound files take the package soundfile: pip install 'recjax[audio]'"
        ) from None
    return soundfile
