"""The README: its Python runs, its commands exist, its table is that of the code."""

import re
from pathlib import Path

import numpy as np
import pytest

import recjax
import recjax.randomness
from recjax import cli
from recjax.bits import container

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
    assert len(BLOCKS) == 2 and len(COMMANDS) >= 5


def test_commands_exist():
    assert set(COMMANDS) <= set(cli.VERBS)


def test_make_targets_exist():
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)make ([a-z]+)(?=`|    #|$)", README, re.MULTILINE):
        assert re.search(rf"^{target}:.* ## ", makefile, re.MULTILINE), target


def test_constants_of_the_format():
    assert f"magic `{container.MAGIC.hex(' ').upper()}`" in README
    assert f"format version, {container.VERSION};" in README
    assert recjax.randomness.SCHEME == 1 and "scheme of the shared randomness, 1 " in README
