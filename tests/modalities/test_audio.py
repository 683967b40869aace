"""Sound files in and out, their side information, and files of a wanted rate per second."""

import builtins
import io
import json
import math
import struct

import miniature
import numpy as np
import pytest
import soundfile

import recjax
from recjax.codec import encode
from recjax.codec.container import parse
from recjax.errors import FormatError
from recjax.modalities import Signal
from recjax.modalities.audio import AUDIO, meta
from recjax.modalities.audio.meta import SoundMeta
from recjax.modalities.audio.samples import psnr, si_sdr
from recjax.modalities.files import signal_of


def noise(length=3000, channels=2, seed=0):
    values = 0.3 * np.random.default_rng(seed).standard_normal((length, channels))
    return np.clip(values, -0.99, 0.99)


def file_of(values, form="WAV", subtype="PCM_16", rate=16000):
    buffer = io.BytesIO()
    soundfile.write(buffer, values, rate, format=form, subtype=subtype)
    return buffer.getvalue()


def sound(values, rate=16000, subtype="PCM_16"):
    return Signal(
        np.asarray(values, np.float32), "audio", {"sample_rate": rate, "subtype": subtype}
    )


def through_the_doors(signal):
    return AUDIO.from_grid(AUDIO.to_grid(signal))


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize(("channels", "rate"), [(1, 16000), (2, 44100), (8, 1), (3, 192000)])
def test_wav_files_come_back_as_they_were(subtype, channels, rate):
    data = file_of(noise(500, channels), subtype=subtype, rate=rate)
    signal = signal_of(data, "a.wav")
    assert signal.meta == {"sample_rate": rate, "subtype": subtype}
    assert signal.values.dtype == np.float32 and signal.values.shape == (500, channels)
    back = through_the_doors(signal)
    assert back.meta == signal.meta
    np.testing.assert_array_equal(back.values, signal.values)
    written, _ = soundfile.read(io.BytesIO(AUDIO.write(back, ".wav")), always_2d=True)
    original, _ = soundfile.read(io.BytesIO(data), always_2d=True)
    # samples are float32: of the finest formats 24 bits are left
    tolerance = 2.0**-24 if subtype in ("PCM_32", "DOUBLE") else 0
    np.testing.assert_allclose(written, original, rtol=0, atol=tolerance)
    assert soundfile.info(io.BytesIO(AUDIO.write(back, ".wav"))).subtype == subtype


@pytest.mark.parametrize(
    ("subtype", "written"),
    [
        ("PCM_U8", "PCM_S8"),
        ("PCM_16", "PCM_16"),
        ("PCM_24", "PCM_24"),
        ("PCM_32", "PCM_24"),
        ("FLOAT", "PCM_24"),
    ],
)
def test_flac_files_have_the_nearest_sample_format(subtype, written):
    signal = through_the_doors(sound(noise(), subtype=subtype))
    data = AUDIO.write(signal, ".flac")
    assert soundfile.info(io.BytesIO(data)).subtype == written
    tolerance = 2.0**-24 if written == "PCM_24" else 0
    np.testing.assert_allclose(signal_of(data, "a").values, signal.values, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("form", "subtype", "kept"),
    [
        ("FLAC", "PCM_S8", "PCM_U8"),
        ("FLAC", "PCM_24", "PCM_24"),
        ("OGG", "VORBIS", "PCM_16"),
        ("OGG", "OPUS", "PCM_16"),
        ("MP3", "MPEG_LAYER_III", "PCM_16"),
        ("WAV", "ULAW", "PCM_16"),
        ("RF64", "PCM_16", "PCM_16"),
        ("WAVEX", "PCM_24", "PCM_24"),
    ],
)
def test_other_formats_are_read(form, subtype, kept):
    data = file_of(noise(16000), form, subtype)
    assert AUDIO.sniff(data[:64])
    signal = signal_of(data, "a")
    assert signal.meta == {"sample_rate": 16000, "subtype": kept}
    assert signal.values.shape == (16000, 2) and np.abs(signal.values).max() <= 1


def test_levels_are_those_of_whole_numbers():
    levels = np.arange(-32768, 32768, dtype=np.int16)
    signal = signal_of(file_of(levels), "a.wav")
    np.testing.assert_array_equal(signal.values[:, 0] * 32768, levels)
    written, _ = soundfile.read(io.BytesIO(AUDIO.write(signal, ".wav")), dtype="int16")
    np.testing.assert_array_equal(written, levels)
    between = AUDIO.write(sound([[0.6 / 32768], [-0.6 / 32768]]), ".wav")
    np.testing.assert_array_equal(soundfile.read(io.BytesIO(between), dtype="int16")[0], [1, -1])
    full = through_the_doors(sound([[1.0], [-1.0], [2.0]]))
    np.testing.assert_array_equal(full.values, [[32767 / 32768], [-1], [32767 / 32768]])


@pytest.mark.parametrize("peak", [0.0, 1e-20, 0.5, 1.0, 1.0000001, 2.0, 7.3, 3e38])
def test_loud_float_samples_are_scaled(peak):
    signal = sound([[peak], [-peak / 3]], subtype="FLOAT")
    grid = AUDIO.to_grid(signal)
    assert np.abs(grid.values).max() <= 0.5
    assert len(grid.meta) == (1 if peak <= 1 else 2)
    np.testing.assert_array_equal(AUDIO.from_grid(grid).values, signal.values)


def wav(data_bytes, said):
    head = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", 36, b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16
    )
    return head + b"data" + struct.pack("<I", said) + bytes(data_bytes)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (wav(100, 102), "a is cut off: 100 of 102 bytes"),
        (wav(100, 0), "a holds no samples"),
        (wav(100, 100)[:40], "a is damaged"),
        (file_of(noise(), "RF64")[:-2], "a is cut off"),
        (file_of(noise(), "FLAC")[:-2], "a is damaged"),
        (file_of(noise(16000), "OGG", "VORBIS")[:2000], "a is damaged"),
        (b"fLaC" + bytes(200), "a is damaged"),
        (b"OggS" + bytes(200), "a is damaged"),
        (file_of(noise(3, 9)), "a has 9 channels"),
        (file_of(noise(3), rate=2**20 + 1), "sample_rate"),
        (file_of(noise() * np.nan, subtype="FLOAT"), "not finite"),
        (file_of(noise() * np.inf, subtype="FLOAT"), "not finite"),
        (file_of(noise() + 1e300, subtype="DOUBLE"), "not finite"),
        (file_of(noise(), "AIFF"), "a is not a PNG, JPEG or WebP image or WAV, FLAC, OGG or MP3 sound"),
    ],
)  # fmt: skip
def test_what_is_refused(data, reason, capfd):
    with pytest.raises(ValueError, match=reason) as refusal:
        signal_of(data, "a")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("said", [0x7FFFF000, 0x80000000, 0xFFFFFFFF])
def test_files_written_to_a_pipe_have_no_length(said):
    assert signal_of(wav(100, said), "a").values.shape == (50, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"values": np.zeros(5, np.float32)},
        {"values": np.zeros((5, 9), np.float32)},
        {"values": np.zeros((5, 0), np.float32)},
        {"meta": {}},
        {"meta": {"sample_rate": 0}},
        {"meta": {"sample_rate": 44100.5}},
        {"meta": {"sample_rate": 8000, "subtype": "ULAW"}},
    ],
)
def test_signals_that_cannot_be_coded_are_refused(change):
    fields = {"values": np.zeros((5, 1), np.float32), "meta": {"sample_rate": 8000}} | change
    with pytest.raises(ValueError, match="audio"):
        AUDIO.check(Signal(fields["values"], "audio", fields["meta"]))


def test_a_missing_package_names_its_extra(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "soundfile":
            raise ImportError(name)
        return real(name, *rest)

    data = file_of(noise())
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"pip install 'recjax\[audio\]'"):
        AUDIO.read(data, "a")


def test_side_information_is_one_to_one():
    seen = {}
    for rate in (*meta.COMMON_RATES, 1, 11025, 44101, 2**20):
        for subtype in meta.SUBTYPES:
            for channels in range(1, 9):
                for scale in (0, 1, 128):
                    known = SoundMeta(rate, subtype, channels, scale)
                    data = meta.pack(known)
                    assert meta.unpack(data) == known and data not in seen
                    seen[data] = known
    assert meta.pack(SoundMeta(16000, "PCM_16", 1)) == b""
    assert meta.pack(SoundMeta(44100, "PCM_16", 2)) == bytes([8 * 3 * 5 + 1])
    assert meta.pack(SoundMeta(11025, "DOUBLE", 1)) == bytes([192 + 40]) + (11024).to_bytes(
        3, "big"
    )
    rng = np.random.default_rng(0)
    for _ in range(2000):
        data = rng.bytes(rng.integers(1, 7))
        try:
            assert meta.pack(meta.unpack(data)) == data
        except FormatError:
            assert data not in seen


def test_scores():
    x, y = noise(4000, 1), noise(4000, 1, seed=1)
    error = 10 * np.log10(1 / np.mean(((x + 1) / 2 - (y + 1) / 2) ** 2))
    assert abs(psnr(sound(x), sound(y)) - error) < 1e-4
    assert psnr(sound(x), sound(x)) == math.inf
    orthogonal = y - (x * y).sum() / (x * x).sum() * x
    expected = 10 * np.log10((x * x).sum() / (0.01 * orthogonal * orthogonal).sum() / 1)
    for gain in (1, 0.3):
        assert abs(si_sdr(sound(x), sound(gain * (x + 0.1 * orthogonal))) - expected) < 1e-3
    assert si_sdr(sound(0 * x), sound(y)) == si_sdr(sound(x), sound(0 * x)) == -math.inf


@pytest.fixture
def toys(monkeypatch, tmp_path):
    """A prior of the toy kind for the qualities of audio, which are multipliers."""
    monkeypatch.chdir(tmp_path)
    miniature.install(monkeypatch, tmp_path / "priors")
    prior = tmp_path / "priors/speech.safetensors"
    miniature.write_toy(prior, modality="audio", sides=(1,), depth=1, step=2.0**-6)
    monkeypatch.setitem(AUDIO.prices, "low", 16.0)
    return prior


@pytest.mark.parametrize("rate", [8000, 11025, 48000])
def test_files_have_a_rate_per_second(toys, rate):
    signal = through_the_doors(sound(noise(5000, 1), rate))
    usual = encode(signal)
    assert usual.kbps == pytest.approx(8 * len(usual.blob) * rate / 5000 / 1000)
    for share in (0.7, 1.2):
        wanted = share * usual.kbps
        file = encode(signal, kbps=wanted)
        assert 0.98 * wanted <= 8 * len(file.blob) * rate / 5000 / 1000 <= wanted
        assert recjax.decompress(file.blob).meta == signal.meta


def test_qualities_are_multipliers(toys):
    signal = through_the_doors(sound(noise(5000, 1)))
    low, high = (recjax.compress(signal, quality=name) for name in ("low", "high"))
    assert len(low) < len(high) == len(recjax.compress(signal))
    assert parse(low)[0].digest_prefix == parse(high)[0].digest_prefix


def test_images_have_no_rate_per_second(toys):
    image = Signal(np.zeros((8, 8, 3), np.uint8), "image", {"gray": False})
    with pytest.raises(ValueError, match="kbps is for signals in time, which image is not"):
        recjax.compress(image, kbps=8)
    with pytest.raises(ValueError, match="give bpp or kbps, not both"):
        recjax.compress(image, kbps=8, bpp=1)


def test_a_range_of_multipliers_is_that_of_the_prior(toys, monkeypatch):
    signal = through_the_doors(sound(noise(5000, 1)))
    with pytest.raises(ValueError, match=r"price must be 0.01 to 100"):
        recjax.codec.encode_batch([signal], price=1e4)
    usual = encode(signal).kbps
    with pytest.raises(ValueError, match="no file of at most"):
        recjax.compress(signal, kbps=0.05 * usual)
    monkeypatch.setattr(miniature.ToyPrior, "price_range", (1e-6, 1e6))
    assert 0.04 * usual < encode(signal, kbps=0.05 * usual).kbps <= 0.05 * usual


def test_through_the_command_line(toys, tmp_path, capsys):
    (tmp_path / "a.wav").write_bytes(file_of(noise(5000, 1), rate=8000))
    code, out, err = miniature.run(capsys, "compress", "a.wav", "a.rec", "--kbps", 30)
    assert (code, err) == (0, "") and " bits per sample" in out
    facts = json.loads(miniature.run(capsys, "info", "a.rec", "--json")[1])
    assert 29.4 <= facts["kbps"] <= 30 and facts["seconds"] == 0.625
    assert (facts["sample_rate"], facts["channels"], facts["subtype"]) == (8000, 1, "PCM_16")
    assert miniature.run(capsys, "decompress", "a.rec", "b.flac")[0] == 0
    back = recjax.load("b.flac")
    assert back.values.shape == (5000, 1) and back.meta == {
        "sample_rate": 8000,
        "subtype": "PCM_16",
    }
    assert "positive" in miniature.refused(capsys, "compress", "a.wav", "c.rec", "--kbps", 0)

    (tmp_path / "set").mkdir()
    (tmp_path / "set/a.ogg").write_bytes(file_of(noise(5000, 1), "OGG", "VORBIS"))
    assert miniature.run(capsys, "compress", "set", "out")[0] == 0
    assert miniature.run(capsys, "decompress", "out", "back")[0] == 0
    assert recjax.load("back/a.wav").values.shape == (5000, 1)
    assert miniature.run(capsys, "eval", "set", "--json", "results.json")[0] == 0
    (row,) = json.loads((tmp_path / "results.json").read_text())["results"]["audios"]
    assert row["si-sdr"] > 10
