"""The container: round trips, refusals, damaged and hostile files."""

import binascii

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recjax.bits import zipf
from recjax.codec import container
from recjax.errors import FormatError
from recjax.modalities import MODALITIES
from recjax.modalities.image import IMAGE

exponents = st.integers(0, zipf.MAX_EXPONENT)
digests = st.binary(min_size=32, max_size=32)


@st.composite
def files(draw):
    digest = draw(digests)
    modality = draw(st.sampled_from(MODALITIES))
    most = min(modality.max_side, int(modality.max_cells ** (1 / modality.rank)))
    sides = st.tuples(*[st.integers(1, most)] * modality.rank)
    header = container.Header(
        scheme=draw(st.integers(0, 15)),
        modality=modality,
        shape=draw(st.none() | sides),
        flag=draw(st.booleans()),
        extra_bits=draw(st.integers(0, 7)),
        exponent=draw(exponents),
        digest_prefix=digest[:3],
    )
    return header, draw(st.binary(max_size=60)), digest


@given(files())
def test_container_round_trip(file):
    header, payload, digest = file
    blob = container.pack(header, payload, digest)
    assert container.parse(blob) == container.verify(blob, digest) == (header, payload)
    assert container.header_bits(header, payload) == 8 * (len(blob) - len(payload))


@given(files(), st.data())
def test_any_changed_byte_is_noticed(file, data):
    header, payload, digest = file
    blob = container.pack(header, payload, digest)
    where = data.draw(st.integers(0, len(blob) - 1))
    other = blob[where] ^ data.draw(st.integers(1, 255))
    with pytest.raises(FormatError):
        container.verify(blob[:where] + bytes([other]) + blob[where + 1 :], digest)
    with pytest.raises(FormatError):
        container.verify(blob[:where] + blob[where + 1 :], digest)
    with pytest.raises(FormatError):
        container.verify(blob[:where], digest)
    with pytest.raises(FormatError):
        container.verify(blob + bytes([other]), digest)


@given(files(), st.data())
def test_hostile_headers_with_a_correct_checksum(file, data):
    header, payload, digest = file
    body = container.pack(header, payload, digest)[:-2]
    where = data.draw(st.integers(0, len(body) - 1))
    body = body[:where] + bytes([data.draw(st.integers(0, 255))]) + body[where + 1 :]
    try:
        parsed, rest = container.parse(
            body + binascii.crc_hqx(body + digest, 0xFFFF).to_bytes(2, "big")
        )
    except FormatError:
        return
    assert parsed.shape is None or np.prod(parsed.shape) <= parsed.modality.max_cells
    assert len(rest) <= len(body)


@given(st.binary(max_size=30))
def test_any_bytes_parse_or_raise(blob):
    for candidate in (
        blob,
        container.MAGIC + blob,
        container.MAGIC + bytes([container.VERSION << 4]) + blob,
    ):
        try:
            container.parse(candidate)
        except FormatError:
            continue


@pytest.mark.parametrize("size", [0, 4085, 4086, 4087, 4088, 9000])
def test_checksum_width_follows_the_file_size(size):
    header = container.Header(
        scheme=1,
        modality=IMAGE,
        shape=None,
        flag=False,
        extra_bits=0,
        exponent=0,
        digest_prefix=b"abc",
    )
    digest = b"abc" + bytes(29)
    blob = container.pack(header, bytes(size), digest)
    assert container.verify(blob, digest) == (header, bytes(size))
    assert len(blob) == size + 8 + (2 if size < 4086 else 4)
    with pytest.raises(FormatError):
        container.verify(blob[:-1], digest)
    with pytest.raises(FormatError, match="checksum"):  # a prior whose digest only begins alike
        container.verify(blob, b"abc" + bytes(28) + b"\1")


def test_refusals_say_why():
    header = container.Header(
        scheme=1,
        modality=IMAGE,
        shape=(7, 9),
        flag=True,
        extra_bits=3,
        exponent=70,
        digest_prefix=b"abc",
    )
    digest = b"abc" + bytes(29)
    blob = container.pack(header, b"payload", digest)
    assert blob.hex() == "ec722170" + "46" + "616263" + "0709" + b"payload".hex() + blob[-2:].hex()
    for wrong, reason in [
        (b"", "not a .rec"),
        (b"PNG" + blob, "not a .rec"),
        (blob[:1], "cut off"),
        (blob[:7], "cut off"),
        (blob[:2] + b"\x31" + blob[3:], "version 3"),
        (blob[:2] + b"\x01" + blob[3:], "version 0"),
        (blob[:3] + b"\x77" + blob[4:], "modality 7"),
        (blob[:3] + b"\x71" + blob[4:], r"modality 1 is not known \(this release knows 0 image\)"),
        (blob[:8] + b"\x80\x00" + blob[9:], "shortest"),
        (blob[:8] + b"\x00" + blob[9:], "shape"),
        (blob[:8] + b"\xff\xff\xff\x7f" + blob[9:], "side"),
        (blob[:8] + b"\xff\xff\x03\xff\xff\x03" + blob[10:], "shape"),
    ]:
        with pytest.raises(FormatError, match=reason):
            container.parse(wrong)
    with pytest.raises(FormatError, match="needs the prior 616263"):
        container.verify(blob, bytes(32))
    with pytest.raises(FormatError, match="checksum"):  # a prior whose digest only begins alike
        container.verify(blob, b"abc" + bytes(28) + b"\1")
    with pytest.raises(ValueError, match="extra_bits"):
        container.Header(
            scheme=1,
            modality=IMAGE,
            shape=None,
            flag=False,
            extra_bits=8,
            exponent=0,
            digest_prefix=b"abc",
        )
