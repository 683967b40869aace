"""What the codec compresses."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import UInt8


@dataclasses.dataclass(frozen=True)
class Signal:
    """Samples and what they mean.

    Attributes:
        values: of an image, ``uint8[H, W, 3]``; a gray one has three equal channels.
        modality: ``"image"``.
        meta: of an image, ``{"gray": bool}``.
    """

    values: UInt8[np.ndarray, "H W 3"]
    modality: str = "image"
    meta: dict[str, Any] = dataclasses.field(default_factory=dict)
