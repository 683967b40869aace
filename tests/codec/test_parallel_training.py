"""Training on several devices is training on one, up to rounding: every device has its part of a batch."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from recjax import parallel
from recjax.codec import TrainConfig, TransformTraining
from recjax.codec.train import batch_rows, initial_state, make_round, round_key, select_targets, training_targets
from recjax.codec.transform_family import initial_state as initial_family
from recjax.codec.transform_family import make_step
from recjax.inr import SirenConfig
from recjax.inr.transform import TransformConfig
from recjax.inr.upsampler import EncodingConfig

pytestmark = pytest.mark.standard_promotion
ROOT = Path(__file__).parents[2]

ENCODING = EncodingConfig(depth=2, cells=(2, 2), factors=(2, 2), hidden=(4,), encodings=4)
NETWORK = SirenConfig(grid=(8, 8), width=4, layers=2, features=4, max_frequency=2.0, encoding=ENCODING)
PRIOR = TrainConfig(rate=1.0, rounds=2, batch=16, scene=(2, 2), levels=3, region=1, budget=8, network=NETWORK)
TRANSFORM = TransformTraining(
    prices=(2e-2, 2e-3), batch=4, crop=16, budget=8,
    network=TransformConfig(stride=4, depth=6, levels=2, context=2, hidden=4, features=2),
)  # fmt: skip


def prior_state(devices):
    """After one round."""
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)
    targets, rows = training_targets(images, PRIOR), batch_rows(PRIOR, len(images), 0)
    state = parallel.placed(initial_state(PRIOR, len(images)), devices)
    run = make_round(PRIOR, devices)
    batch = select_targets(targets, rows, PRIOR)
    program = run.lower(state, batch, rows, round_key(PRIOR, 0)).compile().as_text()
    return run(state, batch, rows, round_key(PRIOR, 0)), program


def transform_state(devices):
    """After some steps."""
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)
    state = parallel.placed(initial_family(TRANSFORM, list(images)), devices)
    crops, key = parallel.placed(images[:4], devices, parallel.divided()), jax.random.key(0)
    step = make_step(TRANSFORM)
    program = step.lower(state, crops, key).compile().as_text()
    for _ in range(6):
        state, report = step(state, crops, key)
    return (state, report), program


STATES = {"prior": prior_state, "transform": transform_state}


def script(name, path):
    result, program = STATES[name](parallel.devices_for(4))
    assert len(jax.devices()) == 4 and "all-reduce" in program
    for leaf in jax.tree.leaves(result):
        assert len(leaf.sharding.device_set) == 4 and leaf.is_fully_replicated
    np.savez(path, *map(np.asarray, jax.tree.leaves(result)))


@pytest.mark.parametrize("name", STATES)
def test_four_devices_learn_what_one_does(name, tmp_path):
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4", "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu",
    }  # fmt: skip
    path = tmp_path / "leaves.npz"
    done = subprocess.run([sys.executable, __file__, name, path], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    result, _ = STATES[name](1)
    with np.load(path) as arrays:
        theirs = list(arrays.values())
    for ours, other in zip(jax.tree.leaves(result), theirs, strict=True):
        scale = np.abs(ours).max()
        np.testing.assert_allclose(other / (scale or 1), ours / (scale or 1), atol=2e-3)


def test_a_batch_is_divided_among_as_many_devices_as_divide_it(monkeypatch):
    monkeypatch.setattr(jax, "local_device_count", lambda: 8)
    assert [parallel.devices_for(n) for n in (1, 4, 7, 12, 16, 100)] == [1, 4, 7, 6, 8, 5]


if __name__ == "__main__":
    script(*sys.argv[1:])
