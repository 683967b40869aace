"""Files of signals, of whatever modality."""

import os
from pathlib import Path

from recjax.atomic import check_output, read_bounded, write_atomic
from recjax.modalities import registry
from recjax.modalities.modality import Modality
from recjax.modalities.signal import Signal

_HEAD_BYTES = 64


def load(path: str | os.PathLike[str]) -> Signal:
    """Reads a file; its first bytes tell the modality, its suffix does not matter.

    Args:
        path: a PNG, JPEG or WebP image. It is turned upright as its EXIF orientation says, and its
            colours become those of sRGB.

    Returns:
        The signal. Of an image, ``meta["gray"]`` says that the file is gray: it has one channel.

    Raises:
        ValueError: if the file is missing, empty, damaged or of no known kind, larger than 256 MiB,
            or holds what cannot be coded without loss of meaning: sides above 4096, more than 8
            bits per channel, several frames, pixels that are not opaque, unknown colours.
    """
    kinds = " or ".join(modality.formats for modality in registry.MODALITIES)
    data = read_bounded(path, f"a {kinds}")
    return signal_of(data, str(path))


def signal_of(data: bytes, name: str) -> Signal:
    """The signal in the bytes of a file, which is called ``name`` in errors; see `load`."""
    if not data:
        raise ValueError(f"{name} is empty")
    for modality in registry.MODALITIES:
        if modality.sniff(data[:_HEAD_BYTES]):
            return modality.read(data, name)
    kinds = " or ".join(modality.formats for modality in registry.MODALITIES)
    raise ValueError(f"{name} is not a {kinds}")


def save(signal: Signal, path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Writes a signal; the suffix of ``path`` tells the format.

    Args:
        signal: the signal. Images become ``.png`` or ``.webp`` without loss, or ``.jpg`` of quality
            95.
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
    suffixes = {suffix for modality in registry.MODALITIES for suffix in modality.suffixes}
    paths = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in suffixes)
    if not paths:
        kinds = " or ".join(modality.formats for modality in registry.MODALITIES)
        raise ValueError(f"{folder} holds no {kinds}")
    return paths
