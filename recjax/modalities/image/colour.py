"""The colours of an image file, as sRGB."""

import io

from PIL import Image, ImageCms

GRAY_MODES = ("1", "L", "LA")
_GAMMA = 1 / 2.2
_CHROMATICITY = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)  # x, y of white, red, green, blue
_MODES = {
    b"RGB ": "RGB",
    b"GRAY": "L",
    b"CMYK": "CMYK",
}  # colour space of a profile -> mode of its pixels


def to_srgb(path: str, image: Image.Image) -> Image.Image:
    """An opaque image in sRGB: by its ICC profile, or as it is if it has none. Gray stays gray.

    Args:
        path: named in errors.
        image: a loaded PNG, JPEG or WebP image of 8 bits a channel.

    Returns:
        The image in mode RGB.

    Raises:
        ValueError: if its colours are not known: its profile is damaged or that of other colours,
            it is CMYK without a profile, or a PNG whose gAMA or cHRM chunk says other colours than
            sRGB.
    """
    facts = {
        name: fact for name, fact in image.info.items() if not isinstance(fact, str)
    }  # texts have any name
    profile = facts.get("icc_profile", b"")  # None: Pillow could not unpack it
    if profile == b"":
        _check_unprofiled(path, image.mode, facts)
        return image.convert("RGB")
    gray = image.mode in GRAY_MODES
    try:
        mode = _MODES[profile[16:20]]
        if (mode == "CMYK") != (image.mode == "CMYK") or (mode == "L" and not gray):
            raise ValueError(f"{image.mode} pixels with a profile of {mode}")
        source, target = (
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
        )
        converted = ImageCms.profileToProfile(image.convert(mode), source, target, outputMode="RGB")
    except Exception:  # Pillow raises many kinds
        raise ValueError(
            f"{path} has a colour profile that is damaged or does not fit; "
            f"remove it or convert the image to sRGB first"
        ) from None
    assert converted is not None  # only if it is done in place
    return converted.convert("L").convert("RGB") if gray else converted


def _check_unprofiled(path: str, mode: str, facts: dict) -> None:
    if mode == "CMYK":
        raise ValueError(f"{path} is CMYK without a colour profile; convert it to RGB first")
    gamma, chromaticity = facts.get("gamma", _GAMMA), facts.get("chromaticity", _CHROMATICITY)
    far = abs(gamma / _GAMMA - 1) > 0.05 or any(
        abs(a - b) > 0.02 for a, b in zip(chromaticity, _CHROMATICITY)
    )
    if far and "srgb" not in facts:
        raise ValueError(
            f"{path} has another gamma or other primaries than sRGB; convert it to sRGB first"
        )
