"""Implicit neural representations: small networks from pixel coordinates to pixel values."""

from recjax.inr.features import fourier_features, pixel_centres
from recjax.inr.sine import sine_turns
from recjax.inr.siren import Siren, SirenConfig

__all__ = ["Siren", "SirenConfig", "fourier_features", "pixel_centres", "sine_turns"]
