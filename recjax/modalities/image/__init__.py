"""Images: PNG, JPEG and WebP files, 8 bits per channel, sRGB."""

from recjax.modalities.image.augment import mirrored, recoloured
from recjax.modalities.image.pixels import (
    MAX_SIDE,
    check,
    from_grid,
    psnr,
    resized,
    to_grid,
)
from recjax.modalities.image.rivals import RIVALS
from recjax.modalities.modality import Modality, Score
from recjax.modalities.signal import Signal

# Pillow is imported by the functions that need it: `recjax info` reads no image


def _read(data: bytes, name: str) -> Signal:
    from recjax.modalities.image.files import read

    return read(data, name)


def _write(signal: Signal, suffix: str) -> bytes:
    from recjax.modalities.image.files import write

    return write(signal, suffix)


def _sniff(head: bytes) -> bool:
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return head.startswith((b"\x89PNG", b"\xff\xd8\xff")) or webp


IMAGE = Modality(
    name="image",
    code=0,
    axes=("height", "width"),
    channels=frozenset({3}),
    unit="pixel",
    max_side=MAX_SIDE,
    max_cells=MAX_SIDE**2,
    score=Score("PSNR", "dB", lambda original, decoded: psnr(decoded.values, original.values)),
    qualities={name: f"photo-{name}" for name in ("low", "medium", "high", "best")},
    default_quality="high",
    check=check,
    to_grid=to_grid,
    from_grid=from_grid,
    formats="PNG, JPEG or WebP image",
    sniff=_sniff,
    read=_read,
    write=_write,
    suffixes=(".png", ".webp", ".jpg", ".jpeg"),
    describe=lambda flag, meta: {"gray": flag},
    symmetry=mirrored,
    augment=recoloured,
    rescale=resized,
    rivals=RIVALS,
)
