"""The command line in process, with priors of a toy kind and in an empty folder."""

import os

import miniature
import numpy as np
import pytest

import recjax


@pytest.fixture
def toys(tmp_path_factory, monkeypatch):
    """Embeds priors of the toy kind; returns their folder."""
    folder = tmp_path_factory.mktemp("embedded") / "priors"
    miniature.install(monkeypatch, folder)
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", os.environ["JAX_COMPILATION_CACHE_DIR"])
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    recjax.save(recjax.Signal(photo), "photo.png")
    return tmp_path
