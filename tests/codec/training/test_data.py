"""Training images from files: the right ones, the same ones every time, and clear errors."""

import dataclasses
import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from recjax.codec import load_training_images, load_whole_images
from recjax.codec.training.data import random_crops
from recjax.modalities.image import IMAGE


def values_of(signals):
    return np.stack([signal.values for signal in signals])


@pytest.fixture
def folder(waves, tmp_path):
    """Three photographs: large, of the size of a patch, and of another format."""
    for name, (height, width) in {"b.png": (40, 50), "a.webp": (8, 8), "c.JPG": (20, 9)}.items():
        kind = {"b": "PNG", "a": "WEBP", "c": "JPEG"}[name[0]]
        Image.fromarray(waves(ord(name[0]), 1, height, width)[0]).save(
            tmp_path / name, kind, lossless=True
        )
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_archive_is_used_as_it_is(waves, tmp_path):
    images = waves(0, 5)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(5))
    for signals in (
        load_training_images(tmp_path / "a.npz", (8, 8)),
        load_whole_images(tmp_path / "a.npz"),
    ):
        np.testing.assert_array_equal(values_of(signals), images)


def test_patches_of_a_folder_are_shared_out_and_repeatable(folder, waves):
    cut = lambda seed: values_of(load_training_images(folder, (8, 8), patches=10, seed=seed))
    images = cut(3)
    assert images.shape == (10, 8, 8, 3) and images.dtype == np.uint8
    np.testing.assert_array_equal(images, cut(3))
    assert np.any(images != cut(4))
    # sorted by name: the first three are the only patch of a.webp
    np.testing.assert_array_equal(images[:3], np.repeat(waves(ord("a"), 1), 3, axis=0))
    large = waves(ord("b"), 1, 40, 50)[0]
    windows = np.lib.stride_tricks.sliding_window_view(large, (8, 8, 3)).reshape(-1, 8, 8, 3)
    whole = [bool((windows == image).all((1, 2, 3)).any()) for image in images[3:6]]
    assert any(whole)


def test_a_third_is_averaged_over_two_by_two(waves, tmp_path):
    Image.fromarray(waves(1, 1, 40, 50)[0]).save(tmp_path / "a.png")
    images = values_of(load_training_images(tmp_path, (8, 8), patches=300))
    large = waves(1, 1, 40, 50)[0]
    windows = np.lib.stride_tricks.sliding_window_view(large, (8, 8, 3)).reshape(-1, 192)
    known = {window.tobytes() for window in np.ascontiguousarray(windows)}
    full = sum(image.tobytes() in known for image in images)
    assert abs(full / 300 - 2 / 3) < 5 * np.sqrt(2 / 9 / 300)
    boxes = np.lib.stride_tricks.sliding_window_view(large.astype(float), (16, 16, 3)).reshape(
        -1, 8, 2, 8, 2, 3
    )
    half = {np.floor(box.mean((1, 3)) + 0.5).astype(np.uint8).tobytes() for box in boxes}
    assert all(image.tobytes() in known | half for image in images)


def plain_crops(images, count, side, seed, augment):
    """Two axes, written out; as crops were before signals had any number of axes."""
    rng = np.random.default_rng(seed)
    share = np.sqrt([image[..., 0].size for image in images])
    out = np.empty((count, side, side, 3), np.uint8)
    for place, which in enumerate(rng.choice(len(images), count, p=share / share.sum())):
        top, left = (rng.integers(n - side + 1) for n in images[which].shape[:2])
        crop = IMAGE.symmetry(images[which][top : top + side, left : left + side], rng)
        out[place] = IMAGE.augment(crop, rng) if augment else crop
    return out


@pytest.mark.parametrize("augment", [True, False])
def test_crops_of_images_are_those_of_two_axes(waves, augment):
    images = [waves(0, 1, 40, 50)[0], waves(1, 1, 9, 30)[0]]
    crops = random_crops(images, 40, (8, 8), [3, 1], modality=IMAGE, augment=augment)
    np.testing.assert_array_equal(crops, plain_crops(images, 40, 8, [3, 1], augment))


@pytest.mark.parametrize("sides", [(5,), (2, 3), (2, 1, 3)])
def test_crops_are_boxes_of_their_signals(sides):
    """No symmetry, any number of axes: every box appears about equally often."""
    still = dataclasses.replace(IMAGE, symmetry=lambda values, rng: values)
    signal = np.arange(np.prod([n + 1 for n in sides]) * 2, dtype=np.float32)
    signal = signal.reshape(*(n + 1 for n in sides), 2)
    crops = random_crops([signal], 1000, sides, [0], modality=still, augment=False)
    windows = np.lib.stride_tricks.sliding_window_view(signal, sides, tuple(range(len(sides))))
    boxes = np.moveaxis(windows.reshape(-1, 2, *sides), 1, -1)
    counts = [(crops == box).all(tuple(range(1, crops.ndim))).sum() for box in boxes]
    share = 1 / len(boxes)
    assert sum(counts) == 1000 and len(boxes) == 2 ** len(sides)
    assert np.abs(np.array(counts) / 1000 - share).max() < 5 * np.sqrt(share * (1 - share) / 1000)


def archive(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def array():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((4, 8, 8, 3), np.uint8))
    return buffer.getvalue()


def other_zip():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("images.npy", b"no array")
    return buffer.getvalue()


GOOD = archive(images=np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04",
        b"\x89PNG",
        GOOD[:40],
        GOOD[:-30],
        GOOD[: len(GOOD) // 2],
        GOOD[:200] + bytes(50) + GOOD[250:],
        array(),
        other_zip(),
        archive(pictures=np.zeros((4, 8, 8, 3), np.uint8)),
        archive(images=np.zeros((4, 8, 8, 3), np.float32)),
        archive(images=np.zeros((4, 8, 9, 3), np.uint8)),
        archive(images=np.zeros((4, 8, 8), np.uint8)),
        archive(images=np.zeros((1, 8, 8, 3), np.uint8)),
        archive(images=np.uint8(3)),
        archive(images=np.array([{}, {}], object)),
    ],
    ids=range(16),
)
def test_bad_archives_are_one_kind_of_error(tmp_path, data):
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.npz"):
        load_training_images(tmp_path / "a.npz", (8, 8))


def test_bad_folders_are_one_kind_of_error(folder, tmp_path):
    with pytest.raises(ValueError, match="nothing"):
        load_training_images(tmp_path / "nothing", (8, 8))
    with pytest.raises(ValueError, match=r"a\.webp is 8 x 8, smaller than a patch"):
        load_training_images(folder, (16, 16))
    (folder / "d.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"d\.png"):
        load_training_images(folder, (8, 8))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no PNG"):
        load_training_images(tmp_path / "empty", (8, 8))
