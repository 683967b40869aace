"""Image files: PNG, JPEG and WebP. The README has a table of what happens to every kind."""

import contextlib
import io
import warnings

import numpy as np
from PIL import Image

from recjax.modalities.image.colour import GRAY_MODES, to_srgb
from recjax.modalities.image.pixels import MAX_SIDE
from recjax.modalities.signal import Signal

_READ = ("PNG", "JPEG", "WEBP")
_WRITE = {
    ".png": {"format": "PNG"},
    ".webp": {"format": "WEBP", "lossless": True},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
}
_LOW_GRAY = {"1": 1, "L;2": 3, "L;4": 15}  # the last level of Pillow's gray of few bits
_ORIENTATION = 0x0112  # tag of EXIF
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read(data: bytes, name: str) -> Signal:
    """The image in the bytes of a file, upright and in sRGB; see `recjax.modalities.load`.

    Args:
        data: a PNG, JPEG or WebP file.
        name: name of the file, for errors.

    Raises:
        ValueError: if it is damaged, larger than 4096 x 4096, has more than 8 bits per channel,
            several frames, pixels that are not opaque, or colours that are not known
            (`recjax.modalities.image.colour.to_srgb`).
    """
    with _decoding(name, data):
        image = Image.open(io.BytesIO(data), formats=_READ)
        rawmode = str(image.tile[0][3]) if image.format == "PNG" and image.tile else ""
    _check(name, image, rawmode)
    with _decoding(name, data):
        image.load()
        top = _LOW_GRAY.get(rawmode, 0)
        if image.info.get("transparency", 256) in range(
            1, top + 1
        ):  # Pillow scales the pixels, not this level
            image.info["transparency"] *= 255 // top
        opaque = not image.has_transparency_data or image.convert("RGBA").getchannel(
            "A"
        ).getextrema() == (255, 255)
        image.info.pop("transparency", None)  # Pillow would warn of it
        turn = _turn(image)
        image = image if turn is None else image.transpose(turn)
    if not opaque:
        raise ValueError(f"{name} has transparent pixels; flatten it onto a background first")
    # the mode of the file, not that of its pixels: colours that happen to be gray stay colours
    gray = image.mode in GRAY_MODES
    return Signal(np.array(to_srgb(name, image)), "image", {"gray": gray})


def write(signal: Signal, suffix: str) -> bytes:
    """The bytes of an image file by its suffix: PNG or WebP without loss, or JPEG of quality 95."""
    image = Image.fromarray(signal.values[..., 0] if signal.meta.get("gray") else signal.values)
    buffer = io.BytesIO()
    image.save(buffer, **_WRITE[suffix])
    return buffer.getvalue()


@contextlib.contextmanager
def _decoding(path: str, data: bytes):
    """Turns whatever Pillow raises for damaged data into one ValueError that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(f"{path} is larger than {MAX_SIDE} x {MAX_SIDE}") from None
    except Image.UnidentifiedImageError:
        if data.startswith(b"\xff\xd8\xff"):
            raise ValueError(
                f"{path} is damaged, or a JPEG of more than 8 bits a channel"
            ) from None
        if data.startswith(b"\x89PNG") or (data[:4], data[8:12]) == (b"RIFF", b"WEBP"):
            raise ValueError(f"{path} is damaged") from None
        raise ValueError(f"{path} is not a PNG, JPEG or WebP image") from None
    except Exception as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def _check(path: str, image: Image.Image, rawmode: str) -> None:
    if max(image.size) > MAX_SIDE:
        raise ValueError(
            f"{path} is {image.width} x {image.height}, larger than {MAX_SIDE} x {MAX_SIDE}"
        )
    if rawmode.endswith("16B"):  # Pillow would cut colours to 8 bits silently
        raise ValueError(f"{path} has 16 bits a channel; convert it to 8 bits first")
    if image.format in ("PNG", "WEBP") and getattr(image, "n_frames", 1) > 1:
        raise ValueError(f"{path} is an animation, not one image")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes the image upright; EXIF data that are damaged say nothing."""
    with contextlib.suppress(Exception):
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
