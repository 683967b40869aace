"""Training a prior: it learns, stops on time, resumes exactly, survives kill -9 and refuses what cannot work."""

import json
import math
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recjax
from recjax.codec import TrainConfig, load_prior, train_prior
from recjax.codec.siren import round
from recjax.codec.siren.round import ROUND_STEPS, learning_rate, make_round
from recjax.codec.siren.settings import SirenConfig
from recjax.codec.siren.training_batches import (
    batch_rows,
    round_key,
    select_targets,
    training_targets,
)
from recjax.codec.siren.training_state import initial_state
from recjax.codec.training import loop
from recjax.codec.training.checkpoints import Checkpoints
from recjax.modalities import Signal
from recjax.modalities.image import IMAGE

pytestmark = pytest.mark.standard_promotion

NETWORK = SirenConfig(grid=(4, 4), width=4, layers=2, features=4, max_frequency=2.0)
CONFIG = TrainConfig(
    rate=2.0,
    rounds=24,
    batch=16,
    lr=0.05,
    lr_shared=5e-3,
    steering=2e-3,
    budget=8,
    seed=1,
    network=NETWORK,
)


def ignore(line):
    pass


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (40, 1, 1, 3))
    slopes = rng.normal(0, 8, (40, 4, 1, 3)).cumsum(1)
    return np.clip(colours + slopes + np.zeros((40, 4, 4, 3)), 0, 255).astype(np.uint8)


def grids(images):
    return [IMAGE.to_grid(Signal(image)) for image in images]


@pytest.fixture(scope="module")
def undisturbed(images, tmp_path_factory):
    """The file of a run from start to end, and its log."""
    path, lines = tmp_path_factory.mktemp("undisturbed") / "p.safetensors", []
    assert train_prior(CONFIG, images, path, log=lines.append) is True
    return path, lines


def test_objective_falls(images):
    config = TrainConfig(**{**vars(CONFIG), "steering": 1e-30})
    targets = training_targets(grids(images), config)
    state, run, objective = initial_state(config, len(images)), make_round(config), []
    beta = math.exp(float(state.log_beta))
    for number in range(config.rounds):
        rows = batch_rows(config, len(images), number)
        state, report = run(
            state, select_targets(targets, rows, config), rows, round_key(config, number)
        )
        objective.append(float(report.mse) + beta * math.log(2) * float(report.kl_bits))
    assert float(state.log_beta) == pytest.approx(math.log(beta))
    blocks = np.reshape(objective, (4, -1)).mean(1)
    assert np.all(np.diff(blocks) < 0)
    assert blocks[-1] < 0.5 * objective[0]
    assert int(state.done) == config.rounds


@pytest.mark.slow
def test_moments_follow_the_unit_of_their_latents(images, monkeypatch):
    targets, key = training_targets(grids(images), CONFIG), round_key(CONFIG, 0)
    rows = batch_rows(CONFIG, len(images), 0)
    one_round = lambda: make_round(CONFIG)(
        initial_state(CONFIG, len(images)), select_targets(targets, rows, CONFIG), rows, key
    )[0]
    refitted = one_round()
    monkeypatch.setattr(
        round,
        "refit_prior",
        lambda prior, posterior, _: (prior, posterior, jnp.ones(NETWORK.n_latents)),
    )
    plain = one_round()
    unit = np.asarray(refitted.groups[0].prior.scale / plain.groups[0].prior.scale)
    assert np.abs(np.log(unit)).max() > 0.1
    ours, before = refitted.groups[0].optimiser, plain.groups[0].optimiser
    np.testing.assert_allclose(ours.mu.mean, before.mu.mean * unit, rtol=1e-4)
    np.testing.assert_allclose(ours.nu.mean, before.nu.mean * unit**2, rtol=1e-4)
    np.testing.assert_array_equal(ours.mu.log_std, before.mu.log_std)


def test_file_and_log_say_what_was_done(undisturbed, images):
    path, lines = undisturbed
    training = load_prior(path).metadata["training"]
    assert training["rounds_done"] == 24 and training["signals"] == 40
    assert [point["step"] for point in training["curve"]] == [20 * 50, 24 * 50]
    assert len(lines) == 2 and lines[0].startswith("round 20/24") and "dB" in lines[1]
    # the average KL over the signals is what the partition's blocks were filled with
    prior = load_prior(path)
    assert abs(training["kl_bits"] - prior.rate_bits) < prior.budget
    assert prior.config.n_latents <= NETWORK.n_latents


@pytest.mark.slow
def test_the_price_moves_the_rate_to_its_goal(images, tmp_path):
    rates = {}
    for rate in (0.4, 0.8):
        config = TrainConfig(**{**vars(CONFIG), "rate": rate, "rounds": 40, "steering": 1e-2})
        train_prior(config, images, tmp_path / f"{rate}", log=ignore)
        rates[rate] = load_prior(tmp_path / f"{rate}").metadata["training"]["kl_bits"] / 16
    assert rates[0.4] == pytest.approx(0.4, rel=0.25) and rates[0.8] == pytest.approx(0.8, rel=0.25)


def test_stops_on_time_with_a_usable_prior_and_goes_on_to_the_same_end(
    undisturbed, images, tmp_path
):
    out, folder, lines = tmp_path / "p.safetensors", tmp_path / "checkpoints", []
    assert (
        train_prior(CONFIG, images, out, checkpoint_dir=folder, max_minutes=0.0, log=lines.append)
        is False
    )
    assert load_prior(out).metadata["training"]["rounds_done"] == 1
    assert lines[-1] == "stopped after 1 of 24 rounds: the same command goes on from here"
    assert train_prior(CONFIG, images, out, checkpoint_dir=folder, log=ignore, force=True) is True
    assert out.read_bytes() == undisturbed[0].read_bytes()
    # a third call has nothing left to do
    assert train_prior(CONFIG, images, out, checkpoint_dir=folder, log=ignore, force=True) is True
    assert out.read_bytes() == undisturbed[0].read_bytes()


def test_a_run_that_keeps_no_state_does_not_promise_to_go_on():
    lines, begin = [], types.SimpleNamespace(done=0)
    training = loop.Training(
        unit="step", units=2, stride=1, log_units=2, gradient_steps=1, config=CONFIG, devices=1,
        advance=lambda state, first, end: (types.SimpleNamespace(done=end), [[0.0]]),
        summary=lambda report, done: {}, describe=lambda point, state: "",
    )  # fmt: skip
    loop.train(training, begin, loop.Limits(max_minutes=0.0, log=lines.append), "")
    assert lines == ["stopped after 1 of 2 steps"]


def test_other_settings_or_data_are_refused(images, tmp_path):
    folder = tmp_path / "checkpoints"
    train_prior(CONFIG, images, tmp_path / "p", checkpoint_dir=folder, max_minutes=0.0, log=ignore)
    other = TrainConfig(**{**vars(CONFIG), "lr": 0.04})
    for config, data in ((other, images), (CONFIG, images[::-1].copy()), (CONFIG, images[:-1])):
        with pytest.raises(ValueError, match="settings or data"):
            train_prior(config, data, tmp_path / "q", checkpoint_dir=folder, log=ignore)
    assert not (tmp_path / "q").exists()


SCRIPT = """
import numpy as np
from test_training import CONFIG, ignore, train_prior
images = np.load("images.npy")
train_prior(CONFIG, images, "p.safetensors", checkpoint_dir="checkpoints", checkpoint_minutes=0.0, log=ignore)
"""


@pytest.mark.slow
def test_kill_9_loses_one_checkpoint_interval_at_most(undisturbed, images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    folder = tmp_path / "checkpoints"
    folders = [str(Path(__file__).parent), str(Path(recjax.__file__).parents[1])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], env=environment, cwd=tmp_path)
    complete = lambda: [int(path.name) for path in folder.glob("*") if path.name.isdigit()]
    deadline = time.monotonic() + 120
    while not (folder.is_dir() and max(complete(), default=0) >= 3 * ROUND_STEPS):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoints", "images.npy"]

    # every round was kept, and the one being written may be whole or not
    done = max(complete())
    identity = (folder / "run.json").read_text()
    state, _ = Checkpoints(folder, identity).restore(initial_state(CONFIG, len(images)))
    assert int(state.done) * ROUND_STEPS == done
    assert json.loads(identity)["config"]["rounds"] == CONFIG.rounds
    out = tmp_path / "p.safetensors"
    assert train_prior(CONFIG, images, out, checkpoint_dir=folder, log=ignore) is True
    assert out.read_bytes() == undisturbed[0].read_bytes()


@pytest.mark.parametrize("max_minutes", [math.inf, 0.0])
def test_divergence_is_an_error_and_writes_nothing(images, tmp_path, max_minutes):
    config = TrainConfig(**{**vars(CONFIG), "lr": 1e3, "rounds": 3})
    with pytest.raises(ValueError, match="diverged"):
        train_prior(config, images, tmp_path / "p", max_minutes=max_minutes, log=ignore)
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x[:1],
        lambda x: x[:0],
        lambda x: x[:, :3],
        lambda x: x[..., :1],
        lambda x: x[..., 0],
        lambda x: x.astype(np.float32),
        lambda x: x.astype(np.int64),
    ],
)
def test_images_that_do_not_fit_are_refused(images, tmp_path, change):
    with pytest.raises(ValueError, match=r"image|signals"):
        train_prior(
            CONFIG, change(images), tmp_path / "p", checkpoint_dir=tmp_path / "c", log=ignore
        )
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_cannot_be_written_are_refused_before_training(images, tmp_path):
    (tmp_path / "p").write_bytes(b"mine")
    lines = []
    for out, reason in (
        (tmp_path / "p", "exists"),
        (tmp_path, "folder"),
        (tmp_path / "no" / "p", "no folder"),
    ):
        with pytest.raises(ValueError, match=reason):
            train_prior(CONFIG, images, out, log=lines.append)
    assert lines == [] and (tmp_path / "p").read_bytes() == b"mine"


def test_checkpoints_that_cannot_be_written_are_an_error(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path / "c", "identity")
    state = {"step": jnp.int32(1)}
    checkpoints.save(1, state, [])

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints._manager, "save", full)
    with pytest.raises(ValueError, match="its disk is full"):
        checkpoints.save(2, state, [])
    assert Checkpoints(tmp_path / "c", "identity").restore({"step": jnp.int32(0)})[0]["step"] == 1


def test_checkpoint_folder_must_be_a_folder(images, tmp_path):
    (tmp_path / "c").write_bytes(b"mine")
    with pytest.raises(ValueError, match="checkpoint"):
        train_prior(CONFIG, images, tmp_path / "p", checkpoint_dir=tmp_path / "c", log=ignore)


@pytest.mark.parametrize(
    "fields",
    [
        {"rate": 0.0},
        {"rate": -1.0},
        {"rate": math.nan},
        {"rounds": 0},
        {"batch": 0},
        {"lr": 0.0},
        {"lr_shared": -1e-3},
        {"steering": 0.0},
        {"budget": 3},
        {"budget": 21},
        {"scene": (1,)},
        {"scene": (0, 1)},
        {"region": (4, 4, 4)},
        {"region": (4, 0)},
        {"levels": 4},
        {"seed": -1},
    ],
)
def test_settings_out_of_range_are_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        TrainConfig(**fields)


def test_batches_visit_every_signal_once_a_pass():
    config = TrainConfig(batch=10)
    visited = np.concatenate([batch_rows(config, 40, number) for number in range(4)])
    np.testing.assert_array_equal(np.sort(visited), np.arange(40))
    later = np.concatenate([batch_rows(config, 40, number) for number in range(4, 8)])
    np.testing.assert_array_equal(np.sort(later), np.arange(40))
    assert np.any(visited != later)
    np.testing.assert_array_equal(batch_rows(config, 40, 5), batch_rows(config, 40, 5))
    assert len(batch_rows(config, 7, 0)) == 7
    assert len(batch_rows(TrainConfig(batch=1000), 300, 0)) == 256


def test_learning_rate_warms_up_and_ends_at_zero():
    rate = np.array(
        [float(learning_rate(CONFIG, jax.numpy.float32(p))) for p in np.linspace(0, 1, 101)]
    )
    assert 0 < rate[0] < 0.1 and rate.max() > 0.99 and rate[-1] == pytest.approx(0, abs=1e-6)
    assert np.all(np.diff(rate[3:]) < 0)
