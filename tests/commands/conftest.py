"""The command line in process, on a miniature codec and in a folder of its own."""

import os
import sys

import numpy as np
import pytest
from miniature import miniature_codec

import recjax


@pytest.fixture
def codec(monkeypatch):
    module = miniature_codec()
    monkeypatch.setitem(sys.modules, "recjax.codec", module)
    monkeypatch.setitem(sys.modules, "recjax.codec.stream_parts", module.stream_parts)
    return module


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", os.environ["JAX_COMPILATION_CACHE_DIR"])
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    recjax.save(recjax.Signal(photo), "photo.png")
    return tmp_path
