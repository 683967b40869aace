"""Other codecs of images: JPEG and WebP, as Pillow writes them."""

import io
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from recjax.modalities.image.pixels import psnr
from recjax.modalities.modality import Rival
from recjax.modalities.signal import Signal

_OPTIONS: dict[str, list[dict[str, Any]]] = {
    "jpeg": [{"format": "JPEG", "optimize": True, "subsampling": sampling} for sampling in (0, 2)],
    "webp": [{"format": "WEBP", "method": 6}],
}


class RivalFile(NamedTuple):
    """A file of another codec.

    Attributes:
        psnr: quality of the decoded image in dB.
        data: the bytes.
    """

    psnr: float
    data: bytes


def best_at_size(values: UInt8[np.ndarray, "H W 3"], codec: str, limit: int) -> RivalFile | None:
    """The best ``"jpeg"`` or ``"webp"`` file of at most ``limit`` bytes, or None.

    For each chroma subsampling the quality is bisected for the largest file that fits; nothing is
    interpolated.
    """
    from PIL import Image

    image, found = Image.fromarray(values), []
    for options in _OPTIONS[codec]:
        low, high = -1, 100  # low fits (or is below the first quality), high + 1 does not
        while low < high:
            middle = (low + high + 1) // 2
            buffer = io.BytesIO()
            image.save(buffer, quality=middle, **options)
            if len(buffer.getvalue()) > limit:
                high = middle - 1
                continue
            low = middle
            decoded = np.array(Image.open(buffer).convert("RGB"))
            found.append(RivalFile(psnr(decoded, values), buffer.getvalue()))
    return max(found, default=None)


def _best(codec: str) -> Callable[[Signal, int], tuple[float, int] | None]:
    def best(signal: Signal, limit: int) -> tuple[float, int] | None:
        file = best_at_size(signal.values, codec, limit)
        return file and (file.psnr, len(file.data))

    return best


RIVALS = (Rival("jpeg", "JPEG", _best("jpeg")), Rival("webp", "WebP", _best("webp")))
