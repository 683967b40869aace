"""The README: its Python runs, its commands exist, its links lead somewhere."""

import re
from pathlib import Path

import numpy as np
import pytest

import recjax
from recjax import cli

pytestmark = pytest.mark.standard_promotion

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^recjax ([a-z-]+)", README, re.MULTILINE)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_python_blocks_run(block, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    waves = np.sin(np.mgrid[:32, :32].sum(0) / 6)[..., None] * [90, 60, 30] + 128
    recjax.save(recjax.Signal(waves.astype(np.uint8)), "photo.png")
    exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out


def test_blocks_were_found():
    assert len(BLOCKS) == 3 and len(COMMANDS) >= 5


def test_commands_exist():
    assert set(COMMANDS) <= set(cli.VERBS)


def test_make_targets_exist():
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)make ([a-z]+)(?=`|    #|$)", README, re.MULTILINE):
        assert re.search(rf"^{target}:.* ## ", makefile, re.MULTILINE), target


def test_links_lead_somewhere():
    links = [
        link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("https://")
    ]
    assert links and all((Path(__file__).parents[1] / link).exists() for link in links)
