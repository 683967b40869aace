"""Synthetic images and a prior trained on them in a few seconds."""

from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

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
def prior_path(train_config, waves, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("prior") / "waves.safetensors"
    train_prior(
        train_config, waves(0, 128), path, metadata={"data": "waves"}, log=lambda line: None
    )
    return path


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
def transforms(transform_config, waves, tmp_path_factory) -> SimpleNamespace:
    """Two priors of one run, its log and its images, one of which is smaller than a crop."""
    folder, lines = tmp_path_factory.mktemp("transforms"), []
    outs = [folder / "dear.safetensors", folder / "cheap.safetensors"]
    images = [*waves(0, 12, 72, 64), *waves(1, 1, 31, 40)]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        done = train_transform(
            transform_config,
            images,
            outs,
            checkpoint_dir=folder / "run",
            metadata={"data": "waves"},
            log=lines.append,
        )
    assert done is True
    return SimpleNamespace(
        outs=outs, lines=lines, images=images, priors=[load_prior(out) for out in outs]
    )
