"""Signals in and out: load, save, patches and the quality measure of each kind."""

from recjax.modalities.image.files import load, save
from recjax.modalities.signal import Signal

__all__ = ["Signal", "load", "save"]
