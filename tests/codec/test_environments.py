"""Files of programs with other settings decode to the same pixels: `make matrix` in short."""

import shutil
import sys

import numpy as np
import pytest

import recjax
from experiments.matrix import GOLDEN, Environment, compare, decode, table


@pytest.fixture(scope="module")
def folder(tmp_path_factory, waves):
    """What a program with many settings makes of an image, with two small priors, decoded there and
    here."""
    folder = tmp_path_factory.mktemp("matrix")
    for name in ("images", "priors"):
        (folder / name).mkdir()
    for name in ("pyramid", "waves"):
        shutil.copy(GOLDEN / f"{name}.safetensors", folder / "priors")
    recjax.save(recjax.Signal(waves(5, 1, 13, 21)[0]), folder / "images" / "waves.png")
    for task in ("encode", "decode"):
        assert Environment("with", "many", sys.executable).run(task, folder) is None
    decode(folder, "here")
    return folder


@pytest.mark.slow
def test_settings_change_neither_integers_nor_pixels(folder):
    for made_by in ("with many", "golden"):
        assert compare(folder, made_by, "with many", "here")[1]
        assert compare(folder, made_by, "here", "with many")[1]


@pytest.mark.slow
def test_table(folder, capsys):
    assert table(folder, ["with many"])
    printed = capsys.readouterr().out.splitlines()
    assert (
        printed[2].split() == ["1", "with", "many", "=", "2", "of", "2"] and printed[-1] == "sound"
    )
    assert not table(folder, ["with many", "here"])  # which has encoded nothing


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "step"), [("waves pyramid/values", 2), ("waves pyramid/integers", 1)]
)
def test_a_value_off_by_two_or_an_integer_is_noticed(folder, name, step):
    with np.load(folder / "with many by here.npz") as archive:
        decoded = dict(archive)
    assert compare(folder, "with many", "here", "with many")[1]
    decoded[name].flat[0] ^= step
    np.savez(folder / "with many by wrong.npz", **decoded)
    assert not compare(folder, "with many", "wrong", "with many")[1]


@pytest.mark.slow
def test_golden_files_without_compilation(tmp_path):
    eager = Environment("with", "eager", sys.executable)
    assert eager.run("decode", tmp_path) is None
    assert compare(tmp_path, "golden", eager.name, eager.name)[1]
