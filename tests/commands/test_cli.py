"""The command line in process, with priors of a toy kind."""

import json
import math
import os
import time
from pathlib import Path

import numpy as np
import pytest
from miniature import refused, run

import recjax
from recjax import cli
from recjax.codec import container
from recjax.modalities.image import IMAGE
from recjax.modalities.image import pixels as im
from recjax.results.files import load_results


def test_round_trip(toys, folder, capsys):
    code, out, err = run(capsys, "compress", "photo.png", "photo.rec")
    assert code == 0 and err == ""
    size = Path("photo.rec").stat().st_size
    assert f"photo.rec: {size} bytes, {8 * size / 600:.3f} bits per pixel, " in out
    assert run(capsys, "decompress", "photo.rec", "back.png") == (0, "", "")
    assert recjax.load("back.png").values.shape == (20, 30, 3)
    for number, quality in enumerate(("low", "medium", "high", "best"), 1):
        for name in (quality, number):
            assert run(capsys, "compress", "photo.png", f"{name}.rec", "--quality", name)[0] == 0
            digest = recjax.load_prior(f"photo-{quality}").digest
            assert Path(f"{name}.rec").read_bytes()[5:8] == digest[:3]
    line = refused(capsys, "compress", "photo.png", "a.rec", "--quality", "ultra")
    assert "low, medium, high, best, or 1 to 4; got ultra" in line and "None" not in line


def test_quality_of_the_file_is_printed_when_asked_for(toys, folder, capsys):
    _, said, _ = run(capsys, "compress", "photo.png", "photo.rec", "--check")
    run(capsys, "decompress", "photo.rec", "back.png")
    psnr = im.psnr(recjax.load("back.png").values, recjax.load("photo.png").values)
    assert f" bits per pixel, {psnr:.2f} dB PSNR, " in said


def test_info_adds_up(toys, folder, capsys):
    run(capsys, "compress", "photo.png", "photo.rec")
    code, out, err = run(capsys, "info", "photo.rec", "--json")
    facts = json.loads(out)
    assert code == 0 and err == ""
    assert facts["bytes"] * 8 == facts["header_bits"] + facts["payload_bits"]
    assert facts["payload_bits"] == pytest.approx(facts["index_bits"] + facts["rounding_bits"])
    assert facts["rounding_bits"] < 8 and facts["header_bits"] == 8 * 12
    assert facts["shape"] == [20, 30] and facts["patches"] == facts["blocks"] == 12
    shown = run(capsys, "info", "photo.rec")[1].splitlines()
    assert shown[0].split() == ["bytes", str(facts["bytes"])] and "{" not in "".join(shown)
    assert ["shape", "20,", "30"] in [line.split() for line in shown]


def test_info_of_an_unknown_prior_shows_the_header(toys, folder, capsys):
    digest = bytes(range(32))
    header = container.Header(
        scheme=1,
        modality=IMAGE,
        shape=(5, 6),
        flag=True,
        extra_bits=2,
        exponent=64,
        digest_prefix=digest[:3],
    )
    Path("other.rec").write_bytes(container.pack(header, b"1234", digest))
    code, out, err = run(capsys, "info", "other.rec", "--json")
    facts = json.loads(out)
    assert facts["prior"] == "000102" and not facts["known_prior"] and facts["shape"] == [5, 6]
    assert code == 0 and "other.rec" in err and "--prior" in err
    assert ["known_prior", "no"] in [
        line.split() for line in run(capsys, "info", "other.rec")[1].splitlines()
    ]
    assert "prior mine cannot" in refused(capsys, "info", "other.rec", "--prior", "mine")
    assert "prior 000102" in refused(capsys, "decompress", "other.rec", "a.png")


def test_priors(toys, capsys):
    facts = json.loads(run(capsys, "priors", "--json")[1])
    assert set(facts) == {path.stem for path in toys.glob("*.safetensors")}
    assert facts["photo-low"]["reached"] == {"kl_bpp": 0.5, "psnr": 20.0}
    lines = run(capsys, "priors")[1].splitlines()
    assert [line.split() for line in lines if line.startswith("photo-low")] == [
        ["photo-low", "toy", "0.500", "20.00", "none"]
    ]
    assert Path(lines[-1].removeprefix("model card: ")).read_text().startswith("# ")
    assert run(capsys, "priors", "photo-low", "--json")[1] == (
        json.dumps({"photo-low": facts["photo-low"]}, indent=2) + "\n"
    )
    shown = [line.split(maxsplit=1) for line in run(capsys, "priors", "photo-low")[1].splitlines()]
    assert ["licence", "none"] in shown and ["reached", "kl_bpp 0.5, psnr 20"] in shown
    assert "there is no prior photo-lo in recjax" in refused(capsys, "priors", "photo-lo")


def test_commands_of_priors_have_the_names_of_today(capsys):
    """Files of priors cite the command that made them, which was called something else then."""
    for name, command in [
        ("photo-low", "recjax train transform photographs"),
        ("photo-siren-low", "recjax train siren FOLDER"),
    ]:
        shown = run(capsys, "priors", name)[1].splitlines()
        (line,) = [line for line in shown if line.startswith("command")]
        assert line.split(maxsplit=1)[1].startswith(command)
        code, _, err = run(capsys, *command.split()[1:], "out", "--nonsense")
        assert code == 2 and err.startswith("recjax: Unrecognized options: --nonsense;")


def test_eval_compares_at_no_larger_size(toys, folder, capsys):
    Path("set").mkdir()
    for seed in range(3):
        ramp = np.arange(64, dtype=np.uint8) * np.uint8(seed + 1)
        recjax.save(
            recjax.Signal(np.broadcast_to(ramp[:, None, None], (64, 2048, 3)).copy()),
            f"set/{seed}.png",
        )
    code, out, err = run(capsys, "eval", "set", "--limit", 2, "--json", "report.json")
    assert code == 0 and err == "" and out.splitlines()[-1].startswith("mean")
    report = load_results("report.json")
    rows, means = report.details["images"], report.details["mean"]
    assert [row["image"] for row in rows] == ["0.png", "1.png"]
    for row in rows:
        assert row["webp_bytes"] <= row["bytes"] and row["psnr"] > 20
        assert row["jpeg_bytes"] is None or row["jpeg_bytes"] <= row["bytes"]
    assert means["psnr"] == pytest.approx(np.mean([row["psnr"] for row in rows]))
    (panel,) = report.panels
    ours, webp = panel.curves[0], panel.curves[-1]
    assert (
        panel.title == "set"
        and ours.label == "recjax photo, effort 5"
        and ours.band == "standard error"
    )
    assert (ours.x, ours.y) == ((means["bpp"],), (means["psnr"],)) and webp.label.startswith("WebP")
    assert webp.x[0] == pytest.approx(
        np.mean([row["webp_bytes"] / (64 * 2048 / 8) for row in rows])
    )


def test_eval_of_equal_images_has_no_point_at_infinity():
    from recjax.commands.eval import to_results

    row = {
        "bytes": 10,
        "bpp": 0.5,
        "psnr": 30.0,
        "jpeg_bytes": 9,
        "jpeg_psnr": math.inf,
        "webp_bytes": None,
    }
    rows = [{**row, "webp_psnr": None}, {**row, "webp_psnr": None}]
    results = to_results(rows, rows[0], "set", "mine", 5, IMAGE)
    (curve,) = results.panels[0].curves
    assert (
        curve.label == "recjax mine, effort 5" and results.details["images"][0]["jpeg_psnr"] is None
    )


def test_best_at_size_finds_the_largest_that_fits():
    from recjax.modalities.image.rivals import best_at_size

    values = _smooth()
    rival = best_at_size(values, "jpeg", 3000)
    assert 2000 < len(rival.data) <= 3000 and rival.psnr > 25
    assert best_at_size(values, "jpeg", 100) is None
    assert best_at_size(values, "jpeg", 10**6).psnr > 40


def _smooth():
    y, x = np.mgrid[:96, :96]
    waves = [np.sin(x / 7 + k) * np.cos(y / (5 + k)) for k in range(3)]
    noise = np.random.default_rng(0).normal(0, 6, (96, 96, 3))
    return np.clip(128 + 90 * np.stack(waves, -1) + noise, 0, 255).astype(np.uint8)


def test_bad_images_are_refused(toys, folder, capsys):
    Path("empty.png").touch()
    Path("text.png").write_text("no image")
    Path("cut.png").write_bytes(Path("photo.png").read_bytes()[:500])
    for name, reason in [
        ("none.png", "No such file"),
        ("empty.png", "is empty"),
        ("text.png", "not a PNG"),
        ("cut.png", "damaged"),
    ]:
        assert reason in refused(capsys, "compress", name, "a.rec")


def test_bad_outputs_are_refused_before_any_work(toys, folder, capsys, monkeypatch):
    run(capsys, "compress", "photo.png", "good.rec")
    Path("old.rec").write_bytes(b"precious")
    monkeypatch.setattr("recjax.codec.encoding.encode_batch", None)  # would raise a TypeError
    for name, reason in [("old.rec", "exists"), ("none/a.rec", "no folder"), (".", "is a folder")]:
        assert reason in refused(capsys, "compress", "photo.png", name)
    assert Path("old.rec").read_bytes() == b"precious"
    assert "suffix" in refused(capsys, "decompress", "good.rec", "a.gif")
    assert "exists" in refused(capsys, "decompress", "good.rec", "photo.png")
    assert "effort" in refused(capsys, "compress", "photo.png", "a.rec", "--effort", 0)
    for seed in (-1, 2**32):
        assert "--seed must be" in refused(capsys, "compress", "photo.png", "a.rec", "--seed", seed)
    assert "seed" in refused(capsys, "compress", "photo.png", "a.rec", "--seed", 2**40)
    for name in ("x.jpg", "x.PNG"):
        line = refused(capsys, "compress", "photo.png", name, code=2)
        assert line.endswith("name it x.rec\n")


def test_options_are_refused_once_and_as_typed(toys, folder, capsys):
    Path("photos").mkdir()
    for number in range(2):
        recjax.save(recjax.load("photo.png"), f"photos/{number}.png")
    for argv, reason in [
        (["--bpp", 0], "--bpp must be positive and finite, got 0"),
        (["--psnr", "nan"], "--psnr must be positive and finite, got nan"),
        (["--quality", "ultra"], "--quality: quality of image must be low, medium"),
        (["--prior", "mine"], "prior mine cannot be read"),
    ]:
        line = refused(capsys, "compress", "photos", "recs", *argv)
        assert line.startswith(f"recjax: {reason}")
    assert "prior mine cannot be read" in refused(
        capsys, "decompress", "photos", "back", "--prior", "mine"
    )


def test_force_replaces(toys, folder, capsys):
    Path("old.rec").write_bytes(b"old")
    assert run(capsys, "compress", "photo.png", "old.rec", "--force")[0] == 0
    assert run(capsys, "decompress", "old.rec", "photo.png", "--force")[0] == 0


def test_damaged_files_are_refused(toys, folder, capsys):
    run(capsys, "compress", "photo.png", "good.rec")
    good = Path("good.rec").read_bytes()
    wrong = {
        "empty": b"",
        "magic": b"\x89PNG" + good,
        "newer": good[:2] + b"\x31" + good[3:],
        "longer": good + b"\0",
    }
    for place in range(len(good)):
        wrong[f"flip{place}"] = good[:place] + bytes([good[place] ^ 0x42]) + good[place + 1 :]
        wrong[f"cut{place}"] = good[:place] + good[place + 1 :]
    # these have the number of another prior: info shows the header and says that the prior is unknown
    others = {*(f"flip{place}" for place in (5, 6, 7)), *(f"cut{place}" for place in range(3, 8))}
    for name, blob in wrong.items():
        Path("bad.rec").write_bytes(blob)
        for command in (["decompress", "bad.rec", "a.png"], ["info", "bad.rec"]):
            if command[0] == "info" and name in others:
                continue
            assert "bad.rec" in refused(capsys, *command), name
    assert "No such file" in refused(capsys, "decompress", "none.rec", "a.png")


def test_bad_usage_is_one_line(folder, capsys):
    for argv in (
        ["nonsense"],
        ["compress"],
        ["compress", "a"],
        ["info", "a", "--nonsense"],
        ["eval", ".", "--limit", "x"],
    ):
        refused(capsys, *argv, code=2)
    assert "--limit" in refused(capsys, "eval", ".", "--limit", 0)
    Path("void").mkdir()
    assert "no PNG" in refused(capsys, "eval", "void")
    assert "no folder" in refused(capsys, "eval", "none")


def test_help_names_every_verb(capsys):
    code, out, err = run(capsys, "--help")
    assert code == 0 and err == "" and all(verb in out for verb in cli.VERBS)
    assert run(capsys, "help") == (code, out, err)
    code, out, err = run(capsys, "compress", "--help")
    assert code == 0 and err == "" and "--force" in out and "None" not in out
    assert run(capsys, "help", "compress") == (code, out, err)


def test_demo_writes_its_pictures(toys, folder, capsys):
    pytest.importorskip("matplotlib")
    from experiments import demo

    demo.main(Path("demo"), effort=1, quality="high")
    out = capsys.readouterr().out
    assert "demo/photo.rec: " in out and "index_bits" in out and "JPEG" in out
    sheet = recjax.load("demo/side_by_side.png").values
    assert sheet.shape[1] in (2 * 512, 3 * 512) and sheet.shape[0] == 600 + demo.CAPTION


def test_ctrl_c_is_not_lost_in_callbacks():
    class Collected:
        def __del__(self):
            raise KeyboardInterrupt  # Python cannot raise this: it reports and forgets it

    with pytest.raises(KeyboardInterrupt), cli._interruptible():
        Collected()
        for _ in range(100):
            time.sleep(0.05)


def test_files_without_end_are_refused(toys, folder, capsys):
    assert "larger than 256 MiB" in refused(capsys, "decompress", "/dev/zero", "back.png")


def test_force_never_replaces_the_input_or_a_device(toys, folder, capsys):
    photo = Path("photo.png").read_bytes()
    Path("link.png").symlink_to("photo.png")
    os.mkfifo("pipe")
    for out, reason in [
        ("photo.png", "is the input"),
        ("link.png", "is the input"),
        ("pipe", "not a regular file"),
    ]:
        assert reason in refused(capsys, "compress", "photo.png", out, "--force")
    assert Path("photo.png").read_bytes() == photo and Path("pipe").is_fifo()


def test_bad_usage_names_the_option_and_no_more(folder, capsys):
    for argv, reason in [
        (
            ["compress", "a", "b", "--effort", "x"],
            "--effort must be a whole number, got x; recjax compress --help says more",
        ),
        (["compress", "a", "b", "--psnr", "1dB"], "--psnr must be a number, got 1dB;"),
        (["train", "siren", "a", "b", "--rate", "x"], "--rate must be a number, got x;"),
        (["train", "siren", "a", "b", "--scene", "x", 1], "--scene cannot be x, 1;"),
        (["train", "siren", "a", "b", "--latents", "x"], "--latents cannot be x;"),
        (["compress", "a"], "Missing from recjax compress: OUT one file in, one .rec file out"),
        (["compress", "a", "b", "--nonsense"], "Unrecognized options: --nonsense;"),
        (
            ["compress", "a", "b", "--pnsr", 34],
            "Unrecognized options: --pnsr (did you mean --psnr?);",
        ),
        (
            ["train", "siren", "a", "b", "--wdth=8"],
            "Unrecognized options: --wdth=8 (did you mean --width?);",
        ),
        (["compress", "a", "b", "c"], "Too many arguments: c;"),
        (["compres", "a", "b"], "there is no verb 'compres' (did you mean compress?);"),
        (["train"], "say which: recjax train siren or recjax train transform"),
        (["train", "siren", "a", "b", "--width", 0], "width must be at least 1, got 0"),
        (["train-prior", "a", "b", "--features", 7], "features must be a multiple of 4, got 7"),
        (["train-prior", "a", "b", "--latents", 3], "latents must be at most"),
    ]:
        assert refused(capsys, *argv, code=2).startswith(f"recjax: {reason}")
    for argv, reason in [
        (["--rate", "inf"], "rate must be positive and finite, got inf"),
        (["--seed", -1], "seed must not be negative, got -1"),
        (["--layers", 1, "--latents", 5], "latents are chosen after training, got (5,)"),
    ]:
        assert refused(capsys, "train-prior", "a", "b", *argv) == f"recjax: {reason}\n"


TINY_TRANSFORM = [
    *("--prices", "1e-2", "1e-3", "--steps", "121", "--batch", "1", "--crop", "16", "--scales"),
    *(
        "--stride",
        "4",
        "--depth",
        "6",
        "--levels",
        "2",
        "--context",
        "2",
        "--hidden",
        "4",
        "--features",
        "4",
    ),
    *("--budget", "8"),
]


@pytest.mark.slow
@pytest.mark.standard_promotion
def test_transforms_are_trained_and_used(folder, capsys, monkeypatch):
    Path("photos").mkdir()
    for number in range(3):
        photo = np.random.default_rng(number).integers(0, 256, (20, 30, 3), np.uint8)
        recjax.save(recjax.Signal(photo), f"photos/{number}.png")
    command = [
        "train-transform",
        "photos",
        "mine",
        *TINY_TRANSFORM,
        "--licence",
        "CC0",
        "--data",
        "noise",
    ]
    code, out, _ = run(capsys, *command, "--max-minutes", "1e-6")
    assert code == 0 and "stopped after 120 of 121 steps: the same command goes on from here" in out
    assert recjax.load_prior("mine-1.safetensors").metadata["training"]["steps_done"] == 120
    code, out, err = run(capsys, *command)
    assert (code, err) == (0, "") and "step 121/121" in out and "mine-2.safetensors" in out
    metadata = recjax.load_prior("mine-1.safetensors").metadata
    assert (
        metadata["data"] == "noise"
        and metadata["command"]
        and metadata["training"]["price"] == 1e-2
    )
    assert Path("mine-1.safetensors").read_bytes() != Path("mine-2.safetensors").read_bytes()
    code, said, err = run(
        capsys,
        *("compress", "photo.png", "a.rec", "--prior", "mine-1.safetensors"),
        *("--effort", 1, "--check"),
    )
    assert (code, err) == (0, "") and said.startswith("a.rec: ")
    assert run(capsys, "decompress", "a.rec", "b.png", "--prior", "mine-1.safetensors")[0] == 0
    back = recjax.load("b.png").values
    assert back.shape == (20, 30, 3)
    claimed = float(said.split(" dB")[0].split()[-1])
    assert im.psnr(back, recjax.load("photo.png").values) == pytest.approx(claimed, abs=0.005)
    code, out, err = run(capsys, "info", "a.rec", "--json", "--prior", "mine-1.safetensors")
    facts = json.loads(out)
    assert (code, err) == (0, "") and facts["prior"] == "mine-1" and facts["shape"] == [20, 30]
    parts = facts["groups"]
    assert (
        list(parts) == ["numbers", "classes", "factors", "blocks"]
        and facts["patches"] == 12
        and facts["exponent"] == 0
    )
    assert (
        sum(part["blocks"] for part in parts.values())
        == facts["blocks"]
        == parts["blocks"]["blocks"]
        > 0
    )
    assert sum(part["index_bits"] for part in parts.values()) == pytest.approx(
        facts["index_bits"], abs=0.02
    )
    assert facts["bytes"] == Path("a.rec").stat().st_size and abs(facts["rounding_bits"]) < 8
    # which prior is needed is said, and another one is no help
    assert "is not known" in refused(capsys, "decompress", "a.rec", "c.png")
    assert not Path("c.png").exists()
    other = refused(capsys, "decompress", "a.rec", "c.png", "--prior", "mine-2.safetensors")
    assert other.startswith("recjax: a.rec: ") and not Path("c.png").exists()
    monkeypatch.setattr(
        "recjax.codec.prior_files.embedded_priors",
        lambda: {"mine-2.safetensors": Path("mine-2.safetensors")},
    )
    (facts,) = json.loads(run(capsys, "priors", "--json")[1]).values()
    assert facts["latents"] == [6, 14] and facts["patch"] == [8, 8, 3] and facts["classes"] == 4
    assert (
        facts["licence"] == "CC0"
        and facts["training"]["price"] == 1e-3
        and facts["kind"] == "transform"
    )
    assert facts["reached"] == {}  # a single step since the last look
    shown = run(capsys, "priors", "mine-2.safetensors")[1]
    assert ["latents", "6,", "14"] in [line.split() for line in shown.splitlines()]
    assert "price 0.001, steps_done 121" in shown


@pytest.mark.standard_promotion
def test_transforms_are_refused_clearly(folder, capsys):
    Path("empty").mkdir()
    Path("mine-1.safetensors").write_bytes(b"precious")
    for argv, reason in [
        (["empty"], "empty holds no PNG, JPEG or WebP image"),
        (["none.npz"], "none.npz cannot be read: No such file or directory"),
        (["."], "mine-1.safetensors exists (--force replaces it)"),
        ([".", "--max-minutes", -1], "--max-minutes must be positive, got -1.0"),
        ([".", "--crop", 20, "--force"], "crop must be a multiple of 8, got 20"),
    ]:
        images, *rest = argv
        line = refused(capsys, "train-transform", images, "mine", *TINY_TRANSFORM, *rest)
        assert reason in line, line
    assert Path("mine-1.safetensors").read_bytes() == b"precious"


def test_empty_checkpoints_do_not_let_a_run_replace_a_prior(folder, capsys):
    Path("mine.safetensors").write_bytes(b"precious")
    Path("points").mkdir()
    assert "exists" in refused(
        capsys, "train-prior", ".", "mine.safetensors", "--checkpoints", "points"
    )
