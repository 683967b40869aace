"""What happens to every kind of image: each row of the table of the documentation, through the command line."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from image_cases import ADOBE, CASES, P3, RGB, of_rgb
from miniature import refused, run
from PIL import Image

pytestmark = pytest.mark.filterwarnings("error")  # it would be a line on stderr

PAGE = (Path(__file__).parents[2] / "docs" / "how_to" / "image_files.md").read_text()
TABLE = PAGE.split("| image | what happens |\n|---|---|\n")[1].split("\n\n")[0]
ROWS = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", TABLE, re.MULTILINE))
TOLERANCE = 12  # the toy prior keeps 4 bits per channel, and JPEG has losses too


def test_every_row_has_its_cases_and_no_case_is_without_a_row():
    assert list(ROWS) == list(CASES)


def test_profiles_make_a_difference():
    for profiled in (of_rgb(P3, 2.2), of_rgb(ADOBE, 563 / 256)):
        assert np.abs(profiled.astype(int) - RGB).max() > 2 * TOLERANCE


@pytest.mark.parametrize(("row", "cases"), CASES.items(), ids=range(len(CASES)))
def test_kind(toys, folder, capsys, row, cases):
    messages = re.findall("`(.+?)`", ROWS[row])
    seen = set()
    for number, case in enumerate(cases):
        path = Path(f"{number}", case.name)
        path.parent.mkdir()
        path.write_bytes(case.data) if isinstance(case.data, bytes) else case.data(path)
        assert (case.expected is None) == bool(messages), "the table says otherwise"
        if messages:
            line = refused(capsys, "compress", path, "image.rec")
            assert line.startswith(f"recjax: {path} "), line
            seen |= {message for message in messages if message in line}
            assert any(message in line for message in messages), line
            continue
        code, out, err = run(capsys, "compress", path, f"{number}.rec")
        assert code == 0 and err == "" and out.startswith(f"{number}.rec: "), (number, err)
        assert run(capsys, "decompress", f"{number}.rec", f"{number}.png") == (0, "", "")
        with warnings.catch_warnings(action="ignore"), Image.open(path) as source:
            gray = source.mode in ("1", "L", "LA")  # that of the file, not of its pixels
        with Image.open(f"{number}.png") as back:
            assert back.mode == ("L" if gray else "RGB") and not back.info, (number, back)
            values = np.array(back.convert("RGB")).astype(int)
        assert values.shape == case.expected.shape, number
        assert np.abs(values - case.expected).max() <= TOLERANCE, (
            number,
            np.abs(values - case.expected).max(),
        )
    assert seen == set(messages)


def test_one_refusal_ends_the_reading_of_a_folder(toys, folder, capsys):
    Path("set").mkdir()
    Path("set", "a.PNG").write_bytes(CASES["WebP, lossy or lossless"][0].data)
    Path("set", "b.gif").write_bytes(b"passed over")
    assert run(capsys, "eval", "set")[0] == 0
    Path("set", "c.jpeg").write_bytes(CASES["PNG of 16 bits a channel"][0].data)
    assert refused(capsys, "eval", "set").startswith("recjax: set/c.jpeg has 16 bits a channel")
