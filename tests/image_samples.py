"""Image files and colour profiles that Pillow reads but cannot write."""

import struct
import zlib

import numpy as np

ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
SRGB = [
    [0.4361, 0.3851, 0.1431],
    [0.2225, 0.7169, 0.0606],
    [0.0139, 0.0971, 0.7141],
]  # XYZ of D50 from linear RGB
D50 = (0.9642, 1.0, 0.8249)


def chunk(name, data):
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(values, depth, colour, chunks=b"", *, interlaced=False, size=None, last=b""):
    """A PNG: ``values`` [H, W] or [H, W, C], its bit depth and colour type, chunks before and after the pixels."""
    height, width = size or values.shape[:2]
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    rows = b""
    for x, y, dx, dy in passes:
        part = values[y::dy, x::dx]
        bits = part.reshape(*part.shape[:1], -1, 1) >> np.arange(depth - 1, -1, -1) & 1
        rows += b"".join(b"\0" + np.packbits(row.astype(np.uint8)).tobytes() for row in bits)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    body = (
        chunk(b"IHDR", header)
        + chunks
        + chunk(b"IDAT", zlib.compress(rows))
        + last
        + chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + body


def icc(space, connection, tags):
    """An ICC profile of version 2."""
    offset, table, data = 132 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        table += name + struct.pack(">II", offset + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    head = struct.pack(
        ">I4xI4s4s4s12x4s", offset + len(data), 0x02400000, b"mntr", space, connection, b"acsp"
    )
    head = head.ljust(68, b"\0") + _fixed(D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def rgb_profile(matrix, gamma):
    """Of linear RGB to XYZ by ``matrix`` [3, 3], and a power ``gamma``."""
    colorants = {
        n + b"XYZ": b"XYZ ".ljust(8, b"\0") + _fixed(x)
        for n, x in zip((b"r", b"g", b"b"), np.transpose(matrix))
    }
    return icc(
        b"RGB ", b"XYZ ", colorants | {n + b"TRC": _power(gamma) for n in (b"r", b"g", b"b")}
    )


def gray_profile(gamma):
    """Of gray whose ``gamma``-th power is the luminance."""
    return icc(
        b"GRAY", b"XYZ ", {b"wtpt": b"XYZ ".ljust(8, b"\0") + _fixed(D50), b"kTRC": _power(gamma)}
    )


def cmyk_profile(corners):
    """Of inks that are all or nothing: ``corners`` [16, 3] are their colours in sRGB, black counting fastest."""
    xyz = np.array(SRGB) @ decoded(np.array(corners)).T / np.array(D50)[:, None]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lab = np.stack([(116 * y - 16) * 2.55, 500 * (x - y) + 128, 200 * (y - z) + 128], -1)
    ramp = bytes(range(256))
    lut = b"mft1" + struct.pack(">4xBBBx", 4, 3, 2) + _fixed(np.eye(3).ravel())
    lut += 4 * ramp + lab.round().clip(0, 255).astype(np.uint8).tobytes() + 3 * ramp
    return icc(b"CMYK", b"Lab ", {b"A2B0": lut})


def decoded(values):
    """Linear light of sRGB values, 0 .. 255."""
    v = np.asarray(values) / 255
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def encoded(light):
    """sRGB values, 0 .. 255, of linear light."""
    light = np.clip(light, 0, 1)
    v = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return (255 * v).round().astype(np.uint8)


def _fixed(numbers):
    return b"".join(struct.pack(">i", round(float(number) * 65536)) for number in numbers)


def _power(gamma):
    return struct.pack(">4s4xIH", b"curv", 1, round(gamma * 256))
