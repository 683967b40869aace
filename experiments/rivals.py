"""Other codecs for images, as Pillow writes them."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, features

from recjax.modalities import Signal
from recjax.modalities.image.pixels import psnr
from recjax.results.files import Curve

_COMMON: dict[str, tuple[str, dict[str, Any]]] = {
    "JPEG 2000": (
        "jpg_2000",
        {
            "format": "JPEG2000",
            "quality_mode": "rates",
            "irreversible": True,
            "mct": 1,
            "no_jp2": True,
        },
    ),
    "WebP": ("webp", {"format": "WEBP", "method": 6}),
    # the default tunes for the eye
    "AVIF 4:4:4": (
        "avif",
        {"format": "AVIF", "subsampling": "4:4:4", "advanced": {"tune": "psnr"}},
    ),
}

_SETTINGS: dict[str, list[dict[str, Any]]] = {
    "JPEG 2000": [
        {"quality_layers": [24 / bpp]} for bpp in (0.05, 0.1, 0.2, 0.35, 0.6, 1.0, 1.6, 2.5)
    ],
    "WebP": [{"quality": quality} for quality in (0, 5, 15, 35, 60, 80, 90, 95)],
    "AVIF 4:4:4": [{"quality": quality} for quality in (10, 20, 30, 40, 50, 60, 70, 80)],
}


def missing_codecs() -> list[str]:
    """Codecs that this Pillow was built without."""
    return [name for name, (feature, _) in _COMMON.items() if not features.check(feature)]


def measured_curves(signals: Sequence[Signal]) -> list[Curve]:
    """For each codec mean rate and mean PSNR of real files, all images at the same setting."""
    curves = []
    for name, (_, common) in _COMMON.items():
        if name not in missing_codecs():
            rates, quality = zip(
                *(_point(signals, common | setting) for setting in _SETTINGS[name]), strict=True
            )
            curves.append(Curve(name, rates, quality))
    return curves


def _point(signals, options):
    rates, quality = [], []
    for signal in signals:
        buffer = io.BytesIO()
        Image.fromarray(signal.values).save(buffer, **options)
        rates.append(8 * len(buffer.getvalue()) / signal.values[..., 0].size)
        quality.append(psnr(np.array(Image.open(buffer).convert("RGB")), signal.values))
    return float(np.mean(rates)), float(np.mean(quality))
