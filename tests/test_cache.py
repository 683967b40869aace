"""The folder of compiled programs, and what is said when it cannot be used."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from recjax import cache, cli


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """No setting of a cache, and a home of its own."""
    for name in ("RECJAX_CACHE", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_folder_is_that_of_the_environment(environment, monkeypatch):
    assert cache.programs_folder() == environment / "home/.cache/recjax/jax"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the standard
    assert cache.programs_folder() == environment / "home/.cache/recjax/jax"
    assert not Path("relative").exists()
    monkeypatch.setenv("XDG_CACHE_HOME", str(environment / "xdg"))
    assert cache.programs_folder() == environment / "xdg/recjax/jax"
    monkeypatch.setenv("RECJAX_CACHE", "mine")
    assert cache.programs_folder() == environment / "mine/jax" and Path("mine/jax").is_dir()
    monkeypatch.setenv("RECJAX_CACHE", "off")
    assert cache.programs_folder() is None


def test_a_user_without_a_home_keeps_nothing(environment, monkeypatch, capsys):
    """As in containers: no HOME, and no entry in the list of users."""

    def unknown(user):
        raise KeyError(user)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert cache.programs_folder() is None
    assert cli.main(["info", "x"]) == 1
    assert capsys.readouterr().err == "recjax: x cannot be read: No such file or directory\n"
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


def test_a_folder_that_cannot_be_made_is_none(environment, monkeypatch):
    Path("file").touch()
    monkeypatch.setenv("RECJAX_CACHE", "file/below")
    assert cache.programs_folder() is None


@pytest.mark.parametrize(
    ("set_by_others", "kept"),
    [({}, "cache/jax"), ({"JAX_COMPILATION_CACHE_DIR": "theirs"}, "theirs")],
)
def test_one_setting_for_programs_and_the_command_line(tmp_path, set_by_others, kept):
    script = """
import jax
from recjax.cache import enable_compilation_cache
enable_compilation_cache()
print(jax.config.values["jax_compilation_cache_dir"])
"""
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    root = Path(cache.__file__).parents[1]
    environment |= {"RECJAX_CACHE": "cache", "PYTHONPATH": str(root), **set_by_others}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == str(kept if set_by_others else tmp_path / kept), done.stderr


def test_trouble_with_the_cache_is_one_line(capsys, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/the/folder")
    text = "Error writing persistent compilation cache entry for 'jit_f': OSError: No space left"
    with warnings.catch_warnings(), cli._short_warnings():
        for number in range(3):
            warnings.warn(f"{text} {number}", stacklevel=1)
    said = capsys.readouterr().err
    assert said == "recjax: the cache /the/folder is full or damaged: programs are compiled anew\n"
