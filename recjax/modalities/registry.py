"""The list of modalities."""

from recjax.modalities.audio import AUDIO
from recjax.modalities.image import IMAGE
from recjax.modalities.modality import Modality

MODALITIES: tuple[Modality, ...] = (IMAGE, AUDIO)


def modality_of_name(name: str) -> Modality:
    """The modality with a name.

    Raises:
        ValueError: if this release has none of that name.
    """
    for modality in MODALITIES:
        if modality.name == name:
            return modality
    known = ", ".join(modality.name for modality in MODALITIES)
    raise ValueError(f"modality {name} is not known (this release knows {known})")


def modality_of_code(code: int) -> Modality:
    """The modality with a code of the file format.

    Raises:
        ValueError: if this release has none with that code.
    """
    for modality in MODALITIES:
        if modality.code == code:
            return modality
    known = ", ".join(f"{modality.code} {modality.name}" for modality in MODALITIES)
    raise ValueError(f"modality {code} is not known (this release knows {known})")
