"""Posteriors of signals: in tiles, improved by gradient steps, at any Lagrange multiplier."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recjax
from recjax.codec import decompress, encode_batch
from recjax.codec.transform import fit as transform_fit
from recjax.codec.transform import tiled_analysis
from recjax.codec.transform.amortised import ancestral_pass
from recjax.codec.transform.analysis import analyse
from recjax.codec.transform.efforts import TransformEffort
from recjax.codec.transform.fit import fit_transform
from recjax.codec.transform.level_posterior import level_posterior, top_of
from recjax.codec.transform.network import wide
from recjax.codec.transform.semi_amortised import improved_offsets
from recjax.codec.transform.sinh_prior import kl_bits, posterior_of_u
from recjax.modalities.grid import filled_up
from recjax.modalities.image import IMAGE
from recjax.modalities.image.pixels import psnr


@pytest.fixture(scope="module")
def signals(waves):
    return [recjax.Signal(values, "image", {"gray": False}) for values in waves(40, 3, 90, 64)]


@pytest.fixture(scope="module")
def grids(signals):
    return [IMAGE.to_grid(signal) for signal in signals]


@jax.jit
def sampled(network, features, offsets, log_lagrangian, scales, tails, key):
    noise = [jax.random.normal(jax.random.fold_in(key, i), x.shape) for i, x in enumerate(offsets)]
    levels, decoded = ancestral_pass(network, features, noise, offsets, log_lagrangian)
    bits = jnp.float32(0)
    for (mean, log_std), scale, tail in zip(levels, scales, tails, strict=True):
        bits += kl_bits(*posterior_of_u(mean, log_std, wide(scale, 2), wide(tail, 2))).sum()
    return levels, decoded, bits


def samples(prior, fit, i):
    """Posteriors, decoded values and bits at a sample."""
    features, offsets = jax.tree.map(lambda x: x[None], (fit.features, fit.mean_offsets))
    log_lagrangian = np.float32(math.log(fit.lagrangian))
    return sampled(
        prior.network, features, offsets, log_lagrangian, prior.scales, prior.tails,
        jax.random.key(100 + i),
    )  # fmt: skip


def lagrangian(prior, grids, fits, price=1.0):
    """Squared error and price of the KL per pixel, over several samples."""
    total = []
    for grid, fit in zip(grids, fits, strict=True):
        for i in range(8):
            _, decoded, bits = samples(prior, fit, i)
            height, width = grid.sides
            error = np.mean((np.asarray(decoded)[0, :height, :width] - grid.values) ** 2)
            cells = height * width
            total.append(error + price * prior.beta * math.log(2) * float(bits) / cells)
    return np.mean(total)


def fits_of(prior, grids, steps, price=1.0):
    key = jax.random.key(0)
    return [fit_transform(x, prior, steps=steps, lagrangian=price, key=key) for x in grids]


def test_steps_lower_the_objective(transforms, grids):
    """That of files at the price that was asked for, each step a little."""
    prior, price = transforms.priors[1], 0.4
    guess, few, many = (
        lagrangian(prior, grids, fits_of(prior, grids, n, price), price) for n in (0, 20, 100)
    )
    assert few < 0.997 * guess and many < 0.993 * guess, (guess, few, many)


@pytest.mark.slow
def test_large_signals_are_improved_in_parts(transforms, waves, monkeypatch):
    """As much as at once; parts overlap, for they do not know what is beyond a cut."""
    prior = transforms.priors[1]
    grids = [IMAGE.to_grid(recjax.Signal(x)) for x in waves(41, 2, 282, 140)]
    guess, whole = (fits_of(prior, grids, n) for n in (0, 60))
    shapes = []
    monkeypatch.setattr(transform_fit, "_STRIPS", {2: ((1, 1), (4, 4))})
    monkeypatch.setattr(
        transform_fit,
        "improved_offsets",
        lambda *args: shapes.append(args[2].shape) or improved_offsets(*args),
    )
    parts = fits_of(prior, grids, 60)
    assert shapes == [(1, 128, 128, 3)] * 2 * 4 * 2
    start, wanted, got = (lagrangian(prior, grids, fits) for fits in (guess, whole, parts))
    assert start - got > 0.8 * (start - wanted) > 0, (start, wanted, got)


def test_tiles_have_the_posteriors_of_whole_signals(transforms, waves, monkeypatch):
    """Features, contexts and posteriors level by level, also next to cuts and edges."""
    prior = transforms.priors[0]
    grid = IMAGE.to_grid(recjax.Signal(waves(42, 1, 150, 90)[0]))
    monkeypatch.setattr(tiled_analysis, "_TILES", {2: (4, 8)})
    fit = fit_transform(grid, prior, steps=0, lagrangian=0.7, key=jax.random.key(0))
    values = jnp.asarray(filled_up(grid.values, prior.patch)[None])
    for tiles, whole in zip(fit.features, jax.jit(analyse)(prior.network, values), strict=True):
        np.testing.assert_allclose(tiles.coefficients, whole.coefficients[0], atol=2e-5)
        np.testing.assert_allclose(tiles.hidden, whole.hidden[0], atol=2e-4)
    expected, _, bits = samples(prior, fit, 0)
    above, total = top_of(prior), 0.0
    for level in reversed(range(3)):
        posterior, context = level_posterior(prior, fit, level, above)
        mean, log_std = (np.asarray(x[0]) for x in expected[level])
        std = np.exp(log_std)
        np.testing.assert_allclose(posterior.mean, mean, atol=2e-3, rtol=2e-3)
        np.testing.assert_allclose(posterior.std, std, rtol=2e-3)
        total += posterior.bits.sum(dtype=np.float64)
        if level:
            key = jax.random.fold_in(jax.random.key(100), level)
            noise = np.asarray(jax.random.normal(key, (1, *mean.shape)))[0]
            above = context.above(mean + std * noise)
    assert total == pytest.approx(float(bits), rel=1e-3)


def test_means_move_by_standard_deviations(transforms, grids):
    prior = transforms.priors[0]
    (fit,) = fits_of(prior, grids[:1], 0)
    posterior, _ = level_posterior(prior, fit, 2, top_of(prior))
    fit.mean_offsets[2][...] = 2
    moved, _ = level_posterior(prior, fit, 2, top_of(prior))
    np.testing.assert_allclose(moved.mean - posterior.mean, 2 * posterior.std, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(moved.std, posterior.std)


def test_errors_and_latents_beyond_the_edge_do_not_count(transforms, grids):
    """What the analysis has seen there stays; only what is to be matched is another."""
    prior, rng = transforms.priors[0], np.random.default_rng(0)
    (fit,) = fits_of(prior, grids[:1], 0)
    features = jax.tree.map(lambda x: x[None], fit.features)
    counted = np.zeros((1, 96, 64, 1), bool)
    counted[:, :90] = True
    values = rng.uniform(-0.5, 0.5, (1, 96, 64, 3)).astype(np.float32)
    other = np.where(counted, values, -values)
    latents = sum(x.size for x in fit.mean_offsets)
    noise = rng.standard_normal(2 * latents).astype(np.float32)

    def run(values, counted, cells=(3, 2)):
        return improved_offsets(
            prior.network, features, values, counted, np.array(cells, np.int32),
            np.float32(prior.beta), np.float32(0), prior.scales, prior.tails, noise, np.int32(3),
        )  # fmt: skip

    first = run(values, counted)
    for a, b in zip(first, run(other, counted), strict=True):
        np.testing.assert_array_equal(a, b)
    everywhere = np.ones_like(counted)
    assert not np.array_equal(run(other, everywhere)[0], run(other, counted)[0])
    # of two columns of cells the second fills up: its latents are 0, whose offsets have no gradient
    for x, side in zip(run(values, counted, (3, 1)), (4, 2, 1), strict=True):
        assert not np.any(x[:, :, side:]) and np.any(x[:, :, :side])


@pytest.mark.slow
def test_a_lower_price_makes_a_larger_and_better_file(transforms, signals):
    """Which the same decoder reads."""
    prior, points = transforms.priors[0], []
    effort = TransformEffort(fit_steps=10)
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
        results = encode_batch(signals, prior, effort=TransformEffort(fit_steps=steps))
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
