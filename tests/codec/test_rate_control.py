"""Files of a wanted size."""

import itertools

import numpy as np
import pytest

import recjax
from recjax import cli
from recjax.codec import decompress, encode_at_rate, encode_batch, rate_control


@pytest.fixture(scope="module")
def signal(waves):
    return recjax.Signal(waves(50, 1, 128, 160)[0], "image", {"gray": False})


@pytest.fixture
def embedded(transforms, monkeypatch):
    """The two priors in place of those inside."""
    monkeypatch.setattr(rate_control, "QUALITIES", tuple(map(str, transforms.outs)))


def own_rates(transforms, signal):
    sizes = [len(encode_batch([signal], prior, effort=1)[0].blob) for prior in transforms.priors]
    return [8 * size / signal.values[..., 0].size for size in sizes]


@pytest.mark.parametrize(
    "share", [0.5, *(pytest.param(share, marks=pytest.mark.slow) for share in (0.1, 0.9))]
)
def test_files_are_as_large_as_wanted_and_not_larger(embedded, transforms, signal, share):
    dear, cheap = own_rates(transforms, signal)
    bpp = dear + share * (cheap - dear)
    result = encode_at_rate(signal, bpp, effort=1)
    assert 0.97 * bpp < 8 * len(result.blob) / signal.values[..., 0].size <= bpp
    decoded = decompress(result.blob, priors=transforms.priors)
    assert recjax.modalities.image.psnr(signal.values, decoded.values) == pytest.approx(
        result.score, abs=1e-9
    )


@pytest.mark.slow
def test_more_bits_are_better(embedded, transforms, signal):
    dear, cheap = own_rates(transforms, signal)
    rates = np.geomspace(0.8 * dear, 1.3 * cheap, 5)
    quality = [encode_at_rate(signal, float(bpp), effort=1).psnr for bpp in rates]
    assert all(a < b for a, b in itertools.pairwise(quality)), quality


def test_the_nearest_prior_is_chosen_unless_one_is_given(embedded, transforms, signal):
    for prior, bpp in zip(transforms.priors, own_rates(transforms, signal), strict=True):
        result = encode_at_rate(signal, bpp, effort=1)
        assert result.blob[5:8] == prior.digest[:3]
    dear, cheap = transforms.priors
    bpp = own_rates(transforms, signal)[0]
    assert (
        encode_at_rate(signal, bpp, cheap, effort=1).blob[5:8]
        == cheap.digest[:3]
        != dear.digest[:3]
    )


def test_the_same_file_each_time_and_by_every_name(transforms, signal):
    prior = transforms.priors[0]
    blob = encode_at_rate(signal, 0.5, prior, effort=1).blob
    assert blob == recjax.compress(signal, prior, bpp=0.5, effort=1)
    assert blob == recjax.compress(signal, transforms.outs[0], bpp=0.5, effort=1)
    assert recjax.compress_batch([signal] * 2, prior, bpp=0.5, effort=1) == [blob] * 2


@pytest.mark.parametrize("bpp", [0, -1.0, float("inf"), float("nan")])
def test_rates_out_of_range_are_refused(transforms, signal, bpp):
    with pytest.raises(ValueError, match="bpp must be positive and finite"):
        encode_at_rate(signal, bpp, transforms.priors[0])


@pytest.mark.slow
def test_what_cannot_be_so_small_is_refused(transforms, signal):
    with pytest.raises(
        ValueError, match=r"no file of at most 2 bytes \(0.001 bpp\): the smallest tried has \d+"
    ):
        encode_at_rate(signal, 0.001, transforms.priors[0], effort=1)


@pytest.mark.slow
def test_what_cannot_be_so_large_is_as_large_as_it_can_be(transforms):
    flat = recjax.Signal(np.full((64, 64, 3), 90, np.uint8), "image", {"gray": True})
    assert (
        0 < len(encode_at_rate(flat, 20.0, transforms.priors[1], effort=1).blob) < 20 * 64 * 64 / 8
    )


def test_other_priors_have_their_own_rate(prior, signal):
    with pytest.raises(ValueError, match="only transforms"):
        encode_at_rate(signal, 1.0, prior)


def test_no_image_is_refused(transforms):
    with pytest.raises(ValueError, match=r"recjax\.Signal"):
        encode_at_rate(np.zeros((8, 8, 3), np.uint8), 1.0, transforms.priors[0])


@pytest.mark.slow
def test_on_the_command_line(embedded, transforms, signal, tmp_path, capsys):
    recjax.save(signal, tmp_path / "photo.png")
    photo, out = str(tmp_path / "photo.png"), str(tmp_path / "photo.rec")
    assert cli.main(["compress", photo, out, "--bpp", "0.5", "--effort", "1"]) == 0
    size = (tmp_path / "photo.rec").stat().st_size
    assert 0.9 < 8 * size / signal.values[..., 0].size / 0.5 <= 1
    assert f"{size} bytes" in capsys.readouterr().out
    for wrong in (["--bpp", "0"], ["--bpp", "0.5", "--quality", "high"], ["--bpp", "0.0001"]):
        assert cli.main(["compress", photo, str(tmp_path / "no.rec"), *wrong]) != 0
        assert capsys.readouterr().err.startswith("recjax: ") and not (tmp_path / "no.rec").exists()
