"""The container: round trips, refusals, damaged and hostile files."""

import binascii
import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recjax.bits import zipf
from recjax.codec import container
from recjax.codec.header import least_version
from recjax.codec.segments import pack_segments, segments
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
    shape = draw(st.none() | sides)
    version = draw(st.sampled_from([max(2, least_version(shape, b"", 0)), 3]))
    header = container.Header(
        version=version,
        meta=draw(st.binary(max_size=9)) if version == 3 else b"",
        scheme=draw(st.integers(0, 15)),
        modality=modality,
        shape=shape,
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


@st.composite
def divided_files(draw):
    """Header, exponents and streams of segments, and the digest, of files of several segments."""
    header, _, digest = draw(files())
    rows = draw(st.integers(2, 40))
    header = dataclasses.replace(
        header,
        shape=(rows,) + (1,) * (header.modality.rank - 1),
        exponent=0,
        version=3,
        segment=draw(st.integers(1, rows - 1)),
    )
    stream = st.tuples(exponents, st.binary(max_size=5))
    streams = draw(st.lists(stream, min_size=header.segments, max_size=header.segments))
    return header, streams, digest


@given(divided_files())
def test_round_trip_of_segments(file):
    header, streams, digest = file
    payload = pack_segments(header, streams, digest)
    blob = container.pack(header, payload, digest)
    assert container.parse(blob) == container.verify(blob, digest) == (header, payload)
    found = segments(header, payload, digest)
    assert [(part.exponent, stream) for part, stream in found] == streams
    assert sum(part.shape[0] for part, _ in found) == header.shape[0]
    assert all(part.shape[0] == header.segment for part, _ in found[:-1])
    assert all(part.segments == 1 and part.meta == header.meta for part, _ in found)


@given(divided_files(), st.data())
def test_a_damaged_segment_is_lost_alone(file, data):
    header, streams, digest = file
    payload = pack_segments(header, streams, digest)
    blob = container.pack(header, payload, digest)
    table = len(payload) - sum(5 + len(stream) for _, stream in streams)
    where = data.draw(st.integers(table, len(payload) - 1))
    changed = payload[where] ^ data.draw(st.integers(1, 255))
    damaged = payload[:where] + bytes([changed]) + payload[where + 1 :]
    with pytest.raises(FormatError, match="damaged"):
        container.verify(blob[: len(blob) - len(payload)] + damaged, digest)
    found = segments(header, damaged, digest)
    lost = [i for i, (_, stream) in enumerate(found) if stream is None]
    assert len(lost) == 1 and len(found) == len(streams)
    # what is cut off is lost alone too
    found = segments(header, payload[:where], digest)
    kept = [stream for _, stream in found if stream is not None]
    assert kept == [stream for _, stream in streams][: len(kept)] and len(kept) < len(streams)


@given(divided_files(), st.data())
def test_segments_stay_in_their_places(file, data):
    header, streams, digest = file
    one = data.draw(st.integers(0, len(streams) - 2))
    streams[one] = streams[one + 1] = (streams[one][0], b"ab")
    payload = pack_segments(header, streams, digest)
    start = len(payload) - sum(5 + len(stream) for _, stream in streams)
    start += sum(5 + len(stream) for _, stream in streams[:one])
    first, second = payload[start : start + 7], payload[start + 7 : start + 14]
    swapped = payload[:start] + second + first + payload[start + 14 :]
    assert [stream for _, stream in segments(header, swapped, digest)].count(None) == 2
    with pytest.raises(FormatError, match="left over"):
        segments(header, payload + b"x", digest)
    for damaged in (bytes([payload[0] ^ 1]) + payload[1:], payload[: header.segments - 1]):
        with pytest.raises(FormatError):
            segments(header, damaged, digest)


@given(st.binary(max_size=30))
def test_any_bytes_parse_or_raise(blob):
    for candidate in (
        blob,
        container.MAGIC + blob,
        container.MAGIC + bytes([container.VERSION << 4]) + blob,
    ):
        try:
            header, payload = container.parse(candidate)
            segments(header, payload, bytes(32))
        except FormatError:
            continue


def test_what_version_2_cannot_say():
    header = container.Header(
        version=3,
        scheme=1,
        modality=IMAGE,
        shape=(8, 8),
        flag=False,
        extra_bits=0,
        exponent=0,
        digest_prefix=bytes(3),
    )
    for change in ({"meta": b"a"}, {"segment": 4}):
        with pytest.raises(ValueError, match="version 2 has no metadata, long sides or segments"):
            dataclasses.replace(header, version=2, **change)
    for segment in (8, 9, -1):
        with pytest.raises(ValueError, match="segments of"):
            dataclasses.replace(header, segment=segment)
    with pytest.raises(ValueError, match="metadata of"):
        dataclasses.replace(header, meta=bytes((1 << 20) + 1))


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
        (blob[:2] + b"\x41" + blob[3:], "version 4"),
        (blob[:2] + b"\x01" + blob[3:], "version 0"),
        (blob[:3] + b"\x77" + blob[4:], "modality 7"),
        (
            blob[:3] + b"\x72" + blob[4:],
            r"modality 2 is not known \(this release knows 0 image, 1 audio\)",
        ),
        (blob[:8] + b"\x80\x00" + blob[9:], "shortest"),
        (blob[:8] + b"\x00" + blob[9:], "shape"),
        (blob[:8] + b"\xff\xff\xff\x7f" + blob[9:], "more than 3 bytes"),
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
