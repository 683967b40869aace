"""Files of several streams, one for each segment of a signal. Frozen: FORMAT.md, The file.

A segment is a number of cells along the first axis, coded as a signal of its own: a long signal is
coded in bounded memory, cut, sought and decoded in parallel, and one segment can be lost alone. The
payload of such a file is

====== =============================================================================================
bytes  content
====== =============================================================================================
...    for every segment the bytes of its part, as a varint
4      CRC-32 of the header and this table
...    for every segment its part, an exponent of one byte and the stream, and 4 bytes of CRC-32
====== =============================================================================================

Every CRC-32 is that of a number in 4 bytes (0 for the table, i + 1 for segment i), the bytes, and
the 32 bytes of the prior's digest.
"""

import zlib
from collections.abc import Sequence

from recjax.codec.header import Header, head_bytes
from recjax.codec.varint import read_varint, varint
from recjax.errors import FormatError

_LENGTH_BYTES = 5
_CRC_BYTES = 4


def pack_segments(header: Header, streams: Sequence[tuple[int, bytes]], digest: bytes) -> bytes:
    """The payload of several segments: a table of their lengths, and streams with checksums.

    Args:
        header: header of the file.
        streams: exponent and stream of every segment.
        digest: the 32 bytes of the prior's SHA-256.
    """
    parts = [bytes([exponent]) + stream for exponent, stream in streams]
    table = b"".join(varint(len(part)) for part in parts)
    parts = [head_bytes(header) + table, *parts]
    # the number of a segment is under its checksum: no two can be exchanged
    checked = [part + _checksum(i, part, digest) for i, part in enumerate(parts)]
    return b"".join(checked)[len(head_bytes(header)) :]


def segments(header: Header, payload: bytes, digest: bytes) -> list[tuple[Header, bytes | None]]:
    """Header and stream of every segment; None in place of a stream that is damaged or cut off.

    Raises:
        FormatError: the table of segments is damaged.
    """
    if not header.segment:
        return [(header, payload)]
    # every segment has a length in the table: no more are looked for than there are bytes
    if header.segments > len(payload):
        raise FormatError("the file is cut off")
    lengths, offset = [], 0
    for _ in range(header.segments):
        length, offset = read_varint(payload, offset, len(payload), _LENGTH_BYTES)
        lengths.append(length)
    table, start = head_bytes(header) + payload[:offset], offset + _CRC_BYTES
    if payload[offset:start] != _checksum(0, table, digest):
        raise FormatError("the file is damaged (checksum of the header)")
    if 0 in lengths or sum(lengths) + _CRC_BYTES * len(lengths) < len(payload) - start:
        raise FormatError("the file has bytes left over")
    found: list[tuple[Header, bytes | None]] = []
    for number, length in enumerate(lengths):
        part, check = payload[start : start + length], start + length
        start = check + _CRC_BYTES
        if payload[check:start] == _checksum(number + 1, part, digest):
            found.append((header.of_segment(number, part[0]), part[1:]))
        else:
            found.append((header.of_segment(number, 0), None))
    return found


def _checksum(number: int, part: bytes, digest: bytes) -> bytes:
    return zlib.crc32(number.to_bytes(4, "big") + part + digest).to_bytes(_CRC_BYTES, "big")
