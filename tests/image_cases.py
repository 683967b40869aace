"""Files of every kind of image, by the rows of the table in docs/how_to/image_files.md."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from image_samples import SRGB, chunk, cmyk_profile, encoded, gray_profile, png, rgb_profile
from PIL import Image, ImageCms, features


class Case(NamedTuple):
    """A file, what comes back (None: it is refused), or how it is made if it is no plain file."""

    data: Any
    expected: Any = None
    name: str = "image.png"


def blocks(colours):
    """Flat patches of 8x8 pixels."""
    return np.asarray(colours, np.uint8).repeat(8, 0).repeat(8, 1)


COLOURS = np.array(
    [
        [[200, 40, 40], [40, 180, 60], [50, 60, 200]],
        [[220, 200, 40], [120, 120, 120], [240, 240, 240]],
    ],
    np.uint8,
)
RGB = blocks(COLOURS)
GRAY = blocks(
    [[10, 60, 129], [160, 210, 250]]
)  # Pillow's conversion from ProPhoto makes 129 not quite gray
ALPHA = np.full((*GRAY.shape, 1), 255, np.uint8)
PALETTE = COLOURS.reshape(6, 3)
PLTE = chunk(b"PLTE", PALETTE.tobytes())
KEYS = {"PNG": {}, "JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}


def gray3(values):
    return np.stack([values] * 3, -1)


def saved(values, form="PNG", **options):
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    buffer = io.BytesIO()
    image.save(buffer, form, **KEYS.get(form, {}) | options)
    return buffer.getvalue()


def in_all(values, expected=None, **options):
    return [Case(saved(values, form, **options), expected) for form in KEYS]


def low_gray(depth, chunks=b"", expected=True):
    levels = blocks(np.arange(6).reshape(2, 3) * (2**depth - 1) // 5)
    return Case(
        png(levels, depth, 0, chunks), gray3(levels * (255 // (2**depth - 1))) if expected else None
    )


def with_palette(depth, chunks=b"", expected=True):
    indices = blocks(np.arange(6).reshape(2, 3) % 2**depth)
    palette = chunk(b"PLTE", PALETTE[: 2**depth].tobytes())
    return Case(png(indices, depth, 3, palette + chunks), PALETTE[indices] if expected else None)


TURNED = {  # what EXIF says of row 0 and column 0 of the stored pixels
    1: lambda s: s,
    2: lambda s: s[:, ::-1],
    3: lambda s: s[::-1, ::-1],
    4: lambda s: s[::-1],
    5: lambda s: s.swapaxes(0, 1),
    6: lambda s: np.rot90(s, -1),
    7: lambda s: s[::-1, ::-1].swapaxes(0, 1),
    8: lambda s: np.rot90(s),
}


def orientation(number):
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


def of_rgb(matrix, gamma):
    """What RGB is in sRGB if its profile has this matrix and gamma."""
    light = (RGB / 255) ** gamma @ np.transpose(matrix) @ np.linalg.inv(np.transpose(SRGB))
    return encoded(light)


P3 = [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]
ADOBE = [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
PROPHOTO = [[0.79767, 0.13519, 0.03134], [0.28804, 0.71188, 0.00009], [0.0, 0.0, 0.82491]]
SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
P3_PROFILE, ADOBE_PROFILE = rgb_profile(P3, 2.2), rgb_profile(ADOBE, 563 / 256)
LINEAR = gray_profile(1.0)

# inks that print as they do on paper; the naive formula has 0, 255, 255 for cyan
INKS = np.array(
    [[[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]], [[0, 0, 1, 0], [0, 1, 1, 0], [1, 0, 1, 0]]]
)
PRINTED = np.array(
    [
        [[255, 255, 255], [60, 160, 220], [220, 60, 130]],
        [[250, 230, 60], [220, 50, 50], [60, 150, 80]],
    ],
    np.uint8,
)
CORNERS = np.zeros((16, 3), int)
CORNERS[(INKS @ [8, 4, 2, 1]).ravel()] = PRINTED.reshape(6, 3)
CMYK_PROFILE = cmyk_profile(CORNERS)
CMYK = Image.fromarray(blocks(255 * INKS), "CMYK")


def ycck(profile):
    """The same inks as luma, chroma and black: a JPEG of CMYK whose Adobe marker is changed to say so."""
    inks = np.array(CMYK)
    planes = 255 - np.array(Image.fromarray(inks[..., :3]).convert("YCbCr"))
    data = saved(
        Image.fromarray(np.concatenate([planes, inks[..., 3:]], -1), "CMYK"),
        "JPEG",
        icc_profile=profile,
    )
    assert data.count(b"Adobe\0d\0\0\0\0\0") == 1
    return data.replace(b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0\2")


def twelve_bits():
    data = saved(RGB, "JPEG")
    place = data.index(b"\xff\xc0") + 4
    return data[:place] + b"\x0c" + data[place + 1 :]


def chromaticity(*numbers):
    return chunk(b"cHRM", struct.pack(">8I", *numbers))


def gamma(number):
    return chunk(b"gAMA", struct.pack(">I", number))


def iccp(profile, packed=None):
    return chunk(b"iCCP", b"name\0\0" + (zlib.compress(profile) if packed is None else packed))


def cut(data):
    return data[: len(data) // 2]


def huge_file(path):
    with path.open("wb") as file:
        file.truncate(2**28 + 1)


JUNK_EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12"
TALL, FULL = np.full((4096, 1), 100, np.uint8), png(RGB, 8, 2)
ANIMATION = {"save_all": True, "append_images": [Image.fromarray(RGB[::-1])]}
OTHERS = {"bmp": "BMP", "gif": "GIF", "tif": "TIFF"} | (
    {"avif": "AVIF"} if features.check("avif") else {}
)

CASES = {
    "PNG of 1, 2, 4 or 8 bits: gray, colour, palette, interlaced": [
        *map(low_gray, (1, 2, 4, 8)),
        *map(with_palette, (1, 2, 4, 8)),
        Case(FULL, RGB),
        Case(png(RGB, 8, 2, interlaced=True), RGB),
        Case(png(GRAY, 8, 0, interlaced=True), gray3(GRAY)),
    ],
    "JPEG: gray, colour, progressive": [
        Case(saved(RGB, "JPEG"), RGB, "image.jpg"),
        Case(saved(GRAY, "JPEG"), gray3(GRAY), "image.jpeg"),
        Case(saved(RGB, "JPEG", progressive=True), RGB),
    ],
    "JPEG of several pictures (MPO)": [
        Case(saved(RGB, "MPO", quality=95, subsampling=0, **ANIMATION), RGB)
    ],
    "WebP, lossy or lossless": [
        Case(saved(RGB, "WEBP"), RGB, "image.webp"),
        Case(saved(gray3(GRAY), "WEBP", lossless=False, quality=95), gray3(GRAY), "image.webp"),
    ],
    "1x1 to 4096x4096": [
        Case(saved(TALL[:1]), gray3(TALL[:1])),
        *in_all(TALL, gray3(TALL)),
        *in_all(TALL.T, gray3(TALL.T)),
    ],
    "a suffix of something else": [
        Case(saved(RGB, "JPEG"), RGB, "image.png"),
        Case(FULL, RGB, "image.jpg"),
        Case(saved(RGB, "WEBP"), RGB, "image"),
    ],
    "alpha that is opaque everywhere": [
        Case(saved(np.concatenate([RGB, ALPHA], -1)), RGB),
        Case(png(np.stack([GRAY, ALPHA[..., 0]], -1), 8, 4), gray3(GRAY)),
        Case(saved(np.concatenate([RGB, ALPHA], -1), "WEBP"), RGB),
        Case(png(RGB, 8, 2, chunk(b"tRNS", struct.pack(">3H", 1, 2, 3))), RGB),
        low_gray(4, chunk(b"tRNS", struct.pack(">H", 2))),
        with_palette(8, chunk(b"tRNS", b"\xff" * 6)),
    ],
    "transparent pixels": [
        Case(saved(np.concatenate([RGB, ALPHA - np.eye(16, 24, dtype=np.uint8)[..., None]], -1))),
        Case(saved(np.concatenate([RGB, ALPHA // 2], -1), "WEBP")),
        Case(png(np.stack([GRAY, ALPHA[..., 0] - 1], -1), 8, 4)),
        Case(png(RGB, 8, 2, chunk(b"tRNS", struct.pack(">3H", *COLOURS[0, 0])))),
        low_gray(1, chunk(b"tRNS", struct.pack(">H", 1)), None),
        low_gray(2, chunk(b"tRNS", struct.pack(">H", 3)), None),
        low_gray(4, chunk(b"tRNS", struct.pack(">H", 15)), None),
        with_palette(8, chunk(b"tRNS", b"\xff\x00"), None),
        with_palette(4, chunk(b"tRNS", b"\xff\xff\xfe"), None),
    ],
    "PNG of 16 bits a channel": [
        Case(png(GRAY * np.uint16(257), 16, 0)),
        Case(png(RGB * np.uint16(257), 16, 2)),
        Case(png(np.stack([GRAY, ALPHA[..., 0]], -1) * np.uint16(257), 16, 4)),
        Case(png(np.concatenate([RGB, ALPHA], -1) * np.uint16(257), 16, 6, interlaced=True)),
    ],
    "JPEG of 12 bits": [Case(twelve_bits())],
    "animation (APNG, WebP)": [Case(saved(RGB, form, **ANIMATION)) for form in ("PNG", "WEBP")],
    "EXIF orientation 1 to 8": [
        case
        for number, turned in TURNED.items()
        for case in in_all(RGB, turned(RGB), exif=orientation(number))
    ]
    + [Case(png(RGB, 8, 2, last=chunk(b"eXIf", orientation(6).tobytes()[6:])), np.rot90(RGB, -1))],
    "EXIF data that are damaged": in_all(RGB, RGB, exif=JUNK_EXIF)
    + in_all(RGB, RGB, exif=orientation(9)),
    "other metadata": [
        *in_all(RGB, RGB, xmp=b"<x:xmpmeta/>", comment=b"text"),
        Case(png(RGB, 8, 2, chunk(b"tEXt", b"gamma\0text") + chunk(b"pHYs", bytes(9))), RGB),
        Case(png(RGB, 8, 2, last=chunk(b"tEXt", b"icc_profile\0text")), RGB),
    ],
    "no ICC profile": [
        Case(
            png(
                RGB,
                8,
                2,
                gamma(45455) + chromaticity(31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
            ),
            RGB,
        ),
        Case(png(RGB, 8, 2, chunk(b"sRGB", b"\0") + gamma(100000)), RGB),
        Case(png(RGB, 8, 2, chunk(b"cICP", bytes([12, 13, 0, 1]))), RGB),
    ],
    "ICC profile of RGB, gray or CMYK": [
        *in_all(RGB, RGB, icc_profile=SRGB_PROFILE),
        *in_all(RGB, of_rgb(P3, 2.2), icc_profile=P3_PROFILE),
        *in_all(RGB, of_rgb(ADOBE, 563 / 256), icc_profile=ADOBE_PROFILE),
        with_palette(8, iccp(SRGB_PROFILE)),
        Case(saved(GRAY, "JPEG", icc_profile=SRGB_PROFILE), gray3(GRAY)),
        Case(saved(GRAY, icc_profile=rgb_profile(PROPHOTO, 1.0)), gray3(encoded(GRAY / 255))),
        Case(saved(GRAY, "JPEG", icc_profile=LINEAR), gray3(encoded(GRAY / 255))),
        Case(png(GRAY, 8, 0, iccp(LINEAR) + gamma(100000)), gray3(encoded(GRAY / 255))),
        Case(saved(CMYK, "JPEG", icc_profile=CMYK_PROFILE), blocks(PRINTED)),
        Case(ycck(CMYK_PROFILE), blocks(PRINTED)),
    ],
    "ICC profile that is damaged or of other colours": [
        *in_all(RGB, icc_profile=b"junk"),
        *in_all(RGB, icc_profile=cut(P3_PROFILE)),
        *in_all(RGB, icc_profile=LINEAR),
        *in_all(RGB, icc_profile=CMYK_PROFILE),
        Case(saved(CMYK, "JPEG", icc_profile=SRGB_PROFILE)),
        Case(png(RGB, 8, 2, iccp(b"", b"not packed"))),
        Case(
            saved(RGB, "JPEG", icc_profile=P3_PROFILE).replace(
                b"ICC_PROFILE\0\1\1", b"ICC_PROFILE\0\1\2"
            )
        ),
    ],
    "PNG chunks gAMA and cHRM far from sRGB's, without an ICC profile": [
        Case(png(RGB, 8, 2, gamma(100000))),
        Case(png(GRAY, 8, 0, gamma(55556))),
        Case(
            png(
                RGB,
                8,
                2,
                gamma(45455) + chromaticity(31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000),
            )
        ),
    ],
    "CMYK without an ICC profile": [Case(saved(CMYK, "JPEG")), Case(ycck(b""))],
    "larger than 4096 on a side, or a decompression bomb": [
        *in_all(np.zeros((4097, 1), np.uint8)),
        *in_all(np.zeros((1, 4097), np.uint8)),
        Case(png(RGB, 8, 2, size=(9000, 9000))),
        Case(png(RGB, 8, 2, size=(20_000, 20_000))),
    ],
    "a file of more than 256 MiB": [Case(huge_file)],
    "cut or damaged": [
        *(Case(cut(saved(RGB, form))) for form in KEYS),
        *(Case(saved(RGB, form)[:20]) for form in KEYS),
        Case(FULL[:45] + bytes(20) + FULL[65:]),
        Case(png(RGB, 8, 2, size=(0, 24))),
        Case(png(RGB, 3, 2)),
    ],
    "BMP, GIF, TIFF, AVIF, HEIC, text, anything else": [
        *(Case(saved(RGB, form), name=f"image.{suffix}") for suffix, form in OTHERS.items()),
        Case(saved(RGB, "BMP"), name="image.png"),
        Case(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", name="image.heic"),
        Case(b"some text"),
    ],
    "an empty file, a folder without images, a file that cannot be read": [
        Case(b""),
        Case(Path.mkdir),
        Case(lambda path: None),
        Case(lambda path: path.symlink_to(path)),
    ],
}
