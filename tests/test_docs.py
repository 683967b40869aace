"""The documentation, without Sphinx: public names, kinds of code blocks, commands, result tables.

``make docs`` runs every example; the last test here, a slow one, does so too where Sphinx is installed.
"""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import recjax
from experiments import tables
from recjax import cli, codec

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {
    str(path.relative_to(DOCS)): path.read_text()
    for path in sorted(DOCS.rglob("*.md"))
    if not path.relative_to(DOCS).parts[0].startswith("_")
}
BLOCK = re.compile(r"^(`{3,}|:{3,})(\S*)[^\n]*\n(.*?)^\1 *$", re.MULTILINE | re.DOTALL)
LISTED = {
    name
    for page, text in PAGES.items()
    if page.startswith("api/")
    for block in re.findall(r"autosummary::\n(?:   :.*\n)*\n((?:   \S+\n)+)", text)
    for name in block.split()
}


def blocks(kind):
    return [
        (page, body)
        for page, text in PAGES.items()
        for _, given, body in BLOCK.findall(text)
        if given == kind
    ]


def test_every_public_name_has_a_page():
    modules = {name for name in dir(recjax) if f"api/{name}.md" in PAGES}
    assert set(dir(recjax)) - LISTED - modules == {"__version__"}
    assert {f"codec.{name}" for name in codec._HOME} <= LISTED | {
        f"codec.{name}" for name in LISTED
    }
    assert {f"samplers.{name}" for name in dir(recjax.samplers)} <= LISTED


def test_no_page_lists_a_name_that_is_none():
    for name in LISTED:
        module, _, attribute = f"recjax.{name}".rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name


def test_the_architecture_names_every_module():
    parts = {
        path.stem
        for path in Path(recjax.__file__).parent.glob("[a-z]*")
        if path.is_dir() or path.suffix == ".py"
    }
    missing = {part for part in parts - {"priors"} if f"`{part}`" not in PAGES["architecture.md"]}
    assert not missing


def test_code_is_run_or_checked():
    """A block is a cell, which the build runs, commands, which are checked here, or plain text."""
    known = {"{code-cell}", "console", "text", "{toctree}", "{eval-rst}", "{include}"}
    known |= {"{literalinclude}", "{grid}", "{grid-item-card}", "{image}"}
    for page, text in PAGES.items():
        assert {kind for _, kind, _ in BLOCK.findall(text)} <= known, page
    assert len(blocks("{code-cell}")) > 50


def test_commands_can_be_given():
    """Long commands are not run: their options are parsed, their modules and targets looked up."""
    makefile = (ROOT / "Makefile").read_text()
    for page, body in blocks("console"):
        for line in body.splitlines():
            match shlex.split(line):
                case ["recjax", verb, *words]:
                    assert callable(cli._parse(*cli._verb([verb, *words]))), (page, line)
                case ["make", target, *_]:
                    assert re.search(rf"^{target}:", makefile, re.MULTILINE), (page, line)
                case ["python", "-m", module, *_]:
                    assert importlib.util.find_spec(module), (page, line)
                case [script, *_] if script.startswith("experiments/"):
                    assert (ROOT / script).is_file(), (page, line)
                case words:
                    assert words == ["pip", "install", "."], (page, line)


def test_pages_that_run_say_so():
    """Cells of a page without its header would be shown and never run."""
    for page, _ in blocks("{code-cell}"):
        assert PAGES[page].startswith("---\nfile_format: mystnb\n"), page


def test_result_tables_are_complete(tmp_path):
    tables.main(tmp_path)
    for name in tables.TABLES:
        _, *rows = (tmp_path / f"{name}.md").read_text().split("\n\n")[-1].splitlines()
        assert len(rows) > 2 and len({row.count("|") for row in rows}) == 1, name
        assert f"_written/{name}.md" in PAGES["benchmarks.md"], name


def test_benchmarks_have_no_numbers_typed_by_hand():
    assert "dB" not in re.sub(r"`[^`]*`", "", PAGES["benchmarks.md"])


@pytest.mark.slow
def test_pages_build_without_a_warning(tmp_path):
    pytest.importorskip("sphinx")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", DOCS, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
