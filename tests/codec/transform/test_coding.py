"""Transform priors: training, files, and images through them."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

import recjax
from recjax.codec import decompress_batch, encode_batch, load_prior, train_transform
from recjax.codec.training.data import random_crops
from recjax.codec.training.informative import NEGLIGIBLE
from recjax.codec.transform import decoding
from recjax.codec.transform.amortised import encode_sample, kl_nats
from recjax.codec.transform.family import graph_of, initial_state, model_at
from recjax.codec.transform.network_module import Transform
from recjax.codec.transform.rate_classes import activity_of, class_bits, in_cells
from recjax.codec.transform.sinh_prior import kl_bits, posterior_of_u
from recjax.codec.transform.statistics import CLASSES
from recjax.codec.transform.symbols import (
    step_sizes_of,
    symbol_bits,
    symbol_frequencies,
    symbols_of,
)
from recjax.codec.transform.training import _means
from recjax.modalities.image import IMAGE
from recjax.modalities.image.pixels import psnr, resized

loose = pytest.mark.standard_promotion  # where optax is at work

SIZES = (33, 70), (64, 96), (1, 40)


@pytest.fixture(scope="module")
def shown(transforms):
    """The images in all sizes that training saw."""
    return [size for image in transforms.images[:12] for size in (image, resized(image, 0.5))]


def values_of(images):
    return np.asarray(images).astype(np.float32) / 255 - 0.5


@pytest.fixture(scope="module")
def crops(shown):
    return [
        values_of(random_crops(shown, 256, (32, 32), [100, i], modality=IMAGE, augment=False))
        for i in range(8)
    ]


@pytest.fixture(scope="module")
def signals(waves):
    colour = [
        recjax.Signal(waves(5 + i, 1, *size)[0], "image", {"gray": False})
        for i, size in enumerate(SIZES)
    ]
    gray = waves(20, 1, 40, 65)[0][..., :1].repeat(3, -1)
    return [*colour, recjax.Signal(gray, "image", {"gray": True})]


@pytest.fixture(scope="module")
def encoded(transforms, signals):
    """At both prices."""
    return [encode_batch(signals, prior, effort=1) for prior in transforms.priors]


guesses = jax.jit(encode_sample)


def objective(network, price, crops):
    """Mean over the crops of the squared error and the price of the KL per pixel."""
    total = []
    for i, batch in enumerate(crops[:2]):
        posteriors, decoded = guesses(network, batch, jax.random.key(i))
        error = np.mean((np.asarray(decoded) - batch) ** 2)
        nats = sum(float(kl_nats(posterior).sum()) for posterior in posteriors)
        total.append(error + price * nats / batch[..., 0].size)
    return np.mean(total)


@loose
def test_training_lowers_the_objective(transforms, transform_config, shown, crops):
    state = initial_state(transform_config, [values_of(image) for image in shown])
    for i, (price, prior) in enumerate(
        zip(transform_config.prices, transforms.priors, strict=True)
    ):
        start = model_at(graph_of(transform_config), state.params, i).network()
        first, last = (objective(network, price, crops) for network in (start, prior.network))
        assert last < 0.9 * first, (price, first, last)


def test_run_is_logged_and_stored(transforms, transform_config):
    small, steps, *written = transforms.lines
    assert small == "1 of 13 images are smaller than a crop of 32 pixels and left out"
    assert steps.startswith("step 150/150") and steps.count(" bpp ") == steps.count(" dB") == 2
    for out, line, price, prior in zip(
        transforms.outs, written, transform_config.prices, transforms.priors, strict=True
    ):
        training = prior.metadata["training"]
        assert (
            prior.metadata["data"] == "waves"
            and training["price"] == price
            and training["steps_done"] == 150
        )
        assert training["config"]["network"]["depth"] == 12 and len(training["curve"]) == 1
        assert (
            prior.config == transform_config.network and prior.beta == price and prior.budget == 8
        )
        assert prior.patch == (32, 32)
        assert prior.summary == {"kind": "transform", "latents": [12, 14, 14], "classes": CLASSES}
        assert (
            prior.class_level == 1 and line.startswith(f"{out}: ") and line.endswith(" bpp of KL")
        )


def test_a_price_without_a_step_has_no_average():
    """Of prices 0 to 2, the last of two steps is step 121, and was at price 0."""
    point = _means(np.array([[0.1, 0.01], [0.0, np.log(2)]]), 121, 3)
    assert point == {
        "psnr": [pytest.approx(20), None, pytest.approx(10)],
        "bpp": [pytest.approx(1), None, 0],
    }


def test_prices_share_their_matrices(transforms):
    dear, cheap = (safetensors.numpy.load(out.read_bytes()) for out in transforms.outs)
    names = [name for name in dear if name.startswith("params")]
    same = {name for name in names if np.array_equal(dear[name], cheap[name])}
    assert same == {name for name in names if dear[name].ndim == 2} and 0 < len(same) < len(names)


@pytest.mark.slow
@loose
def test_interrupted_run_gives_the_same_files(transforms, transform_config, tmp_path):
    outs, lines = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"], []
    run = functools.partial(
        train_transform, transform_config, transforms.images, outs, checkpoint_dir=tmp_path / "run",
        metadata={"data": "waves"}, force=True, log=lines.append,
    )  # fmt: skip
    assert run(max_minutes=1e-9) is False and "stopped after 120 of 150 steps" in "\n".join(lines)
    assert all(load_prior(out).metadata["training"]["steps_done"] == 120 for out in outs)
    assert run() is True
    assert [out.read_bytes() for out in outs] == [out.read_bytes() for out in transforms.outs]


def test_files_decode_to_what_was_promised(transforms, signals, encoded):
    spare = []
    for prior, results in zip(transforms.priors, encoded, strict=True):
        decoded = decompress_batch([result.blob for result in results], priors=[prior])
        for signal, result, image in zip(signals, results, decoded, strict=True):
            assert (
                image.values.shape == signal.values.shape
                and image.meta["gray"] == signal.meta["gray"]
            )
            assert psnr(signal.values, image.values) == pytest.approx(result.score, abs=1e-9)
            spare.append(8 * len(result.blob) - result.index_bits - result.header_bits)
        assert (decoded[-1].values == decoded[-1].values[..., :1]).all()
    # by luck, of probability 2^-n, a stream is n bits shorter than its code: not twice
    assert sorted(spare)[1] > -9 and min(spare) > -32 and max(spare) < 9


def test_files_hold_about_the_kl(transforms, encoded):
    """Blocks take the bits that were expected, and a posterior has about as many."""
    for results in encoded:
        large = results[1]
        kl = sum(large.kl_bits.values())
        assert 0.7 * kl < large.index_bits < 1.5 * kl + 32, large


def test_images_are_seen_again(transforms, signals, encoded):
    """Far better than an image of its mean colour, at the lower price by far."""
    flat = [
        psnr(s.values, np.broadcast_to(s.values.mean((0, 1)).astype(np.uint8), s.values.shape))
        for s in signals
    ]
    cheap = [result.score for result in encoded[1]]
    assert np.mean(cheap) > np.mean(flat) + 5, (flat, cheap)


def test_dear_priors_are_smaller_and_worse(encoded):
    dear, cheap = encoded
    assert sum(len(r.blob) for r in dear) < 0.8 * sum(len(r.blob) for r in cheap)
    assert np.mean([r.score for r in dear]) + 1 < np.mean([r.score for r in cheap])


def test_a_signal_alone_has_the_bytes_it_has_in_a_batch_and_each_time(transforms, signals, encoded):
    for i, batch in ((0, signals[:1]), (1, signals)):
        again = encode_batch(batch, transforms.priors[0], effort=1)[i]
        assert again.blob == encoded[0][i].blob and sum(again.kl_bits.values()) == pytest.approx(
            sum(encoded[0][i].kl_bits.values()), rel=1e-4
        )


@pytest.mark.slow
def test_longer_registers_decode(transforms, signals):
    (result,) = encode_batch(signals[:1], transforms.priors[1], extra_bits=2)
    (decoded,) = decompress_batch([result.blob], priors=transforms.priors)
    assert psnr(signals[0].values, decoded.values) == pytest.approx(result.score, abs=1e-9)


@pytest.fixture(scope="module")
def seen(transforms, crops):
    """For every prior posteriors of other crops and samples than the file's, ``[level][mean or log_std]``."""
    out = []
    for prior in transforms.priors:
        lots = [
            guesses(prior.network, batch, jax.random.key(50 + i))[0]
            for i, batch in enumerate(crops)
        ]
        out.append(jax.tree.map(lambda *parts: np.concatenate(parts), *lots))
    return out


def bits_of(posterior, scale, tail):
    return np.asarray(
        kl_bits(*posterior_of_u(*posterior, scale[None, None, None], tail[None, None, None]))
    )


def test_scales_and_tails_make_the_least_kl(transforms, seen):
    """On other crops no others are better by more than what so few crops leave open."""
    for prior, posteriors in zip(transforms.priors, seen, strict=True):
        for posterior, scale, tail in zip(posteriors, prior.scales, prior.tails, strict=True):
            assert (tail >= 0.02).all() and (scale > 0).all()
            own = bits_of(posterior, scale, tail).mean((0, 1, 2))
            for other in [
                (0.7 * scale, tail),
                (1.4 * scale, tail),
                (scale, tail + 0.3),
                (scale, 0 * tail + 0.02),
            ]:
                assert (own < 1.02 * bits_of(posterior, *other).mean((0, 1, 2)) + 0.002).all()


def test_stored_statistics_are_those_of_the_guesses(transforms, seen):
    """The mean KL of every class, and how classes and numbers are distributed."""
    for prior, posteriors in zip(transforms.priors, seen, strict=True):
        assert (
            prior.class_level == 1
            and len(prior.expected) == 2
            and len(prior.step_sizes) == len(prior.symbol_frequencies) == 1
        )
        bits = [bits_of(posteriors[i], prior.scales[i], prior.tails[i]) for i in (0, 1)]
        classes = np.searchsorted(prior.thresholds, activity_of(bits, (2, 2)))
        coded, everything = 0.0, 0.0
        for level in (0, 1):
            own = bits[level]
            table = in_cells(own, (2 - level,) * 2)
            rows = [table[classes == i].reshape(-1, own.shape[-1]) for i in range(CLASSES)]
            shares = np.array([len(row) for row in rows])
            means = np.stack([row.mean(0) if len(row) else 0 * own[0, 0, 0] for row in rows])
            expected = prior.expected[level] / 256
            everything += shares @ means.sum(1)
            means *= expected > 0  # what carries least is not coded
            coded += shares @ means.sum(1)
            total, promised = (np.average(x, axis=0, weights=shares) for x in (means, expected))
            assert promised.sum() == pytest.approx(total.sum(), rel=0.06), level
            for share, row, stored in zip(shares, means, expected, strict=True):
                if share >= 100:
                    assert stored.sum() == pytest.approx(row.sum(), rel=0.1, abs=0.2), (
                        level,
                        share,
                    )
                    np.testing.assert_allclose(stored, row, atol=0.2 + 0.35 * row.max())
        assert 1 - 2 * NEGLIGIBLE < coded / everything < 1
        # frequencies are those of the classes: their code is not much longer than the entropy given the frequencies
        counts = np.bincount(classes.ravel(), minlength=CLASSES) / classes.size
        entropy = -(counts[counts > 0] * np.log2(counts[counts > 0])).sum()
        spent = sum(class_bits(image, prior.frequencies) for image in classes) / classes.size
        assert spent < entropy
        np.testing.assert_allclose(
            prior.step_sizes[0], step_sizes_of(posteriors[2][1].reshape(-1, 14)), rtol=0.05
        )
        means = posteriors[2][0].reshape(-1, 14)
        best = symbol_frequencies(means, prior.step_sizes[0], prior.scales[2], prior.tails[2])
        stored, least = (
            symbol_bits(symbols_of(means, prior.step_sizes[0])[None], own)
            for own in (prior.symbol_frequencies[0], best)
        )
        assert least <= stored < 1.03 * least


@loose
def test_every_price_has_its_own_vectors(transforms, transform_config, shown):
    state = initial_state(transform_config, [values_of(image) for image in shown])
    graph = graph_of(transform_config)
    for i, price in enumerate(transform_config.prices):
        model = model_at(graph, state.params, i)
        shapes = jax.tree.map(np.shape, nnx.split(model)[1])
        assert shapes == jax.tree.map(np.shape, nnx.split(Transform(transform_config.network))[1])
        for log_curvature in model.analysis["log_curvature"]:
            np.testing.assert_allclose(np.exp(log_curvature[...]), 2 / (3 * price), rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prices": ()}, "prices"),
        ({"prices": (2.0,)}, "prices"),
        ({"crop": 48}, "crop must be a multiple of 32"),
        ({"crop": 0}, "crop"),
        ({"scales": (1.5,)}, "scales"),
        ({"steps": 0}, "steps"),
        ({"batch": -1}, "batch"),
        ({"lr": float("nan")}, "lr"),
        ({"budget": 3}, "budget"),
        ({"budget": 21}, "budget"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_settings_are_refused(transform_config, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(transform_config, **change)


@loose
def test_wrong_arguments_are_refused(transforms, transform_config, tmp_path):
    outs = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(ValueError, match="2 prices need as many files"):
        train_transform(transform_config, transforms.images, outs[:1])
    with pytest.raises(ValueError, match="no image has sides of 32"):
        train_transform(transform_config, transforms.images[12:], outs)
    with pytest.raises(ValueError, match="exists"):
        train_transform(transform_config, transforms.images, transforms.outs)
    with pytest.raises(ValueError, match="holds a run with other settings"):
        other = dataclasses.replace(transform_config, seed=1)
        train_transform(
            other, transforms.images, outs, checkpoint_dir=transforms.outs[0].parent / "run"
        )
    assert not list(tmp_path.iterdir())


def test_images_are_decoded_in_tiles_of_one_size(transforms, monkeypatch):
    """Which have the pixels of the whole; an image of one cell is a tile of its own."""
    prior, rng, calls = transforms.priors[1], np.random.default_rng(6), []
    sides = list(zip((4, 2, 1), prior.config.depths, strict=True))
    grids = [
        rng.normal(size=(5 * side, 3 * side, depth)).astype(np.float32) for side, depth in sides
    ]
    decoded = decoding._decoded
    monkeypatch.setattr(
        decoding, "_decoded", lambda *args: calls.append(args[1][0].shape[1:3]) or decoded(*args)
    )
    whole = decoding.values_of(prior, grids, (160, 96))
    monkeypatch.setattr(decoding, "_TILE_VALUES", (2 * 32) ** 2)
    tiles = decoding.values_of(prior, grids, (160, 96))
    one = [grid[:side, :side] for grid, (side, _) in zip(grids, sides, strict=True)]
    decoding.values_of(prior, one, (32, 32))
    assert calls == [(34, 34)] + 6 * [(10, 10)] + [(6, 6)]
    assert whole.shape == tiles.shape == (160, 96, 3) and whole.std() > 0.04
    np.testing.assert_allclose(tiles, whole, atol=1e-4)
