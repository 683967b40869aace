"""The file around the stream, and the file of its prior."""

import binascii
import hashlib
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_DTYPES = {"F32": "<f4", "F16": "<f2", "I32": "<i4", "U16": "<u2"}


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
    if blob[:2] != b"\xec\x72" or version not in (1, 2) or scheme != 1 or flags & 7:
        raise ValueError("not an image of a known version and scheme")
    end = len(blob) - (2 if len(blob) < 4096 else 4)
    matching = [prior for prior in priors if prior.digest[:3] == blob[5:8]]
    if not matching:
        raise ValueError("the prior is not there")
    fitting = [
        prior for prior in matching if blob[end:] == checksum(blob[:end] + prior.digest, len(blob))
    ]
    if not fitting:
        raise ValueError("the checksum is wrong")
    shape, at = [], 8
    while not flags & 8 and len(shape) < 2:
        side, shift = 0, 0
        while blob[at] & 128:
            side, shift, at = side | (blob[at] & 127) << shift, shift + 7, at + 1
        shape.append(side | blob[at] << shift)
        at += 1
    shape = tuple(shape) or fitting[0].patch
    return File(
        version, scheme, bool(flags & 16), flags >> 5, blob[4], shape, blob[at:end]
    ), fitting[0]


def checksum(data: bytes, file_bytes: int) -> bytes:
    if file_bytes < 4096:
        return binascii.crc_hqx(data, 0xFFFF).to_bytes(2, "big")
    return zlib.crc32(data).to_bytes(4, "big")
