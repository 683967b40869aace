"""Kinds of signals: each a module with a `Modality`, listed in `MODALITIES`."""

from recjax.modalities.files import load, save
from recjax.modalities.grid import Grid
from recjax.modalities.modality import Modality
from recjax.modalities.registry import MODALITIES, modality_of_code, modality_of_name
from recjax.modalities.signal import Signal

__all__ = [
    "MODALITIES",
    "Grid",
    "Modality",
    "Signal",
    "load",
    "modality_of_code",
    "modality_of_name",
    "save",
]
