"""Synthetic images and a prior trained on them in a few seconds."""

import fcntl
import json
import os
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from compiling import quickly_compiled

from recjax.codec import (
    Prior,
    TrainConfig,
    TransformTraining,
    load_prior,
    train_prior,
    train_transform,
)
from recjax.codec.siren.efforts import EFFORTS as SIREN_EFFORTS
from recjax.codec.siren.efforts import SirenEffort
from recjax.codec.siren.network import SirenConfig
from recjax.codec.transform.network import TransformConfig


@pytest.fixture(scope="session")
def waves():
    """Smooth random images: ``waves(seed, count, height, width)``, uint8[count, height, width, 3]."""

    def draw(seed: int, count: int, height: int = 8, width: int = 8) -> np.ndarray:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:height, :width] / 8
        image = 128 + np.zeros((count, height, width, 3))
        for _ in range(3):
            down, right, phase = rng.normal(0, 2, (3, count, 1, 1))
            image += np.cos(down * y + right * x + np.pi * phase)[..., None] * rng.normal(
                0, 30, (count, 1, 1, 3)
            )
        return np.clip(image, 0, 255).astype(np.uint8)

    return draw


@pytest.fixture(scope="session")
def train_config() -> TrainConfig:
    """About six blocks of 8 bits for a patch of 8x8 pixels."""
    network = SirenConfig(grid=(8, 8), width=8, layers=3, features=8, max_frequency=4.0)
    return TrainConfig(
        rate=0.7,
        rounds=30,
        batch=64,
        lr=0.05,
        lr_shared=5e-3,
        steering=2e-3,
        budget=8,
        network=network,
    )


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """``made_once(name, fill)``: a folder that the first process of the test run to ask for it fills."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder_of(name: str, fill) -> Path:
        folder = base / name
        with (base / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "done").exists():
                folder.mkdir(exist_ok=True)
                with quickly_compiled():
                    fill(folder)
                (folder / "done").touch()
        return folder

    return folder_of


@pytest.fixture(scope="session")
def prior_path(train_config, waves, made_once) -> Path:
    def train(folder):
        path, metadata = folder / "waves.safetensors", {"data": "waves"}
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            train_prior(
                train_config,
                waves(0, 128),
                path,
                metadata=metadata,
                log=lambda line: None,
                force=True,
            )

    return made_once("prior", train) / "waves.safetensors"


@pytest.fixture(scope="session")
def prior(prior_path) -> Prior:
    return load_prior(prior_path)


@pytest.fixture(scope="session")
def effort() -> SirenEffort:
    """The quickest level, so that most tests share its compiled programs."""
    return SIREN_EFFORTS[1]


@pytest.fixture(scope="session")
def transform_config() -> TransformTraining:
    """Levels below, at and above that of the classes of activity."""
    network = TransformConfig(stride=8, depth=12, levels=3, context=2, hidden=8, features=4)
    return TransformTraining(
        prices=(2e-2, 2e-3), steps=150, batch=4, crop=32, scales=(0.5,), budget=8, network=network
    )


@pytest.fixture(scope="session")
def transforms(transform_config, waves, made_once) -> SimpleNamespace:
    """Two priors of one run, its log and its images, one of which is smaller than a crop."""
    images = [*waves(0, 12, 72, 64), *waves(1, 1, 31, 40)]
    names = "dear.safetensors", "cheap.safetensors"

    def train(folder):
        lines = []
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            done = train_transform(
                transform_config,
                images,
                [folder / name for name in names],
                checkpoint_dir=folder / "run",
                metadata={"data": "waves"},
                log=lines.append,
                force=True,
            )
        assert done is True
        (folder / "lines.json").write_text(json.dumps(lines))

    folder = made_once("transforms", train)
    outs = [folder / name for name in names]
    return SimpleNamespace(
        outs=outs,
        lines=json.loads((folder / "lines.json").read_text()),
        images=images,
        priors=[load_prior(out) for out in outs],
    )
