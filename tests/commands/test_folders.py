"""Folders, standard input and output: ``compress``, ``decompress`` and ``info`` of several files."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from miniature import refused, run, write_toy
from PIL import Image

import recjax
from recjax.commands.shared import progress_bar


@pytest.fixture
def photos(folder):
    """A folder with three images of two formats, a damaged one, and a file that is no image."""
    Path("photos").mkdir()
    rng = np.random.default_rng(1)
    for number, suffix in enumerate((".png", ".webp", ".PNG")):
        values = rng.integers(0, 256, (8 * number + 8, 24, 3), np.uint8)
        recjax.save(recjax.Signal(values), f"photos/{number}{suffix}")
    Path("photos/bad.png").write_bytes(Path("photos/0.png").read_bytes()[:60])
    Path("photos/notes.txt").write_text("no image")
    return folder


def test_a_bad_file_does_not_stop_the_others(toys, photos, capsys):
    code, out, err = run(capsys, "compress", "photos", "recs")
    assert code == 1 and len(out.splitlines()) == 3
    assert err.splitlines()[0].startswith("recjax: photos/bad.png is damaged")
    assert err.splitlines()[1:] == ["recjax: 1 of 4 files failed"]
    assert sorted(path.name for path in Path("recs").iterdir()) == ["0.rec", "1.rec", "2.rec"]
    Path("recs/cut.rec").write_bytes(Path("recs/0.rec").read_bytes()[:-1])
    code, out, err = run(capsys, "decompress", "recs", "back")
    assert code == 1 and out == ""
    assert err.splitlines()[0].startswith("recjax: recs/cut.rec: ") and "1 of 4" in err
    assert sorted(path.name for path in Path("back").iterdir()) == ["0.png", "1.png", "2.png"]
    for number in range(3):
        assert recjax.load(f"back/{number}.png").values.shape == (8 * number + 8, 24, 3)
    code, out, err = run(capsys, "info", "recs", "--json")
    facts = json.loads(out)
    assert code == 1 and list(facts) == ["0.rec", "1.rec", "2.rec"]
    assert facts["2.rec"]["shape"] == [24, 24] and "recs/cut.rec" in err
    shown = run(capsys, "info", "recs")[1]
    assert [line for line in shown.splitlines() if not line.startswith(" ")] == list(facts)


def test_files_of_a_folder_equal_single_ones(toys, photos, capsys):
    Path("photos/bad.png").unlink()
    assert run(capsys, "compress", "photos", "recs", "--quality", "low")[0] == 0
    run(capsys, "compress", "photos/1.webp", "one.rec", "--quality", "low")
    assert Path("one.rec").read_bytes() == Path("recs/1.rec").read_bytes()
    # what is there stays, and says so
    code, out, err = run(capsys, "compress", "photos", "recs")
    assert code == 1 and out == "" and err.count("exists") == 3 and "3 of 3 files failed" in err
    assert run(capsys, "compress", "photos", "recs", "--force")[0] == 0


def test_what_exists_can_be_skipped(toys, photos, capsys):
    bad = Path("photos/bad.png").read_bytes()
    Path("photos/bad.png").unlink()
    assert run(capsys, "compress", "photos/0.png", "0.rec")[0] == 0
    Path("recs").mkdir()
    Path("recs/0.rec").write_bytes(b"precious")
    Path("recs/1.txt").touch()  # no result
    code, out, err = run(capsys, "compress", "photos", "recs", "--skip-existing")
    assert (code, err) == (0, "") and out.splitlines()[0] == "recs: 1 of 3 exist and are skipped"
    assert [line.split(":")[0] for line in out.splitlines()[1:]] == ["recs/1.rec", "recs/2.rec"]
    assert Path("recs/0.rec").read_bytes() == b"precious"
    nothing_left = (0, "recs: 3 of 3 exist and are skipped\n", "")
    assert run(capsys, "compress", "photos", "recs", "--skip-existing") == nothing_left
    Path("photos/bad.png").write_bytes(bad)
    code, _, err = run(capsys, "compress", "photos", "recs", "--skip-existing")
    assert code == 1 and err.splitlines()[-1] == "recjax: 1 of 4 files failed"
    Path("back").mkdir()
    Path("back/0.png").write_bytes(b"precious")
    code, out, err = run(capsys, "decompress", "recs", "back", "--skip-existing")
    assert (code, out, err) == (0, "back: 1 of 3 exist and are skipped\n", "")
    assert Path("back/0.png").read_bytes() == b"precious"
    assert recjax.load("back/2.png").values.shape == (24, 24, 3)
    for verb, source in (("compress", "photos"), ("decompress", "recs")):
        argv = [verb, source, "new", "--skip-existing", "--force"]
        assert "not both" in refused(capsys, *argv, code=2)
    argv = ["compress", "photo.png", "new.rec", "--skip-existing"]
    assert "--skip-existing is for folders" in refused(capsys, *argv, code=2)


def test_folders_that_cannot_be_are_one_line(toys, photos, capsys):
    Path("void").mkdir()
    assert "holds no PNG" in refused(capsys, "compress", "void", "recs")
    assert "holds no .rec" in refused(capsys, "decompress", "void", "back")
    assert "holds no .rec" in refused(capsys, "info", "void")
    assert "is not a folder" in refused(capsys, "compress", "photos", "photo.png")
    assert "cannot be made" in refused(capsys, "compress", "photos", "none/recs")
    recjax.save(recjax.load("photos/0.png"), "photos/0.webp")
    line = refused(capsys, "compress", "photos", "recs")
    assert "0.png, 0.webp: the results would have one name" in line


@pytest.mark.parametrize("stream", ["-", "/dev/stdout"])
def test_standard_input_and_output(toys, folder, capsysbinary, monkeypatch, stream):
    photo = Path("photo.png").read_bytes()

    def command(data, *argv):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        from recjax import cli

        assert cli.main(list(argv)) == 0
        return capsysbinary.readouterr()

    blob, said = command(photo, "compress", "-", stream)
    assert said.startswith(b"%s: %d bytes" % (stream.encode(), len(blob)))
    assert blob == recjax.compress(recjax.load("photo.png"))
    image, said = command(blob, "decompress", "-", stream)
    assert said == b"" and Image.open(io.BytesIO(image)).size == (30, 20)
    facts, said = command(blob, "info", "-", "--json")
    assert said == b"" and json.loads(facts)["bytes"] == len(blob)
    assert command(blob, "decompress", "-", "out.webp") == (b"", b"")
    assert Image.open("out.webp").format == "WEBP"
    assert command(photo, "compress", "-", "out.rec").err == b""
    assert Path("out.rec").read_bytes() == blob


def test_bad_standard_input_is_one_line(toys, folder, capsys, monkeypatch):
    for data, argv, reason in [
        (b"", ["compress", "-", "a.rec"], "standard input is empty"),
        (b"no image", ["compress", "-", "a.rec"], "standard input is not a PNG"),
        (b"no file", ["decompress", "-", "a.png"], "-: not a .rec file"),
    ]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert reason in refused(capsys, *argv)


def test_priors_that_do_not_fit_are_one_line(toys, folder, capsys):
    write_toy(folder / "long.safetensors", sides=(8,))
    write_toy(folder / "gray.safetensors", depth=1)
    write_toy(folder / "sound.safetensors", modality="sound")
    write_toy(folder / "other.safetensors", kind="other")
    for name, reason in [
        ("long", "a network of 1 axes and 3 channels is not one for image"),
        ("gray", "a network of 2 axes and 1 channels is not one for image"),
        ("sound", "modality sound is not known (this release knows image, audio)"),
        ("other", "kind other is not known (this release knows siren, transform"),
    ]:
        path = f"{name}.safetensors"
        assert reason in refused(capsys, "compress", "photo.png", "a.rec", "--prior", path)
    run(capsys, "compress", "photo.png", "good.rec")
    for name in ("long", "gray", "sound", "other"):
        path = f"{name}.safetensors"
        assert path in refused(capsys, "decompress", "good.rec", "a.png", "--prior", path)


def test_a_terminal_sees_that_programs_are_compiled(toys, photos, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress_bar("compress") as progress:
        progress(0.5)
    assert "compiling" in capsys.readouterr().err
    # the time that is left is not shown where nobody knows it
    for is_steady in (True, False):
        with progress_bar("compress", is_steady=is_steady) as progress:
            progress(0.5)
        assert ("-:--" in capsys.readouterr().err) == is_steady
    Path("photos/bad.png").unlink()
    assert run(capsys, "info", "photo.png")[0] == 1
    code, _, err = run(capsys, "compress", "photos", "recs")
    assert code == 0 and "2 of 3: 1.webp" in err


def test_python_dash_m():
    done = subprocess.run([sys.executable, "-m", "recjax", "--version"], capture_output=True)
    assert done.stdout.startswith(b"recjax ") and done.stderr == b"" and done.returncode == 0
