"""The ``.rec`` file: a header of 8 bytes, the shape if needed, the index stream, a checksum.

====== ======= =====================================================================================
offset  bytes   content
====== ======= =====================================================================================
0       2       magic ``EC 72``
2       1       high 4 bits: format version (1 or 2); low 4 bits: scheme of the shared randomness
3       1       bits 0-2 modality (`recjax.modalities.MODALITIES`); bit 3 shape omitted: it is
                that of one patch of the prior; bit 4 the flag of the modality (image: gray); bits
                5-7 extra bits t
4       1       exponent ``a`` of the Zipf code, in units of 1/64
5       3       the first 3 bytes of the prior's SHA-256 digest
8       0 or n  shape, unless omitted: each side as a LEB128 varint (height, width of an image)
        m       index stream (`recjax.bits.range_coder`)
        2 or 4  checksum, big-endian, of all bytes before it followed by the 32 bytes of the prior's
                digest: CRC-16 (polynomial 1021, start FFFF, not reflected) in a file of less than
                4096 bytes, else CRC-32 (that of zlib)
====== ======= =====================================================================================

The checksum covers the whole digest, so that a prior which only shares the first three bytes is
noticed. In version 1 every block stands alone and its index has t bits more than its budget; in
version 2 the blocks of a slot pass through a register with t bits more, and an index has the bits
of the budget.
"""

import binascii
import dataclasses
import math
import zlib
from typing import TYPE_CHECKING

from recjax.bits.zipf import MAX_EXPONENT
from recjax.codec.prior import Prior
from recjax.errors import FormatError
from recjax.modalities import Modality, modality_of_code

if TYPE_CHECKING:
    from recjax.blocks.ordered_random import BlockCoder
    from recjax.blocks.trellis_decoder import TrellisDecoder

MAGIC = b"\xecr"
VERSION = 2
DIGEST_BYTES = 32
PREFIX_BYTES = 3
_FIXED_BYTES = 8
_SMALL_FILE = 4096  # below it the checksum is CRC-16


_RANGES = {"scheme": 15, "extra_bits": 7, "exponent": MAX_EXPONENT}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """Everything a file says before its index stream.

    Attributes:
        scheme: version of the shared randomness, 0 .. 15.
        modality: modality of the signal.
        shape: cells along every axis, within the bounds of the modality; None: one patch of the
            prior.
        flag: the bit that the modality owns; of an image, whether it is gray.
        extra_bits: ``t``, 0 .. 7; a block of budget ``b`` has ``2^(b + t)`` candidates.
        exponent: exponent of the Zipf code in units of 1/64, 0 .. 255.
        digest_prefix: the first three bytes of the prior's digest.
        version: version of the format, 1 or 2.

    Raises:
        ValueError: if a field is outside its range.
    """

    scheme: int
    modality: Modality
    shape: tuple[int, ...] | None
    flag: bool
    extra_bits: int
    exponent: int
    digest_prefix: bytes
    version: int = VERSION

    def __post_init__(self) -> None:
        for name, last in _RANGES.items():
            if not 0 <= getattr(self, name) <= last:
                raise ValueError(f"{name} must be in 0..{last}, got {getattr(self, name)}")
        if len(self.digest_prefix) != PREFIX_BYTES:
            raise ValueError(
                f"digest_prefix must have {PREFIX_BYTES} bytes, got {len(self.digest_prefix)}"
            )
        if self.shape is not None:
            modality = self.modality
            if len(self.shape) != modality.rank:
                raise ValueError(f"a shape of {modality.name} needs {modality.rank} sides")
            if not all(1 <= side <= modality.max_side for side in self.shape):
                raise ValueError(f"shape {self.shape} has a side outside 1..{modality.max_side}")
            if math.prod(self.shape) > modality.max_cells:
                raise ValueError(
                    f"shape {self.shape} has more than {modality.max_cells} {modality.unit}s"
                )

    def sides(self, prior: Prior) -> tuple[int, ...]:
        """Cells of the signal along every axis."""
        return prior.patch if self.shape is None else self.shape

    def block_coder(self, prior: Prior) -> "BlockCoder | TrellisDecoder":
        """The coder of the file's blocks.

        Raises:
            ValueError: the extra bits do not fit the prior's budget.
        """
        # both import JAX, which a header does not need
        from recjax.blocks.ordered_random import BlockCoder
        from recjax.blocks.trellis_decoder import TrellisDecoder

        coder = BlockCoder if self.version == 1 else TrellisDecoder
        return coder(budget=prior.budget, extra_bits=self.extra_bits)

    def log2_indices(self, budget: int) -> int:
        """Bits of the largest index of a block."""
        return budget + self.extra_bits if self.version == 1 else budget


def pack(header: Header, payload: bytes, digest: bytes) -> bytes:
    """The file of ``header`` and ``payload``.

    Args:
        header: the fields before the payload.
        payload: the index stream.
        digest: the 32 bytes of the prior's SHA-256.

    Raises:
        ValueError: if ``digest`` does not begin with ``header.digest_prefix``.

    >>> head = Header(scheme=1, modality=modality_of_code(0), shape=None, flag=False, extra_bits=2,
    ...               exponent=64, digest_prefix=bytes(3))
    >>> len(pack(head, b"", bytes(32)))
    10
    """
    if len(digest) != DIGEST_BYTES or digest[:PREFIX_BYTES] != header.digest_prefix:
        raise ValueError("digest must have 32 bytes and begin with the header's digest_prefix")
    flags = (
        header.modality.code
        | (header.shape is None) << 3
        | header.flag << 4
        | header.extra_bits << 5
    )
    body = (
        MAGIC
        + bytes([header.version << 4 | header.scheme, flags, header.exponent])
        + header.digest_prefix
    )
    body += b"".join(_varint(side) for side in header.shape or ()) + payload
    return body + _checksum(body, digest)


def parse(blob: bytes) -> tuple[Header, bytes]:
    """Header and index stream of a file; needs no prior and checks no checksum (`verify` does).

    Raises:
        FormatError: if this is no ``.rec`` file, is cut off, has a newer version, or a field is
            outside its range.
    """
    if blob[: len(MAGIC)] != MAGIC[: len(blob)] or not blob:
        raise FormatError("not a .rec file")
    if len(blob) > 2 and not 1 <= blob[2] >> 4 <= VERSION:
        raise FormatError(
            f"format version {blob[2] >> 4} is not known "
            f"(this release reads versions 1 to {VERSION})"
        )
    end = len(blob) - _checksum_bytes(len(blob))
    if end < _FIXED_BYTES:
        raise FormatError("the file is cut off")
    if _SMALL_FILE <= len(blob) < _SMALL_FILE + 2:
        raise FormatError(
            f"no file is {len(blob)} bytes long: it is cut off or has bytes left over"
        )
    flags, offset, shape = blob[3], _FIXED_BYTES, None
    try:
        modality = modality_of_code(flags & 7)
    except ValueError as error:
        raise FormatError(str(error)) from None
    if not flags & 8:
        sides = []
        for _ in range(modality.rank):
            side, offset = _read_varint(blob, offset, end)
            sides.append(side)
        shape = tuple(sides)
    try:
        header = Header(
            scheme=blob[2] & 15,
            modality=modality,
            shape=shape,
            flag=bool(flags & 16),
            extra_bits=flags >> 5,
            exponent=blob[4],
            digest_prefix=blob[5:_FIXED_BYTES],
            version=blob[2] >> 4,
        )
    except ValueError as error:
        raise FormatError(str(error)) from error
    return header, blob[offset:end]


def verify(blob: bytes, digest: bytes) -> tuple[Header, bytes]:
    """Like `parse`, and checks that the file is whole and was made with the prior of ``digest``.

    Raises:
        FormatError: as `parse`, and if any byte is wrong or the prior is another one.
    """
    header, payload = parse(blob)
    if header.digest_prefix != digest[:PREFIX_BYTES]:
        raise FormatError(
            f"the file needs the prior {header.digest_prefix.hex()}, "
            f"not {digest[:PREFIX_BYTES].hex()}"
        )
    end = len(blob) - _checksum_bytes(len(blob))
    if _checksum(blob[:end], digest) != blob[end:]:
        raise FormatError("the file is damaged (checksum)")
    return header, payload


def header_bits(header: Header, payload: bytes) -> int:
    """Bits of the file that are not payload: header, shape and checksum."""
    return 8 * (
        len(pack(header, payload, header.digest_prefix + bytes(DIGEST_BYTES - PREFIX_BYTES)))
        - len(payload)
    )


def _checksum_bytes(file_bytes: int) -> int:
    return 2 if file_bytes < _SMALL_FILE else 4


def _checksum(body: bytes, digest: bytes) -> bytes:
    if len(body) + 2 < _SMALL_FILE:
        return binascii.crc_hqx(body + digest, 0xFFFF).to_bytes(2, "big")
    return zlib.crc32(body + digest).to_bytes(4, "big")


def _varint(value: int) -> bytes:
    low = []
    while value > 127:
        low.append(value & 127 | 128)
        value >>= 7
    return bytes([*low, value])


def _read_varint(blob: bytes, offset: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in (0, 7, 14):  # three bytes hold the sides of version 2
        if offset >= end:
            raise FormatError("the file is cut off")
        byte = blob[offset]
        value, offset = value | (byte & 127) << shift, offset + 1
        if byte < 128:
            if byte == 0 and shift:
                raise FormatError("the shape is not written in the shortest form")
            return value, offset
    raise FormatError("a side takes more than three bytes")
