"""The README: its Python and its commands run, its links lead somewhere."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import recjax
from recjax import cli

pytestmark = pytest.mark.standard_promotion

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^recjax (.+)", README, re.MULTILINE)


@pytest.fixture
def photo(tmp_path, monkeypatch):
    """A small ``photo.png`` in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    waves = np.sin(np.mgrid[:32, :32].sum(0) / 6)[..., None] * [90, 60, 30] + 128
    recjax.save(recjax.Signal(waves.astype(np.uint8)), "photo.png")


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_python_blocks_run(block, photo, capsys):
    exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out


def test_commands_run(photo, capsys):
    for command in COMMANDS:
        assert cli.main(shlex.split(command)) == 0, capsys.readouterr().err
    assert Path("decoded.png").exists()


def test_blocks_were_found():
    assert len(BLOCKS) == 2 and len(COMMANDS) == 3


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"(?:^|`)make ([a-z]+)(?=`|    #|$)", README, re.MULTILINE)
    assert {"demo", "test", "docs"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:.* ## ", makefile, re.MULTILINE), target


def test_links_lead_somewhere():
    links = [
        link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("https://")
    ]
    assert links and all((ROOT / link).exists() for link in links)


def test_it_is_short():
    assert len(README.splitlines()) <= 120
