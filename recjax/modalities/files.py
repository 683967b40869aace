"""Files of signals, of whatever modality."""

import os
from collections.abc import Iterator
from pathlib import Path

from recjax.atomic import MAX_BYTES, check_output, read_bounded, write_atomic
from recjax.modalities import registry
from recjax.modalities.modality import Modality
from recjax.modalities.signal import Signal

_HEAD_BYTES = 64


def load(path: str | os.PathLike[str]) -> Signal:
    """Reads a file; its first bytes tell the modality, its suffix does not matter.

    Args:
        path: a PNG, JPEG or WebP image, which is turned upright as its EXIF orientation says, and
            whose colours become those of sRGB; or a WAV, FLAC, OGG or MP3 sound.

    Returns:
        The signal. Of an image, ``meta["gray"]`` says that the file is gray: it has one channel. A
        sound has ``meta["sample_rate"]`` in Hz and ``meta["subtype"]``, its sample format.

    Raises:
        ValueError: if the file is missing, empty, damaged or of no known kind, larger than 256 MiB
            (a sound: 4 GiB), or holds what cannot be coded without loss of meaning: images with
            sides above 4096, more than 8 bits per channel, several frames, pixels that are not
            opaque, unknown colours; sounds with more than 8 channels or samples not finite.
    """
    data = read_bounded(path, f"a {_formats()}", most_bytes)
    return signal_of(data, str(path))


def signal_of(data: bytes, name: str) -> Signal:
    """The signal in the bytes of a file, which is called ``name`` in errors; see `load`."""
    if not data:
        raise ValueError(f"{name} is empty")
    for modality in _sniffed(data):
        return modality.read(data, name)
    raise ValueError(f"{name} is not a {_formats()}")


def most_bytes(head: bytes) -> int:
    """Size of the largest file that is read of those with these first bytes."""
    return max((modality.max_bytes for modality in _sniffed(head)), default=MAX_BYTES)


def save(signal: Signal, path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Writes a signal; the suffix of ``path`` tells the format.

    Args:
        signal: the signal. Images become ``.png`` or ``.webp`` without loss, or ``.jpg`` of quality
            95; sounds ``.wav`` or ``.flac`` in their sample format, or the nearest one of FLAC.
        path: the file to be written, whole or not at all.
        force: whether an existing file may be replaced.

    Raises:
        ValueError: if the modality has no format of that suffix, or ``path`` cannot be written or
            exists and ``force`` is off.
    """
    modality = registry.modality_of_name(signal.modality)
    path = check_save(path, modality, force=force)
    write_atomic(path, modality.write(signal, path.suffix.lower()), force=force)


def check_save(path: str | os.PathLike[str], modality: Modality, *, force: bool = False) -> Path:
    """The output ``path`` of `save`, whose ValueError it raises before anything is computed."""
    path = check_output(path, force=force)
    if path.suffix.lower() not in modality.suffixes:
        raise ValueError(f"output {path}: the suffix must be one of {', '.join(modality.suffixes)}")
    return path


def list_signals(folder: str | os.PathLike[str]) -> list[Path]:
    """The files of a folder with the suffix of any modality, by name.

    Raises:
        ValueError: if there is none.
    """
    suffixes = {
        suffix
        for modality in registry.MODALITIES
        for suffix in (*modality.suffixes, *modality.read_suffixes)
    }
    paths = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in suffixes)
    if not paths:
        raise ValueError(f"{folder} holds no {_formats()}")
    return paths


def _sniffed(data: bytes) -> Iterator[Modality]:
    head = data[:_HEAD_BYTES]
    return (modality for modality in registry.MODALITIES if modality.sniff(head))


def _formats() -> str:
    return " or ".join(modality.formats for modality in registry.MODALITIES)
