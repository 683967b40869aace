"""Reading and writing images, patches, PSNR, bad image files."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import recjax
from recjax.modalities.grid import cut, filled_up, join, weights_of
from recjax.modalities.image import pixels as im


def picture(height=37, width=50, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".PNG"])
@pytest.mark.parametrize("shape", [(1, 1), (37, 50), (4, 1)])
def test_lossless_formats_round_trip(tmp_path, suffix, shape):
    values = picture(*shape)
    recjax.save(recjax.Signal(values), tmp_path / f"a{suffix}")
    back = recjax.load(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(back.values, values)
    assert back.modality == "image" and back.meta == {"gray": False}


def test_gray_stays_gray(tmp_path):
    values = im.to_gray(picture())
    recjax.save(recjax.Signal(values, meta={"gray": True}), tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == "L"
    back = recjax.load(tmp_path / "a.png")
    np.testing.assert_array_equal(back.values, values)
    assert back.meta == {"gray": True}


def test_jpeg_is_close(tmp_path):
    values = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None, None], (64, 64, 3)).copy()
    recjax.save(recjax.Signal(values), tmp_path / "a.jpg")
    assert im.psnr(recjax.load(tmp_path / "a.jpg").values, values) > 40


def test_exif_orientation_is_applied(tmp_path):
    values = picture(8, 16)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.fromarray(values).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(recjax.load(tmp_path / "a.png").values, np.rot90(values, -1))


def test_other_modes(tmp_path):
    values = picture()
    Image.fromarray(values).convert("P").save(tmp_path / "palette.png")
    Image.fromarray(values).convert("1").save(tmp_path / "bits.png")
    Image.fromarray(values).convert("RGBA").save(tmp_path / "opaque.png")
    assert recjax.load(tmp_path / "palette.png").values.shape == values.shape
    assert recjax.load(tmp_path / "bits.png").meta["gray"]
    np.testing.assert_array_equal(recjax.load(tmp_path / "opaque.png").values, values)


def saved(**kwargs):
    buffer = io.BytesIO()
    kwargs.pop("image").save(buffer, **kwargs)
    return buffer.getvalue()


PNG = saved(image=Image.fromarray(picture()), format="PNG")
JPEG = saved(image=Image.fromarray(picture()), format="JPEG")
WEBP = saved(image=Image.fromarray(picture()), format="WEBP")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"some text", "not a PNG, JPEG or WebP"),
        (saved(image=Image.fromarray(picture()), format="BMP"), "not a PNG, JPEG or WebP"),
        (PNG[:200], "damaged"),
        (JPEG[: len(JPEG) // 2], "damaged"),
        (WEBP[: len(WEBP) // 2], "damaged"),
        (PNG[:60] + bytes(100) + PNG[160:], "damaged"),
        (saved(image=Image.new("L", (4097, 1)), format="PNG"), "4097 x 1"),
        (saved(image=Image.new("1", (20_000, 20_000)), format="PNG"), "4096"),
        (saved(image=Image.new("I;16", (8, 8)), format="PNG"), "16 bits"),
        (PNG[:24] + b"\x10" + PNG[25:], "damaged"),
        (saved(image=Image.new("RGBA", (8, 8), (1, 2, 3, 200)), format="PNG"), "transparent"),
        (
            saved(
                image=Image.new("L", (8, 8)),
                format="PNG",
                save_all=True,
                append_images=[Image.new("L", (8, 8), 9)],
            ),
            "animation",
        ),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, data, reason):
    path = tmp_path / "bad.png"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=reason) as raised:
        recjax.load(path)
    assert "bad.png" in str(raised.value) and "\n" not in str(raised.value)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(ValueError, match="folder"):
        recjax.load(tmp_path)
    with pytest.raises(ValueError, match="No such file"):
        recjax.load(tmp_path / "none.png")


@given(st.binary(min_size=1, max_size=8), st.integers(0, len(PNG) - 9))
def test_mutated_pngs_load_or_raise_valueerror(tmp_path_factory, patch, where):
    path = tmp_path_factory.getbasetemp() / "mutated.png"
    path.write_bytes(PNG[:where] + patch + PNG[where + len(patch) :])
    with contextlib.suppress(ValueError):
        recjax.load(path)


def test_output_that_cannot_be_written(tmp_path):
    signal = recjax.Signal(picture(4, 4))
    recjax.save(signal, tmp_path / "a.png")
    with pytest.raises(ValueError, match="exists"):
        recjax.save(signal, tmp_path / "a.png")
    recjax.save(signal, tmp_path / "a.png", force=True)
    for path, reason in [
        ("a.gif", "suffix"),
        ("", "folder"),
        ("none/a.png", "no folder"),
        ("a.png/b.png", "no folder"),
    ]:
        with pytest.raises(ValueError, match=reason):
            recjax.save(signal, tmp_path / path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recjax.save(recjax.Signal(picture(4, 4)), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(1, 1), (32, 32), (31, 33), (64, 96), (100, 7)])
def test_patches_are_inverted_exactly(shape):
    values, patch = picture(*shape), (32, 32)
    patches = cut(filled_up(values, patch), patch)
    weights = cut(weights_of(im.to_grid(recjax.Signal(values)), patch), patch)
    count = -(-shape[0] // 32) * -(-shape[1] // 32)
    assert patches.shape == (count, 32, 32, 3) and weights.shape == (count, 32, 32)
    assert weights.sum() == shape[0] * shape[1] and set(np.unique(weights)) <= {0, 1}
    np.testing.assert_array_equal(join(patches, shape, patch), values)
    # the order is row by row, and the padding repeats the edge
    np.testing.assert_array_equal(patches[0, : shape[0], : shape[1]], values[:32, :32])
    np.testing.assert_array_equal(patches[-1, -1, -1], values[-1, -1])


def test_files_of_colours_that_are_gray_stay_in_colour(tmp_path):
    values = im.to_gray(picture())
    Image.fromarray(values).save(tmp_path / "colour.png")
    signal = recjax.load(tmp_path / "colour.png")
    assert signal.meta == {"gray": False}
    recjax.save(im.from_grid(im.to_grid(signal)), tmp_path / "back.png")
    assert Image.open(tmp_path / "back.png").mode == "RGB"
    np.testing.assert_array_equal(recjax.load(tmp_path / "back.png").values, values)


def test_psnr():
    values = picture()
    assert im.psnr(values, values) == np.inf
    assert im.psnr(np.zeros_like(values), np.full_like(values, 255)) == pytest.approx(0)


def test_a_signal_is_shown_in_one_line():
    assert repr(recjax.Signal(picture(4, 5))) == "Signal(image, 4x5x3 uint8)"
