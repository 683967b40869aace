"""The guess of an analysis, moved for the image at hand, and the price of a bit."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import recjax
from recjax.codec import decompress, encode_batch
from recjax.codec.siren.efforts import SirenEffort
from recjax.codec.transform import fit as transform_fit
from recjax.codec.transform.amortised import descend, posterior
from recjax.codec.transform.fit import fit_transform
from recjax.codec.transform.semi_amortised import moved
from recjax.codec.transform.sinh_prior import kl_bits, posterior_of_u
from recjax.modalities.image.pixels import psnr


@pytest.fixture(scope="module")
def signals(waves):
    return [recjax.Signal(values, "image", {"gray": False}) for values in waves(40, 3, 90, 64)]


def lagrangian(prior, signals, fit, price=1.0):
    """Squared error and price of the KL a pixel, over some samples."""

    @jax.jit
    def run(fit, key):
        model = nnx.merge(fit.network.graph, fit.network.params)
        levels, decoded = descend(model, 2, fit.seen, fit.top, key, fit.moves)
        terms = zip(levels, prior.scales, prior.tails, strict=True)
        wide = np.s_[None, None, None]
        bits = sum(
            kl_bits(*posterior_of_u(mean, std, scale[wide], tail[wide])).sum()
            for (mean, std), scale, tail in terms
        )
        return decoded, bits

    images = np.stack([signal.values for signal in signals]) / 255 - 0.5
    total = []
    for i in range(8):
        decoded, bits = run(fit, jax.random.key(100 + i))
        error = np.mean(
            (np.asarray(decoded)[:, : images.shape[1], : images.shape[2]] - images) ** 2
        )
        total.append(error + price * prior.beta * math.log(2) * float(bits) / images[..., 0].size)
    return np.mean(total)


def test_steps_lower_the_objective(transforms, signals):
    """That of files at the price that was asked for, each step a little."""
    for prior, price in zip(transforms.priors, (1.0, 0.4), strict=True):
        fits = [
            fit_transform(signals, prior, steps=n, price=price, key=jax.random.key(0))
            for n in (0, 20, 100)
        ]
        guess, few, many = (lagrangian(prior, signals, fit, price) for fit in fits)
        assert few < 0.997 * guess and many < 0.993 * guess, (guess, few, many)


@pytest.mark.slow
def test_tall_images_are_improved_in_strips(transforms, waves, monkeypatch):
    """As much as at once; strips overlap, for they do not know what is beyond a cut."""
    prior = transforms.priors[1]
    signals = [recjax.Signal(values, "image", {"gray": False}) for values in waves(41, 2, 282, 40)]
    guess, whole = (
        fit_transform(signals, prior, steps=n, price=1.0, key=jax.random.key(0)) for n in (0, 60)
    )
    shapes = []
    monkeypatch.setattr(transform_fit, "_STRIP_PIXELS", 2 * 64 * 64)
    monkeypatch.setattr(
        transform_fit, "moved", lambda *args: shapes.append(args[3].shape) or moved(*args)
    )
    strips = fit_transform(signals, prior, steps=60, price=1.0, key=jax.random.key(0))
    assert shapes == [(2, 128, 64, 3)] * 5
    assert [own.shape for own in strips.moves] == [own.shape for own in whole.moves]
    start, wanted, got = (lagrangian(prior, signals, fit) for fit in (guess, whole, strips))
    assert start - got > 0.8 * (start - wanted) > 0, (start, wanted, got)


def test_no_steps_leave_the_guess(transforms, signals):
    prior = transforms.priors[0]
    fit = fit_transform(signals, prior, steps=0, price=1.0, key=jax.random.key(0))
    model = nnx.merge(prior.network.graph, prior.network.params)
    own = posterior(
        nnx.merge(fit.network.graph, fit.network.params), 2, fit.seen[2], fit.top, fit.moves[2]
    )
    for a, b in zip(own, model.analysis.posterior(2, fit.seen[2], *fit.top.inside()), strict=True):
        np.testing.assert_array_equal(a, b)


def test_means_move_by_standard_deviations(transforms, signals):
    fit = fit_transform(signals, transforms.priors[0], steps=0, price=1.0, key=jax.random.key(0))
    model = nnx.merge(fit.network.graph, fit.network.params)
    mean, log_std = posterior(model, 2, fit.seen[2], fit.top, fit.moves[2])
    there, same = posterior(model, 2, fit.seen[2], fit.top, fit.moves[2] + 2)
    np.testing.assert_allclose(there - mean, 2 * jnp.exp(log_std), rtol=1e-4)
    np.testing.assert_array_equal(same, log_std)


def test_errors_beyond_the_edge_do_not_count(transforms, signals):
    """What the analysis has seen there stays; only what is to be matched is another."""
    prior, rng = transforms.priors[0], np.random.default_rng(0)
    fit = fit_transform(signals, prior, steps=0, price=1.0, key=jax.random.key(0))
    inside = np.zeros((3, 96, 64, 1), bool)
    inside[:, :90] = True
    values = rng.uniform(-0.5, 0.5, (3, 96, 64, 3)).astype(np.float32)
    other = np.where(inside, values, -values)

    def run(values, inside):
        price, steps = np.float32(prior.beta), np.int32(3)
        return moved(
            fit.network, fit.seen, fit.moves, values, inside, price, prior.scales, prior.tails, jax.random.key(1), steps
        )  # fmt: skip

    for a, b in zip(run(values, inside), run(other, inside), strict=True):
        np.testing.assert_array_equal(a, b)
    everywhere = run(other, np.ones_like(inside))
    assert not np.array_equal(everywhere[0], run(other, inside)[0])


@pytest.mark.slow
def test_a_lower_price_makes_a_larger_and_better_file(transforms, signals):
    """Which the same decoder reads."""
    prior, points = transforms.priors[0], []
    effort = SirenEffort(fit_steps=10, refine_steps=0)
    for price in (2.0, 1.0, 0.3):
        results = encode_batch(signals, prior, effort=effort, price=price)
        decoded = [decompress(result.blob, priors=[prior]) for result in results]
        quality = [psnr(a.values, b.values) for a, b in zip(signals, decoded, strict=True)]
        assert quality == pytest.approx([result.score for result in results], abs=1e-9)
        points.append((sum(len(result.blob) for result in results), np.mean(quality)))
    (small, poor), (middle, fair), (large, good) = points
    assert small < 0.9 * middle < 0.9**2 * large and poor + 0.3 < fair < good - 0.3, points


@pytest.mark.slow
def test_steps_make_better_files(transforms, signals):
    """At the prior's own price, in what that price weighs."""
    prior, totals = transforms.priors[1], []
    for steps in (0, 100):
        results = encode_batch(signals, prior, effort=SirenEffort(fit_steps=steps, refine_steps=0))
        bits = [
            8 * len(result.blob) / signal.values[..., 0].size
            for result, signal in zip(results, signals)
        ]
        errors = [10 ** (-result.score / 10) for result in results]
        totals.append(np.mean(errors) + prior.beta * math.log(2) * np.mean(bits))
    assert totals[1] < 0.995 * totals[0], totals


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), 1e3])
def test_prices_out_of_range_are_refused(transforms, signals, price):
    with pytest.raises(ValueError, match="price must be"):
        encode_batch(signals, transforms.priors[0], price=price)


def test_implicit_neural_representations_have_one_price(prior, waves):
    with pytest.raises(ValueError, match="price must be 1"):
        encode_batch([recjax.Signal(waves(0, 1)[0], "image", {"gray": False})], prior, price=0.5)
