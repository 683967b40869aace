"""Damaged and hostile ``.rec`` files: a FormatError or, where the checksum is right, any image;
never more."""

import binascii
import contextlib
import dataclasses
import tracemalloc

import numpy as np
import pytest

import recjax
from recjax.bits.range_coder import encode_indices
from recjax.codec import decompress, decompress_batch, encode_batch
from recjax.codec.container import Header, pack, parse
from recjax.codec.varint import varint
from recjax.errors import FormatError
from recjax.modalities import Signal
from recjax.modalities.image import IMAGE

pytestmark = pytest.mark.standard_promotion


@pytest.fixture(scope="module")
def blob(waves, prior, effort):
    (result,) = encode_batch(
        [Signal(waves(1, 1, 13, 21)[0], "image", {"gray": False})], prior, effort=effort
    )
    return result.blob


def sealed(body, prior):
    """With the checksum that belongs to it, as the table in FORMAT.md says."""
    return body + binascii.crc_hqx(body + prior.digest, 0xFFFF).to_bytes(2, "big")


def packed(prior, payload=b"", **fields):
    header = dict(
        scheme=1,
        modality=IMAGE,
        shape=(8, 8),
        flag=False,
        extra_bits=1,
        exponent=64,
        digest_prefix=prior.digest[:3],
    )
    return pack(Header(**header | fields), payload, prior.digest)


def test_seal_is_that_of_the_format(blob, prior):
    assert sealed(blob[:-2], prior) == blob


def test_every_flipped_byte_is_noticed(blob, prior):
    rng = np.random.default_rng(0)
    for at in range(len(blob)):
        for mask in (1, 128, int(rng.integers(1, 256))):
            damaged = bytearray(blob)
            damaged[at] ^= mask
            with pytest.raises(FormatError):
                decompress(bytes(damaged), priors=[prior])


def test_every_truncation_and_extension_is_noticed(blob, prior):
    for end in range(len(blob)):
        with pytest.raises(FormatError):
            decompress(blob[:end], priors=[prior])
    for extra in (b"\0", b"\xff", blob):
        with pytest.raises(FormatError):
            decompress(blob + extra, priors=[prior])


def test_swapped_bytes_are_noticed(blob, prior):
    for at in range(len(blob) - 1):
        swapped = blob[:at] + blob[at + 1 : at + 2] + blob[at : at + 1] + blob[at + 2 :]
        if swapped != blob:
            with pytest.raises(FormatError):
                decompress(swapped, priors=[prior])


def test_damage_with_a_right_checksum_decodes_or_is_a_format_error(blob, prior):
    rng = np.random.default_rng(1)
    decoded = 0
    for at in range(5, len(blob) - 2):
        damaged = bytearray(blob[:-2])
        damaged[at] ^= int(rng.integers(1, 256))
        try:
            values = decompress(sealed(bytes(damaged), prior), priors=[prior]).values
        except FormatError:
            continue
        assert values.dtype == np.uint8 and values.ndim == 3
        decoded += 1
    assert decoded > 0


def test_random_streams_with_a_right_checksum(blob, prior):
    rng = np.random.default_rng(2)
    payload = parse(blob)[1]
    for length in (0, 1, 4, len(payload) - 1, len(payload), len(payload) + 5):
        for _ in range(5):
            body = blob[: -2 - len(payload)] + rng.bytes(length)
            with contextlib.suppress(FormatError):
                assert decompress(sealed(body, prior), priors=[prior]).values.shape == (13, 21, 3)


@pytest.mark.parametrize("shape", [(4096, 4096), (4096, 1), (4097, 1), (65535, 1024)])
def test_huge_shapes_in_small_files_cost_little(prior, shape):
    head = packed(prior, shape=(1, 1))[:8]  # a header would refuse sides that are too large
    body = head + b"".join(map(varint, shape)) + b"\x12\x34"
    tracemalloc.start()
    with pytest.raises(FormatError):
        decompress(sealed(body, prior), priors=[prior])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3e8


def test_streams_too_short_for_any_indices_are_not_begun(prior, monkeypatch):
    monkeypatch.setattr("recjax.codec.siren.stream.decode_indices", None)
    for exponent in (64, 255):
        with pytest.raises(FormatError, match="cut off"):
            decompress(
                packed(prior, b"\x12\x34", shape=(512, 512), exponent=exponent), priors=[prior]
            )


def test_images_larger_than_asked_for_are_refused(blob, prior):
    assert decompress(blob, priors=[prior], max_cells=13 * 21).values.shape == (13, 21, 3)
    with pytest.raises(FormatError, match="more than 272 pixels"):
        decompress(blob, priors=[prior], max_cells=272)
    with pytest.raises(FormatError, match="more than 63 pixels"):
        decompress(packed(prior, shape=None), priors=[prior], max_cells=63)


def test_unknown_priors_are_named(blob, prior):
    with pytest.raises(FormatError, match=prior.digest[:3].hex()):
        decompress(blob)


def test_other_schemes_and_versions_are_refused(blob, prior):
    with pytest.raises(FormatError, match="scheme 2"):
        decompress(packed(prior, scheme=2), priors=[prior])
    body = blob[:2] + bytes([0x41]) + blob[3:-2]
    with pytest.raises(FormatError, match="version 4"):
        decompress(sealed(body, prior), priors=[prior])


@pytest.mark.parametrize("code", range(2, 8))
def test_other_modalities_are_refused(blob, prior, code):
    body = blob[:3] + bytes([blob[3] | code]) + blob[4:-2]
    with pytest.raises(FormatError, match=rf"modality {code} is not known \(this release knows 0"):
        decompress(sealed(body, prior), priors=[prior])


def test_a_prior_of_another_modality_is_refused(blob, prior):
    other = dataclasses.replace(prior, modality="sound")
    with pytest.raises(FormatError, match="a prior for sound cannot decode image"):
        decompress(blob, priors=[other])


def test_the_prior_is_told_from_others_with_the_same_prefix(blob, prior):
    twin = dataclasses.replace(prior, digest=prior.digest[:3] + bytes(29))
    expected = decompress(blob, priors=[prior]).values
    for priors in ([twin, prior], [prior, twin]):
        np.testing.assert_array_equal(decompress(blob, priors=priors).values, expected)
    with pytest.raises(FormatError):
        decompress(blob, priors=[twin])


def test_blocks_too_large_for_any_coder_are_refused(prior):
    large = dataclasses.replace(prior, budget=20)
    for extra_bits in (5, 7):
        with pytest.raises(FormatError):
            decompress(packed(large, extra_bits=extra_bits), priors=[large])


def test_one_bad_file_in_a_batch_is_an_error(blob, prior):
    with pytest.raises(FormatError):
        decompress_batch([blob, blob[:-1]], priors=[prior])


def test_extreme_indices_decode(prior):
    for version, bits in ((1, prior.budget + 1), (2, prior.budget)):
        for value in (0, 2**bits - 1):
            payload = encode_indices(
                np.full(prior.n_blocks, value), np.full(prior.n_blocks, bits), 64
            )
            file = packed(prior, payload, shape=None, version=version)
            assert decompress(file, priors=[prior]).values.shape == (8, 8, 3)


def test_registers_that_are_too_long_are_refused(prior):
    with pytest.raises(FormatError, match="extra_bits"):
        decompress(packed(prior, extra_bits=prior.budget // 2 + 1), priors=[prior])


@pytest.mark.parametrize(
    "data", [b"", b"\xec", b"\xecr", b"PNG", bytes(9), bytes(5000), b"\xecr\x11"]
)
def test_other_data_is_refused(data, prior):
    with pytest.raises(FormatError):
        decompress(data, priors=[prior])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"priors": ("photo-low",)}, "priors must be"),
        ({"priors": "photo-low"}, "priors must be"),
        ({"priors": None}, "priors must be"),
        ({"priors": recjax.load_prior("photo-low")}, "priors must be"),
        *(({"max_cells": value}, "max_cells") for value in (0, -1, "8", 1.5)),
    ],
)
def test_arguments_of_other_kinds_are_named(arguments, named):
    with pytest.raises(ValueError, match=named):
        decompress(b"", **arguments)


def test_priors_may_be_seen_once(prior):
    file = packed(prior)
    one, other = decompress_batch([file, file], priors=(own for own in [prior]))
    assert (one.values == other.values).all()
