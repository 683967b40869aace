"""Files that meet a target: of a wanted size, of a wanted PSNR."""

import itertools
import warnings

import miniature
import numpy as np
import pytest

import recjax
from recjax import cli
from recjax.codec import encode, encode_all, encode_batch
from recjax.errors import TargetWarning
from recjax.modalities.image.pixels import psnr

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def toys(tmp_path_factory, monkeypatch):
    """Embedded priors of the toy kind with patches of one pixel, whose rate is free."""
    folder = tmp_path_factory.mktemp("embedded") / "priors"
    miniature.install(monkeypatch, folder, sides=(1, 1))
    return folder


@pytest.fixture
def rounds(monkeypatch):
    """How many signals every call of the toy kind codes together."""
    counts, encode = [], miniature.TOY.encode

    def counted(grids, *args, **rest):
        counts.append(len(grids))
        return encode(grids, *args, **rest)

    monkeypatch.setattr(miniature.TOY, "encode", counted)
    return counts


def photo(seed=0, height=64, width=96):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / (5 + seed) + k) * np.cos(y / 9) for k in range(3)], -1)
    values = np.clip(128 + 80 * waves + rng.normal(0, 8, waves.shape), 0, 255).astype(np.uint8)
    return recjax.Signal(values, "image", {"gray": False})


def bpp_of(blob, signal):
    return 8 * len(blob) / signal.values[..., 0].size


@pytest.mark.parametrize("bpp", [3.0, 6.5, 9.0, 15.5])
def test_files_are_as_large_as_wanted_and_not_larger(toys, bpp):
    signal = photo()
    result = encode(signal, bpp=bpp)
    assert 0.98 * bpp <= bpp_of(result.blob, signal) <= bpp
    assert result.rate == bpp_of(result.blob, signal)
    decoded = recjax.decompress(result.blob)
    assert psnr(decoded.values, signal.values) == result.score


def test_files_of_transforms_are_as_large_as_wanted(transforms, waves):
    signal = recjax.Signal(waves(50, 1, 128, 160)[0], "image", {"gray": False})
    dear, cheap = transforms.priors
    sizes = [
        bpp_of(encode_batch([signal], prior, effort=1)[0].blob, signal) for prior in (dear, cheap)
    ]
    blobs = [
        recjax.compress(signal, cheap, bpp=bpp, effort=1) for bpp in (0.9 * sizes[1], sizes[1])
    ]
    for bpp, blob in zip((0.9 * sizes[1], sizes[1]), blobs, strict=True):
        assert 0.97 * bpp < bpp_of(blob, signal) <= bpp
    with pytest.raises(
        ValueError, match=r"no file of at most 0.001 bpp was found: the nearest has"
    ):
        encode(signal, dear, bpp=0.001, effort=1)


@pytest.mark.parametrize("floor", [18.0, 27.3, 34.0, 41.0])
def test_psnr_is_a_floor_and_the_file_hardly_better(toys, floor):
    signal = photo()
    result = encode(signal, psnr=floor)
    assert floor <= psnr(recjax.decompress(result.blob).values, signal.values) <= floor + 0.2


def test_more_is_more(toys):
    signal = photo()
    for name, values in (("bpp", [2.5, 5, 8, 12]), ("psnr", [20, 28, 36, 44])):
        results = [encode(signal, **{name: value}) for value in values]
        for one, other in itertools.pairwise(results):
            assert one.score < other.score and len(one.blob) < len(other.blob)


def test_the_nearest_prior_is_chosen_unless_one_is_given(toys):
    signal = photo()
    for name in ("photo-low", "photo-medium", "photo-high", "photo-best"):
        own = encode(signal, name)
        for target in ({"bpp": own.rate}, {"psnr": own.score}):
            assert encode(signal, **target).prior.name == name
            with warnings.catch_warnings():  # at large steps the toy has few levels to choose from
                warnings.simplefilter("ignore", TargetWarning)
                assert encode(signal, "photo-high", **target).prior.name == "photo-high"


def test_the_same_file_each_time_by_every_name_and_in_every_batch(toys):
    signals = [photo(seed, 30 + 9 * seed, 50) for seed in range(4)]
    for target in ({"bpp": 5.0}, {"psnr": 30.0}, {"quality": "low"}, {"quality": 3}, {}):
        alone = [recjax.compress(signal, **target) for signal in signals]
        assert recjax.compress_batch(signals, **target) == alone
        assert [recjax.encode(signal, **target).blob for signal in signals] == alone
    path = toys / "photo-best.safetensors"
    by_path = recjax.compress(signals[0], path, bpp=9.0)
    assert by_path == recjax.compress(signals[0], recjax.load_prior(path), bpp=9.0)
    assert recjax.compress(signals[0], quality=4) == recjax.compress(signals[0], path)
    assert recjax.compress_batch([], bpp=1.0) == recjax.compress_batch([]) == []


def test_rounds_code_together_what_is_not_yet_found(toys, rounds):
    signals = [photo(seed) for seed in range(6)]
    together = encode_all(signals, "photo-high", bpp=7.0)
    assert rounds[:2] == [6, 6] and len(rounds) <= 9 and rounds == sorted(rounds, reverse=True)
    assert all(0.98 * 7 <= result.rate <= 7 for result in together)


@pytest.mark.parametrize("value", [0, -1.0, float("inf"), float("nan")])
@pytest.mark.parametrize("name", ["bpp", "psnr"])
def test_targets_out_of_range_are_refused(toys, name, value):
    with pytest.raises(ValueError, match=f"{name} must be positive and finite"):
        encode(photo(), **{name: value})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bpp": 1.0, "psnr": 30.0}, "give bpp or psnr, not both"),
        ({"quality": "low", "bpp": 1.0}, "give quality or bpp, not both"),
        ({"quality": "low", "prior": "photo-low"}, "give quality or prior, not both"),
        ({"quality": "ultra"}, "low, medium, high, best, or 1 to 4; got ultra"),
        ({"quality": 0}, "got 0"),
        ({"quality": 5}, "got 5"),
    ],
)
def test_two_targets_and_unknown_qualities_are_refused(toys, given, message):
    with pytest.raises(ValueError, match=message):
        recjax.compress(photo(), **given)


def test_what_cannot_be_is_refused_with_the_nearest_file(toys):
    with pytest.raises(ValueError, match=r"at most 0.01 bpp was found: the nearest has .* bytes\)"):
        encode(photo(), bpp=0.01)
    with pytest.raises(ValueError, match=r"at least 60.00 dB was found: the nearest has 4\d\.\d\d"):
        encode(photo(), "photo-low", psnr=60.0)


def test_what_cannot_be_so_large_is_as_large_as_it_can_be(toys):
    with pytest.warns(TargetWarning, match=r"50 bpp is out of reach: the largest file .* bpp"):
        large = encode(photo(), bpp=50.0)
    assert large.rate > 19


def test_tries_that_fail_discard_no_file(toys):
    """Below some multiplier no file can be made."""
    signal = photo()
    prior = recjax.load_prior(
        miniature.write_toy(toys.parent / "brittle.safetensors", sides=(1, 1), least_price=0.3)
    )
    most = encode_batch([signal], prior, price=0.3)[0].rate
    for bpp in (1.02 * most, 1.2 * most, 3 * most):
        with pytest.warns(TargetWarning, match="is out of reach: the largest file"):
            assert 0.93 * most < encode(signal, prior, bpp=bpp).rate <= most
    brittle, sound = encode_all([signal, photo(1)], prior, bpp=0.9 * most)
    assert min(brittle.rate, sound.rate) > 0.98 * 0.9 * most
    with pytest.raises(ValueError, match=r"no file of at least 60.00 dB was found"):
        encode(signal, prior, psnr=60.0)


def test_of_priors_with_one_rate_the_best_is_chosen(toys):
    signal = photo()
    for path in toys.glob("*"):
        path.unlink()
    for number, name in enumerate(("b", "a", "c")):
        write = {"kind": "fixed", "sides": (1, 1), "step": 2.0 ** -(number + 2)}
        miniature.write_toy(toys / f"{name}.safetensors", **write)
    files = {name: encode(signal, name) for name in "bac"}
    for given in "abc":
        assert encode(signal, given, bpp=1.01 * files["a"].rate).blob == files["a"].blob
        assert encode(signal, given, bpp=100.0).blob == files["c"].blob
        assert encode(signal, given, psnr=files["a"].score - 0.1).blob == files["a"].blob
        assert encode(signal, given, psnr=1.0).blob == files["b"].blob
        with pytest.raises(ValueError, match=r"no file of at most 0.1 bpp"):
            encode(signal, given, bpp=0.1)
    own = miniature.write_toy(toys.parent / "own.safetensors", kind="fixed", sides=(1, 1))
    assert encode(signal, own, bpp=100.0).prior.name == "own"


def test_no_image_is_refused(toys):
    with pytest.raises(ValueError, match=r"recjax\.Signal"):
        encode(np.zeros((8, 8, 3), np.uint8), bpp=1.0)


def test_on_the_command_line(toys, tmp_path, capsys):
    signal = photo()
    recjax.save(signal, tmp_path / "photo.png")
    source, out = str(tmp_path / "photo.png"), tmp_path / "photo.rec"
    for flags, reached in (
        (["--bpp", "6.5"], lambda file: 0.98 * 6.5 <= file.rate <= 6.5),
        (["--psnr", "33"], lambda file: 33 <= file.score < 33.2),
    ):
        assert cli.main(["compress", source, str(out), *flags, "--force"]) == 0
        said = capsys.readouterr()
        assert said.err == "" and f"{out.stat().st_size} bytes" in said.out
        assert out.read_bytes() == encode(signal, **{flags[0][2:]: float(flags[1])}).blob
        assert reached(encode(signal, **{flags[0][2:]: float(flags[1])}))
    with warnings.catch_warnings():
        assert cli.main(["compress", source, str(out), "--bpp", "50", "--force"]) == 0
    said = capsys.readouterr().err
    assert said.startswith("recjax: 50 bpp is out of reach") and said.count("\n") == 1
    for wrong in (
        ["--bpp", "0"],
        ["--bpp", "0.5", "--quality", "high"],
        ["--bpp", "0.5", "--psnr", "30"],
        ["--bpp", "0.0001"],
        ["--psnr", "60", "--prior", "photo-low"],
    ):
        assert cli.main(["compress", source, str(tmp_path / "no.rec"), *wrong]) != 0
        said = capsys.readouterr().err
        assert said.startswith("recjax: ") and said.count("\n") == 1
        assert not (tmp_path / "no.rec").exists()
