"""Priors of signals of one and three axes, from training to decoded files."""

import functools

import numpy as np
import pytest
import toy_sound
import toy_volume
from toy_sound import SOUND
from toy_volume import VOLUME

from recjax.codec import TrainConfig, decompress_batch, encode_batch, load_prior, train_prior
from recjax.codec.container import parse
from recjax.codec.siren.settings import EncodingConfig, SirenConfig
from recjax.modalities import MODALITIES, registry

pytestmark = pytest.mark.standard_promotion


sounds = functools.partial(toy_sound.sounds, slowest=0.05, fastest=0.3)
volumes = functools.partial(toy_volume.volumes, spread=0.4)


def config_of(grid, channels, cells, scene, region, **settings):
    """All mechanisms: positional encodings, signal, regions and patches."""
    encoding = EncodingConfig(depth=2, cells=cells, factors=(2, 2), hidden=(4,), encodings=4)
    network = SirenConfig(
        grid=grid, channels=channels, width=6, layers=3, features=12, max_frequency=4.0,
        encoding=encoding,
    )  # fmt: skip
    return TrainConfig(
        rounds=60, batch=64, steering=2e-3, budget=8, scene=scene, levels=3, region=region,
        network=network, **settings,
    )  # fmt: skip


CASES = {
    "sound": (
        SOUND,
        sounds,
        config_of((16,), 2, (4,), (4,), (2,), rate=1.0, lr=0.05, lr_shared=5e-3),
        [(16,), (41,), (3,), (64,)],
    ),
    "volume": (
        VOLUME,
        volumes,
        config_of((4, 4, 8), 1, (1, 1, 2), (2, 2, 1), (1, 2, 1), rate=0.5, lr=0.02, lr_shared=2e-3),
        [(4, 4, 8), (5, 9, 7), (1, 2, 17), (8, 8, 8)],
    ),
}


@pytest.fixture(
    # a training each; the quick tests train a transform of sound, and try every operation here
    params=[pytest.param(name, marks=pytest.mark.slow) for name in CASES],
    scope="module",
)
def case(request):
    return CASES[request.param]


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(registry, "MODALITIES", (*MODALITIES, SOUND, VOLUME))


@pytest.fixture(scope="module")
def path(case, tmp_path_factory):
    _, draw, config, _ = case
    path = tmp_path_factory.mktemp("prior") / "toy.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "MODALITIES", (*MODALITIES, SOUND, VOLUME))
        assert train_prior(config, draw(0, 64, config.sides), path, log=lambda line: None)
    return path


def test_signals_of_any_rank_become_files_and_come_back(case, path):
    modality, draw, config, shapes = case
    prior = load_prior(path)
    assert prior.modality == modality.name and prior.region == config.region
    assert [group.kind for group in prior.groups] == ["signal", "region", "patch"]
    signals = [draw(number, 1, sides)[0] for number, sides in enumerate(shapes, 1)]
    results = encode_batch(signals, prior, effort=1)
    decoded = decompress_batch([result.blob for result in results], priors=[prior])
    errors, variances = [], []
    for signal, sides, result, back in zip(signals, shapes, results, decoded, strict=True):
        header, _ = parse(result.blob)
        assert header.modality is modality
        assert header.shape == (None if sides == prior.patch else sides)
        assert back.values.shape == signal.values.shape and back.meta == signal.meta
        assert back.values.dtype == signal.values.dtype
        values, original = (modality.to_grid(x).values for x in (back, signal))
        errors.append(np.square(values - original).mean())
        variances.append(original.var())
    # far better than a constant, although most of these signals have few patches and so few bits
    assert np.sum(errors) < 0.6 * np.sum(variances), (errors, variances)
