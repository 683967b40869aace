"""The file around the stream, and the file of its prior."""

import binascii
import hashlib
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_DTYPES = {"F32": "<f4", "F16": "<f2", "I32": "<i4", "I16": "<i2", "U16": "<u2"}


class Prior(NamedTuple):
    digest: bytes
    about: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @property
    def patch(self) -> tuple[int, int]:
        """Height and width of a patch, or of a cell of the top level."""
        network = self.about["network"]
        if self.about.get("kind", "siren") == "siren":
            return tuple(network["grid"])
        return (network["stride"] << (network["levels"] - 1),) * 2


class File(NamedTuple):
    version: int
    scheme: int
    gray: bool
    extra_bits: int
    exponent: int
    shape: tuple[int, ...]
    stream: bytes
    meta: bytes
    segments: tuple["File", ...]


def read_prior(path: Path) -> Prior:
    """The arrays of a safetensors file, and its description."""
    blob = path.read_bytes()
    start = 8 + int.from_bytes(blob[:8], "little")
    text = json.loads(blob[8:start])
    about = json.loads(text.pop("__metadata__")["recjax"])
    arrays = {}
    for name, entry in text.items():
        begin, end = entry["data_offsets"]
        values = np.frombuffer(blob[start + begin : start + end], _DTYPES[entry["dtype"]])
        arrays[name] = values.reshape(entry["shape"])
    return Prior(hashlib.sha256(blob).digest(), about, arrays)


def parse(blob: bytes, priors: Sequence[Prior]) -> tuple[File, Prior]:
    """What a file says, and its prior.

    Raises:
      ValueError: the file is of another kind, damaged, or its prior is not there.
    """
    version, scheme, flags = blob[2] >> 4, blob[2] & 15, blob[3]
    if blob[:2] != b"\xec\x72" or version not in (1, 2, 3) or scheme != 1 or flags & 7:
        raise ValueError("not an image of a known version and scheme")
    matching = [prior for prior in priors if prior.digest[:3] == blob[5:8]]
    if not matching:
        raise ValueError("the prior is not there")
    shape, at = [], 8
    while not flags & 8 and len(shape) < 2:
        side, at = varint(blob, at)
        shape.append(side)
    meta, cells = b"", 0
    if version == 3:
        size, at = varint(blob, at)
        meta, at = blob[at : at + size], at + size
        cells, at = varint(blob, at)
    if cells:
        (prior,) = matching
        shape = tuple(shape)
        parts = divide(blob, at, prior, shape, cells)
        head = version, scheme, bool(flags & 16), flags >> 5
        files = tuple(File(*head, x[0], side, x[1:], meta, ()) for x, side in parts)
        return File(*head, blob[4], shape, blob[at:], meta, files), prior
    end = len(blob) - (2 if len(blob) < 4096 else 4)
    fitting = [
        prior for prior in matching if blob[end:] == checksum(blob[:end] + prior.digest, len(blob))
    ]
    if not fitting:
        raise ValueError("the checksum is wrong")
    shape = tuple(shape) or fitting[0].patch
    return File(
        version, scheme, bool(flags & 16), flags >> 5, blob[4], shape, blob[at:end], meta, ()
    ), fitting[0]


def divide(blob, at, prior, shape, cells):
    """The parts of the segments, and their shapes."""
    lengths = []
    for _ in range(0, shape[0], cells):
        length, at = varint(blob, at)
        lengths.append(length)
    check(blob[:at], 0, blob[at : at + 4], prior)
    at, parts = at + 4, []
    for i, length in enumerate(lengths):
        part = blob[at : at + length]
        check(part, i + 1, blob[at + length : at + length + 4], prior)
        at += length + 4
        parts.append((part, (min(cells, shape[0] - i * cells), *shape[1:])))
    if at != len(blob):
        raise ValueError("bytes are left over")
    return parts


def check(data, number, found, prior):
    if found != zlib.crc32(number.to_bytes(4, "big") + data + prior.digest).to_bytes(4, "big"):
        raise ValueError("the checksum is wrong")


def varint(blob, at):
    value, shift = 0, 0
    while at < len(blob) and blob[at] & 128:
        value, shift, at = value | (blob[at] & 127) << shift, shift + 7, at + 1
    if at >= len(blob):
        raise ValueError("the file ends before its checksum")
    return value | blob[at] << shift, at + 1


def checksum(data: bytes, file_bytes: int) -> bytes:
    if file_bytes < 4096:
        return binascii.crc_hqx(data, 0xFFFF).to_bytes(2, "big")
    return zlib.crc32(data).to_bytes(4, "big")
