"""Training on several devices is training on one, up to rounding: every device has its part of a batch."""

import dataclasses
import math
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from recjax import parallel
from recjax.codec import TrainConfig, TransformTraining, load_prior, train_prior, train_transform
from recjax.codec.siren.round import make_round
from recjax.codec.siren.settings import EncodingConfig, SirenConfig
from recjax.codec.siren.training_batches import (
    batch_rows,
    batch_signals,
    chunks_of,
    round_key,
    select_targets,
    training_targets,
)
from recjax.codec.siren.training_state import initial_state
from recjax.codec.transform.family import initial_state as initial_family
from recjax.codec.transform.family import make_step
from recjax.codec.transform.network import TransformConfig
from recjax.modalities import Signal
from recjax.modalities.image import IMAGE

pytestmark = pytest.mark.standard_promotion
ROOT = Path(__file__).parents[3]

ENCODING = EncodingConfig(depth=2, cells=(2, 2), factors=(2, 2), hidden=(4,), encodings=4)
NETWORK = SirenConfig(
    grid=(8, 8), width=4, layers=2, features=4, max_frequency=2.0, encoding=ENCODING
)
PRIOR = TrainConfig(
    rate=1.0, rounds=2, batch=16, scene=(2, 2), levels=3, region=(1, 1), budget=8, network=NETWORK
)
TRANSFORM = TransformTraining(
    prices=(2e-2, 2e-3), batch=4, crop=16, budget=8,
    network=TransformConfig(stride=4, depth=6, levels=2, context=2, hidden=4, features=2),
)  # fmt: skip


def grids(images):
    return [IMAGE.to_grid(Signal(image)) for image in images]


def prior_state(devices):
    """After one round."""
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)
    targets, rows = training_targets(grids(images), PRIOR), batch_rows(PRIOR, len(images), 0)
    state = parallel.placed(initial_state(PRIOR, len(images)), devices)
    run = make_round(PRIOR, devices)
    batch = select_targets(targets, rows, PRIOR)
    program = run.lower(state, batch, rows, round_key(PRIOR, 0)).compile().as_text()
    return run(state, batch, rows, round_key(PRIOR, 0)), program


def transform_state(devices):
    """After some steps."""
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)
    values = np.stack([grid.values for grid in grids(images)])
    state = parallel.placed(initial_family(TRANSFORM, list(values)), devices)
    crops, key = parallel.placed(values[:4], devices, parallel.divided()), jax.random.key(0)
    step = make_step(TRANSFORM, devices)
    program = step.lower(state, crops, key).compile().as_text()
    for _ in range(6):
        state, report = step(state, crops, key)
    return (state, report), program


STATES = {"prior": prior_state, "transform": transform_state}


def train(name, folder, minutes=math.inf):
    """A whole training, or its beginning: whether it is done, and what it logged."""
    rng, lines = np.random.default_rng(1), []
    limits = {
        "checkpoint_dir": folder / "run",
        "max_minutes": minutes,
        "force": True,
        "log": lines.append,
    }
    if name == "prior":
        images = rng.integers(0, 256, (6, 16, 16, 3), np.uint8)
        return train_prior(PRIOR, images, folder / "a.safetensors", **limits), lines
    images = list(rng.integers(0, 256, (3, 32, 32, 3), np.uint8))
    config = dataclasses.replace(TRANSFORM, batch=6, steps=240)
    return train_transform(
        config, images, [folder / "a.safetensors", folder / "b.safetensors"], **limits
    ), lines


def script(name, path):
    """The state after a few steps; then the second half of a training whose first half one device did."""
    result, program = STATES[name](parallel.devices_for(4))
    assert len(jax.devices()) == 4 and "all-reduce" in program
    Path(path).with_suffix(".txt").write_text(program)
    for leaf in jax.tree.leaves(result):
        assert len(leaf.sharding.device_set) == 4 and leaf.is_fully_replicated
    np.savez(path, *map(np.asarray, jax.tree.leaves(result)))
    done, lines = train(name, Path(path).parent)
    # a batch of 16 patches is 4 signals, one of 6 crops is divided by 3
    assert done and lines[0] == {"prior": "on 4 devices", "transform": "on 3 devices"}[name], lines


@pytest.mark.slow
@pytest.mark.parametrize("name", STATES)
def test_four_devices_learn_what_one_does(name, tmp_path):
    # more threads than reductions can wait at once, or that of the last device never begins; and patience
    flags = "--xla_force_host_platform_device_count=4 --xla_cpu_collective_call_terminate_timeout_seconds=300"
    environment = os.environ | {
        "XLA_FLAGS": flags, "NPROC": "32", "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu",
    }  # fmt: skip
    path = tmp_path / "leaves.npz"
    assert train(name, tmp_path, minutes=0.0)[0] is False
    done = subprocess.run(
        [sys.executable, __file__, name, path], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result, program = STATES[name](1)
    # what a device has of the batch: the latents of the 4 patches of a signal, a crop
    part = {"prior": "f32[4,59]", "transform": "f32[1,16,16,3]"}[name]
    assert part in path.with_suffix(".txt").read_text() and part not in program
    with np.load(path) as arrays:
        theirs = list(arrays.values())
    for ours, other in zip(jax.tree.leaves(result), theirs, strict=True):
        scale = np.abs(ours).max()
        np.testing.assert_allclose(other / (scale or 1), ours / (scale or 1), atol=2e-3)
    training = load_prior(tmp_path / "a.safetensors").metadata["training"]
    assert training["devices"] == {"prior": 4, "transform": 3}[name]
    # one device would go on from there too, if there were more to do
    assert train(name, tmp_path)[0] is True


def test_a_batch_is_divided_among_as_many_devices_as_divide_it(monkeypatch):
    monkeypatch.setattr(jax, "local_device_count", lambda: 8)
    assert [parallel.devices_for(n) for n in (1, 4, 7, 12, 16, 100)] == [1, 4, 7, 6, 8, 5]


def test_several_hosts_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    for name in STATES:
        with pytest.raises(ValueError, match="several hosts"):
            train(name, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("scene", "signals", "batch", "size"),
    [
        ((1, 1), 300, 1000, 256),
        ((1, 1), 7, 1024, 7),
        ((3, 3), 455, 1024, 113),
        ((3, 2), 50, 1024, 50),
        ((2, 2), 99, 1, 1),
    ],
)
def test_a_batch_has_signals_whatever_the_scene(scene, signals, batch, size):
    assert batch_signals(dataclasses.replace(PRIOR, scene=scene, batch=batch), signals) == size


@pytest.mark.parametrize(
    ("rows", "chunks"), [(1, 1), (127, 1), (128, 1), (1024, 8), (127 * 13, 13), (113 * 9, 9)]
)
def test_chunks_are_about_as_long_whatever_the_batch(rows, chunks):
    assert chunks_of(rows) == chunks


@pytest.mark.slow
def test_rows_that_do_not_fill_whole_chunks_are_trained_on(monkeypatch):
    """14 rows in chunks of about 5 are 2 chunks of 7, 13 are one; with the same result as all at once."""
    images = np.random.default_rng(0).integers(0, 256, (14, 8, 8, 3), np.uint8)
    config = dataclasses.replace(PRIOR, scene=(1, 1), levels=1)
    for signals in (14, 13):
        states = []
        for rows in (5, 100):
            monkeypatch.setattr("recjax.codec.siren.training_batches.TRAINING_ROWS", rows)
            targets, which = training_targets(grids(images[:signals]), config), np.arange(signals)
            state = initial_state(config, signals)
            states.append(make_round(config)(state, targets, which, round_key(config, 0))[0].params)
        for one, other in zip(*map(jax.tree.leaves, states), strict=True):
            np.testing.assert_allclose(one, other, atol=2e-3)


if __name__ == "__main__":
    script(*sys.argv[1:])
