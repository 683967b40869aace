"""The ``.rec`` file: a header, one stream or several, checksums. Frozen: FORMAT.md, The file.

====== ======= =====================================================================================
offset  bytes   content
====== ======= =====================================================================================
0       2       magic ``EC 72``
2       1       high 4 bits: format version (1 to 3); low 4 bits: scheme of the shared randomness
3       1       bits 0-2 modality (`recjax.modalities.MODALITIES`); bit 3 shape omitted: it is
                that of one patch of the prior; bit 4 the flag of the modality (image: gray); bits
                5-7 extra bits t
4       1       exponent ``a`` of the Zipf code, in units of 1/64
5       3       the first 3 bytes of the prior's SHA-256 digest
8       0 or n  shape, unless omitted: each side as a LEB128 varint (height, width of an image)
        ...     version 3: metadata and the table of segments, see `recjax.codec.segments`
        m       stream, or streams of segments
        2 or 4  checksum, big-endian, of all bytes before it followed by the 32 bytes of the prior's
                digest: CRC-16 (polynomial 1021, start FFFF, not reflected) in a file of less than
                4096 bytes, else CRC-32 (that of zlib); not in a file of several segments, which
                has checksums for the header and for every segment
====== ======= =====================================================================================

The checksum covers the whole digest, so that a prior which only shares the first three bytes is
noticed. In version 1 every block stands alone and its index has t bits more than its budget; from
version 2 on the blocks of a slot pass through a register with t bits more, and an index has the
bits of the budget. Version 3 is used where version 2 cannot say it: metadata, sides of more than
21 bits, segments.
"""

import binascii
import zlib

from recjax.codec.header import MAGIC, PREFIX_BYTES, SIDE_BYTES, Header, head_bytes
from recjax.codec.segments import segments
from recjax.codec.varint import read_varint
from recjax.errors import FormatError
from recjax.modalities import modality_of_code

VERSION = 3
DIGEST_BYTES = 32
_FIXED_BYTES = 8
_SMALL_FILE = 4096  # below it the checksum is CRC-16
_META_BYTES = 3  # of the length of the metadata


def pack(header: Header, payload: bytes, digest: bytes) -> bytes:
    """The file of ``header`` and ``payload``.

    Args:
        header: the fields before the payload.
        payload: the stream; of several segments that of
            `recjax.codec.segments.pack_segments`.
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
    body = head_bytes(header) + payload
    return body if header.segment else body + _checksum(body, digest)


def parse(blob: bytes) -> tuple[Header, bytes]:
    """Header and payload of a file; needs no prior and checks no checksum (`verify` does).

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
    version, flags, offset, shape = blob[2] >> 4, blob[3], _FIXED_BYTES, None
    try:
        modality = modality_of_code(flags & 7)
    except ValueError as error:
        raise FormatError(str(error)) from None
    if not flags & 8:
        sides = []
        for _ in range(modality.rank):
            side, offset = read_varint(blob, offset, end, SIDE_BYTES[version])
            sides.append(side)
        shape = tuple(sides)
    meta, segment = b"", 0
    if version == 3:
        size, offset = read_varint(blob, offset, end, _META_BYTES)
        if size > end - offset:
            raise FormatError("the file is cut off")
        meta, offset = blob[offset : offset + size], offset + size
        segment, offset = read_varint(blob, offset, end, SIDE_BYTES[version])
    if segment:
        end = len(blob)
    elif _SMALL_FILE <= len(blob) < _SMALL_FILE + 2:
        raise FormatError(
            f"no file is {len(blob)} bytes long: it is cut off or has bytes left over"
        )
    try:
        header = Header(
            scheme=blob[2] & 15,
            modality=modality,
            shape=shape,
            flag=bool(flags & 16),
            extra_bits=flags >> 5,
            exponent=blob[4],
            digest_prefix=blob[5:_FIXED_BYTES],
            version=version,
            meta=meta,
            segment=segment,
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
    if header.segment:
        if any(stream is None for _, stream in segments(header, payload, digest)):
            raise FormatError("the file is damaged (checksum of a segment)")
        return header, payload
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
