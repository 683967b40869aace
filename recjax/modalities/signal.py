"""Signals: what the codec compresses."""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, repr=False)
class Signal:
    """Samples and what they mean.

    Attributes:
        values: for an image ``uint8[H, W, 3]``; a gray one has three equal channels. For audio
            ``float32[T, channels]`` in [-1, 1].
        modality: name of the kind of signal, such as ``"image"``.
        meta: side information; for an image ``{"gray": bool}``, for audio ``{"sample_rate": int,
            "subtype": str}`` with a sample format such as ``"PCM_16"``.
    """

    values: np.ndarray
    modality: str = "image"
    meta: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        values = np.asarray(self.values)
        return f"Signal({self.modality}, {'x'.join(map(str, values.shape))} {values.dtype})"
