"""The command line on the real codec with a tiny prior: train, compress, inspect, decompress,
interrupt."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import recjax
from recjax import cli
from recjax.modalities.image.pixels import psnr

pytestmark = pytest.mark.standard_promotion

ROOT = Path(recjax.__file__).parents[1]
GOLDEN = ROOT / "tests" / "codec" / "golden"
SIZES = (
    "--grid 16 16 --width 8 --layers 3 --features 8 --budget 8 --rate 0.5 --batch 32 --patches 32 --rounds 2 "
    "--scene 2 2 --levels 2 --depth 2 --cells 2 2 --factors 4 2 --hidden 4 --encodings 4"
)


def waves(height, width):
    y, x = np.mgrid[:height, :width]
    return np.stack(
        [128 + 80 * np.sin(x / (5 + k) + k) * np.cos(y / 9) for k in range(3)], -1
    ).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a photo, and a prior from an interrupted and resumed training."""
    folder = tmp_path_factory.mktemp("codec")
    (folder / "train").mkdir()
    recjax.save(recjax.Signal(waves(64, 64)), folder / "train" / "a.png")
    recjax.save(recjax.Signal(waves(37, 50)), folder / "photo.png")
    command = [
        "train",
        "siren",
        str(folder / "train"),
        str(folder / "tiny.safetensors"),
        *SIZES.split(),
        "--licence",
        "CC0",
    ]
    assert cli.main([*command, "--max-minutes", "1e-6"]) == 0
    assert cli.main(command) == 0
    return folder


def recjax_process(folder, *argv):
    command = [sys.executable, "-m", "recjax", *argv]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder, *argv):
    process = recjax_process(folder, *argv)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def test_training_resumed_and_kept_its_provenance(folder, monkeypatch, capsys):
    prior = recjax.load_prior(folder / "tiny.safetensors")
    assert prior.metadata["training"]["rounds_done"] == 2
    assert prior.metadata["licence"] == "CC0" and prior.metadata["command"].startswith("recjax ")


def test_round_trip_between_processes(folder, capsys):
    recjax.save(recjax.Signal(waves(32, 32)), folder / "small.png")
    code, out, err = run(folder, "compress", "small.png", "small.rec", "--check")
    assert code == 0 and err == "" and out.startswith("small.rec: ")
    claimed = float(out.split(" dB")[0].split()[-1])
    code, out, err = run(folder, "decompress", "small.rec", "back.png")
    assert (code, out, err) == (0, "", "")
    back = recjax.load(folder / "back.png").values
    assert psnr(back, waves(32, 32)) == pytest.approx(claimed, abs=0.005)


def test_info_counts_blocks_and_bits(capsys):
    file, prior = (str(GOLDEN / f"hierarchy.{form}") for form in ("rec", "safetensors"))
    assert cli.main(["info", file, "--json", "--prior", prior]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["bytes"] == Path(file).stat().st_size
    blocks = {name: group["blocks"] for name, group in facts["groups"].items()}
    assert blocks == {"signal": 4, "region": 16, "patch": 60} and facts["blocks"] == 80
    bits = sum(group["index_bits"] for group in facts["groups"].values())
    assert bits == pytest.approx(facts["index_bits"], abs=0.02)
    assert facts["patches"] == 12 and facts["shape"] == [29, 21] and abs(facts["rounding_bits"]) < 8


def test_a_damaged_file_leaves_one_line_and_no_output(folder):
    (folder / "bad.rec").write_bytes(b"\xecr\x11 not a file of ours")
    code, out, err = run(folder, "decompress", "bad.rec", "never.png")
    assert code == 1 and out == "" and err.startswith("recjax: bad.rec: ") and err.count("\n") == 1
    assert not (folder / "never.png").exists()


def test_unknown_prior_is_named(folder, capsys):
    assert (
        cli.main(
            ["compress", str(folder / "photo.png"), str(folder / "a.rec"), "--prior", "nobody"]
        )
        == 1
    )
    assert "nobody" in capsys.readouterr().err


def test_ctrl_c_while_training_says_what_is_lost(folder, capsys, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("recjax.codec.train_prior", interrupted)
    assert (
        cli.main(
            [
                "train-prior",
                str(folder / "train"),
                str(folder / "never.safetensors"),
                *SIZES.split(),
            ]
        )
        == 130
    )
    assert capsys.readouterr().err.startswith(
        "recjax: interrupted: the same command goes on from the last checkpoint"
    )


def test_ctrl_c_while_compressing_leaves_no_file(folder):
    before = set(folder.iterdir())
    os.mkfifo(folder / "pipe.png")
    process = recjax_process(
        folder, "compress", "pipe.png", "never.rec", "--prior", "tiny.safetensors", "--effort", "9"
    )
    with open(folder / "pipe.png", "wb") as pipe:  # returns once the process has opened it to read
        pipe.write((folder / "photo.png").read_bytes())
    time.sleep(2)  # somewhere in the import of jax, compilation or the fit
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    # Python ends by the signal itself if the interrupt passed through an exec(); a shell shows both
    # as 130
    assert process.returncode in (130, -signal.SIGINT)
    assert (out, err) == ("", "recjax: interrupted\n")
    assert set(folder.iterdir()) - before <= {folder / "pipe.png", folder / "cache"}
