"""Transform priors: training, files, and images through them."""

import dataclasses
import itertools
import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

import recjax
from recjax.codec import TransformTraining, decompress_batch, encode_batch, load_prior, train_transform
from recjax.codec.effort import GUESSED_EFFORTS, effort_of
from recjax.codec.start import leading_blocks
from recjax.codec.transform_training import at_price, crops_of, elbo, initial_state, make_step
from recjax.inr.transform import Transform, TransformConfig
from recjax.modalities.image import psnr

loose = pytest.mark.standard_promotion  # where optax is at work

NETWORK = TransformConfig(grid=(16, 16), stride=4, depth=12, context=2, hidden=8, features=4)
CONFIG = TransformTraining(
    prices=(2e-2, 2e-3), steps=200, batch=4, crop=16, lr=3e-3, scales=(0.5,), budget=8, network=NETWORK
)


@pytest.fixture(scope="module")
def trained(waves, tmp_path_factory):
    """Two priors of one run, its log and its images."""
    folder, lines = tmp_path_factory.mktemp("transforms"), []
    outs = [folder / "cheap.safetensors", folder / "dear.safetensors"]
    images = list(waves(0, 12, 48, 40))
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        done = train_transform(
            CONFIG, images, outs, checkpoint_dir=folder / "run", metadata={"data": "waves"}, log=lines.append
        )
    assert done is True
    return SimpleNamespace(outs=outs, lines=lines, images=images, priors=[load_prior(out) for out in outs])


@pytest.fixture(scope="module")
def signals(waves):
    sizes = (16, 16), (33, 20), (1, 40)
    return [recjax.Signal(waves(5 + i, 1, *size)[0], "image", {"gray": False}) for i, size in enumerate(sizes)]


@pytest.fixture(scope="module")
def encoded(trained, signals):
    """At both prices."""
    return [encode_batch(signals, prior, effort=2) for prior in trained.priors]


@loose
def test_training_lowers_the_objective(waves):
    images = list(waves(0, 12, 48, 40))
    state, step, total = initial_state(CONFIG, images), make_step(CONFIG), []
    for number in range(100):
        state, (error, kl) = step(state, crops_of(CONFIG, images, number), jax.random.key(0))
        total.append(error + CONFIG.prices[number % 2] * kl)
    first, last = (np.reshape(total[part], (-1, 2)).mean(0) for part in (np.s_[:20], np.s_[-20:]))
    assert (last < 0.9 * first).all()


def test_run_is_logged_and_stored(trained):
    assert len(trained.lines) == 3 and trained.lines[0].startswith("step 200/200") and "dB" in trained.lines[0]
    for price, prior in zip(CONFIG.prices, trained.priors, strict=True):
        training = prior.metadata["training"]
        assert prior.metadata["data"] == "waves" and training["price"] == price and training["steps_done"] == 200
        assert prior.config == NETWORK and prior.beta == pytest.approx(price / 256) and prior.budget == 8


def test_prices_share_their_matrices(trained):
    cheap, dear = (safetensors.numpy.load(out.read_bytes()) for out in trained.outs)
    names = [name for name in cheap if name.startswith("params")]
    same = {name for name in names if np.array_equal(cheap[name], dear[name])}
    assert same == {name for name in names if cheap[name].ndim == 2} and len(same) < len(names)


@loose
def test_interrupted_run_gives_the_same_files(trained, tmp_path):
    outs = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    run = lambda minutes: train_transform(
        CONFIG, trained.images, outs, checkpoint_dir=tmp_path / "run", max_minutes=minutes,
        metadata={"data": "waves"}, force=True, log=lambda line: None,
    )  # fmt: skip
    assert run(1e-9) is False and all(load_prior(out) for out in outs)
    assert run(np.inf) is True
    for whole, resumed in zip(trained.outs, outs, strict=True):
        a, b = (safetensors.numpy.load(out.read_bytes()) for out in (whole, resumed))
        assert a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_files_decode_to_what_was_promised(trained, signals, encoded):
    for prior, results in zip(trained.priors, encoded, strict=True):
        decoded = decompress_batch([result.blob for result in results], priors=[prior])
        for signal, result, image in zip(signals, results, decoded, strict=True):
            assert image.values.shape == signal.values.shape
            assert psnr(signal.values, image.values) == pytest.approx(result.psnr, abs=1e-6)
            assert result.index_bits + result.header_bits <= 8 * len(result.blob) + 0.01


def test_dear_priors_are_smaller_and_worse(trained, encoded):
    dear, cheap = encoded
    assert sum(len(r.blob) for r in dear) < sum(len(r.blob) for r in cheap)
    assert np.mean([r.psnr for r in dear]) + 1 < np.mean([r.psnr for r in cheap])


def test_a_guess_beats_the_prior_mean(trained, signals, encoded):
    """The guess of an image nobody fitted is far better than an image of gray."""
    gray = [psnr(signal.values, np.full_like(signal.values, 128)) for signal in signals]
    one_pass = encode_batch(signals, trained.priors[1], effort=1)
    assert np.mean([result.psnr for result in one_pass]) > np.mean(gray) + 3


def test_a_signal_alone_has_the_bytes_it_has_in_a_batch(trained, signals):
    prior = trained.priors[0]
    together = encode_batch([signals[1], signals[1]], prior, effort=1)
    alone = encode_batch([signals[1]], prior, effort=1)[0]
    assert [result.blob for result in together] == [alone.blob] * 2


def test_context_is_coded_first(trained):
    for prior in trained.priors:
        group, lead = prior.groups[0], leading_blocks(prior)
        coarse = group.order % NETWORK.grid_shape[2] < NETWORK.context
        ahead = group.widths[:lead].sum()
        assert lead >= 1 and coarse[:ahead].all() and not coarse[ahead:].any()


def test_scales_make_the_average_second_moment_one(trained):
    """The stored scale is that of the aggregated posterior, so the KL that blocks are cut by is its closed form."""
    prior = trained.priors[1]
    group = prior.groups[0]
    kl_bits = -group.log_std / np.log(2)
    filled = np.array([kl_bits[own[own < len(kl_bits)]].sum() for own in group.blocks])
    lead = leading_blocks(prior)
    for part in (filled[:lead], filled[lead:]):
        assert (part[:-1] > 4).all() and (part[:-1] < 12).all()


@loose
def test_elbo_is_error_and_kl(trained):
    """Against NumPy, for a model whose posterior is the prior: no KL, and an error that hangs on the noise."""
    model = Transform(NETWORK)
    model.analysis.coarse[2][...] = 0 * model.analysis.coarse[2][...]
    model.analysis.coarse_bias[2][...] = model.analysis.coarse_bias[2][...].at[NETWORK.context :].set(-40.0)
    model.analysis.fine[1][...] = 0 * model.analysis.fine[1][...]
    model.analysis.log_curvature[...] = model.analysis.log_curvature[...] - 60
    images = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 16, 16, 3)).astype(np.float32)
    graph, params = nnx.split(model)
    objective = jax.jit(lambda key: elbo(nnx.merge(graph, params), images, key))
    error, kl = objective(jax.random.key(0))
    other, _ = objective(jax.random.key(1))
    assert abs(float(kl)) < 1e-6 and float(error) > np.var(images) and float(error) != float(other)


@loose
def test_stacked_vectors_are_told_from_matrices(trained):
    state = initial_state(CONFIG, trained.images)
    one = at_price(state.params, 1)
    shapes = jax.tree.map(np.shape, one)
    assert shapes == jax.tree.map(np.shape, nnx.split(Transform(NETWORK))[1])
    curvature = [float(at_price(state.params, i)["analysis"]["log_curvature"][...][0]) for i in range(2)]
    assert np.exp(curvature) == pytest.approx([2 / 3 / price for price in CONFIG.prices], rel=1e-5)


def test_effort_is_ordered():
    levels = [effort_of(level, guessed=True) for level in sorted(GUESSED_EFFORTS)]
    assert len(levels) == 9
    for low, high in itertools.pairwise(levels):
        assert low.fit_steps < high.fit_steps and low.refine_steps <= high.refine_steps
        assert low.lookahead <= high.lookahead


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prices": ()}, "prices"),
        ({"prices": (2.0,)}, "prices"),
        ({"crop": 20}, "crop"),
        ({"scales": (1.5,)}, "scales"),
        ({"steps": 0}, "steps"),
        ({"budget": 3}, "budget"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **change)


@loose
def test_wrong_arguments_are_refused(trained, tmp_path):
    with pytest.raises(ValueError, match="2 prices need as many files"):
        train_transform(CONFIG, trained.images, [tmp_path / "a"])
    with pytest.raises(ValueError, match="no image has sides of 16"):
        train_transform(CONFIG, [trained.images[0][:10]], [tmp_path / "a", tmp_path / "b"])
    with pytest.raises(ValueError, match="exists"):
        train_transform(CONFIG, trained.images, trained.outs)
    with pytest.raises(ValueError, match="holds a run with other settings"):
        other = dataclasses.replace(CONFIG, seed=1)
        train_transform(
            other, trained.images, [tmp_path / "a", tmp_path / "b"], checkpoint_dir=trained.outs[0].parent / "run"
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change",
    [
        {"stride": 1 << 13},
        {"depth": 48.0},
        {"grid": [1 << 12, 1 << 12]},
        {"hidden": 1 << 12, "features": 1 << 12},
        {"context": 0},
    ],
)
def test_impossible_files_are_refused(trained, tmp_path, change):
    blob = trained.outs[0].read_bytes()
    length = int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8 : 8 + length])
    fields = json.loads(header["__metadata__"]["recjax"])
    fields["network"] |= change
    header["__metadata__"]["recjax"] = json.dumps(fields)
    text = json.dumps(header).encode()
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + blob[8 + length :])
    with pytest.raises(ValueError, match="damaged or not a recjax prior"):
        load_prior(path)
