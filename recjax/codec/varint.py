"""Frozen (FORMAT.md, The file): whole numbers of few bytes, LEB128 in its shortest form."""

from recjax.errors import FormatError


def varint(value: int) -> bytes:
    """The bytes of a number that is not negative, seven bits each, the lowest first.

    >>> varint(300).hex()
    'ac02'
    """
    low = []
    while value > 127:
        low.append(value & 127 | 128)
        value >>= 7
    return bytes([*low, value])


def read_varint(data: bytes, offset: int, end: int, most_bytes: int) -> tuple[int, int]:
    """A number from the bytes at ``offset``, and the offset behind it.

    Args:
        data: the bytes.
        offset: place of the number.
        end: end of what may be read.
        most_bytes: most bytes of the number.

    Raises:
        FormatError: it is cut off, too long, or not in its shortest form.
    """
    value = 0
    for i in range(most_bytes):
        if offset >= end:
            raise FormatError("the file is cut off")
        byte = data[offset]
        value, offset = value | (byte & 127) << 7 * i, offset + 1
        if byte < 128:
            if byte == 0 and i:
                raise FormatError("a number is not written in the shortest form")
            return value, offset
    raise FormatError(f"a number takes more than {most_bytes} bytes")
