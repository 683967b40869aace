"""Signals in several segments: coded as signals of their own, joined when they are decoded."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import recjax
from recjax.codec import container, encoding
from recjax.codec.segments import segments
from recjax.commands.info import describe
from recjax.errors import FormatError
from recjax.modalities import Signal, registry

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def prior(monkeypatch):
    """A small prior of images, which are coded in segments of 32 rows, two of them together."""
    short = dataclasses.replace(registry.MODALITIES[0], segment=32)
    monkeypatch.setattr(registry, "MODALITIES", (short,))
    monkeypatch.setattr(encoding, "_TOGETHER", 64 * 48)
    return recjax.load_prior(GOLDEN / "pyramid.safetensors")


def image(rows):
    y, x = np.mgrid[:rows, :48]
    planes = [127 + 100 * np.sin(x / 9 + k) * np.cos(y / 7) for k in range(3)]
    return Signal(np.stack(planes, -1).astype(np.uint8), meta={"gray": False})


def test_segments_are_signals_of_their_own(prior):
    signal, done = image(100), []
    whole = recjax.encode(signal, prior, effort=1, progress=done.append)
    assert done[-1] == pytest.approx(1) and done == sorted(done)
    header, payload = container.verify(whole.blob, prior.digest)
    assert header.version == 3 and header.segments == 4
    starts = range(0, 100, 32)
    parts = recjax.codec.encoding.encode_batch(
        [Signal(signal.values[start : start + 32], meta=signal.meta) for start in starts],
        prior,
        effort=1,
    )
    assert [container.parse(part.blob)[0].version for part in parts] == [2] * 4
    streams = [container.parse(part.blob)[1] for part in parts]
    assert [stream for _, stream in segments(header, payload, prior.digest)] == streams
    pixels = np.concatenate([part.decoded.values for part in parts])
    np.testing.assert_array_equal(whole.decoded.values, pixels)
    assert sum(whole.kl_bits.values()) == pytest.approx(
        sum(sum(part.kl_bits.values()) for part in parts)
    )
    assert whole.header_bits == 8 * (len(whole.blob) - sum(map(len, streams)))
    assert len(whole.latents) == 4 * len(parts[0].latents)
    facts = describe(whole.blob, prior)
    assert facts["segments"] == 4 and facts["shape"] == [100, 48]
    assert facts["blocks"] == sum(describe(part.blob, prior)["blocks"] for part in parts)


def test_short_signals_are_as_before(prior):
    blob = recjax.compress(image(32), prior, effort=1)
    assert container.parse(blob)[0].version == 2


def test_a_target_holds_for_all_segments_together(prior):
    signal = image(70)
    blob = recjax.compress(signal, prior, effort=1, psnr=31.0)
    decoded = recjax.decompress(blob, priors=[prior])
    assert container.parse(blob)[0].segments == 3
    assert 31 <= registry.MODALITIES[0].score.measure(signal, decoded) < 31.5


def test_damaged_segments_are_refused(prior):
    blob = recjax.compress(image(70), prior, effort=1)
    for where in (9, 12, 40, len(blob) // 2, len(blob) - 1):
        damaged = blob[:where] + bytes([blob[where] ^ 4]) + blob[where + 1 :]
        with pytest.raises(FormatError):
            recjax.decompress(damaged, priors=[prior])
    for cut_off in (blob[:-1], blob[:20], blob + b"a"):
        with pytest.raises(FormatError):
            recjax.decompress(cut_off, priors=[prior])
