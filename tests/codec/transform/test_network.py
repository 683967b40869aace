"""The transform and its analysis: parts of an image, the linear start, shapes of parameters."""

import dataclasses
import functools
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from recjax.codec.corners import corner_product, folded, lapped
from recjax.codec.prior import map_named
from recjax.codec.transform import network as plain
from recjax.codec.transform.amortised import encode_sample, kl_nats
from recjax.codec.transform.analysis import analyse, level_params, posterior_of
from recjax.codec.transform.architecture import TransformConfig, parameters
from recjax.codec.transform.family import graph_of, initial_state, model_at
from recjax.codec.transform.network import bordered
from recjax.codec.transform.network_module import PerPrice, Transform
from recjax.codec.transform.settings import TransformTraining

CONFIG = TransformConfig(stride=4, depth=5, levels=3, context=3, hidden=6, features=4)
ROWS, COLUMNS = 3, 4


@functools.cache
def shaken(config):
    """A transform in which every part has an effect."""
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda x: x + jnp.asarray(rng.normal(0, 0.2, x.shape), jnp.float32),
        Transform(config, 0).network(),
    )


decode = jax.jit(plain.decode)


@pytest.fixture(scope="module")
def latents():
    """Of all levels of an image of 3 x 4 cells, lowest first."""
    rng = np.random.default_rng(1)
    sides = [1 << (CONFIG.levels - 1 - level) for level in range(CONFIG.levels)]
    shapes = [
        (1, ROWS * side, COLUMNS * side, depth)
        for side, depth in zip(sides, CONFIG.depths, strict=True)
    ]
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


def whole(latents):
    return np.asarray(decode(shaken(CONFIG), [bordered(level) for level in latents]))[0]


def test_parts_with_a_border_of_one_cell_are_the_whole_image(latents):
    """At every level one cell of the neighbours is all that a part needs."""
    image, cell = whole(latents), CONFIG.cell[0]
    assert image.shape == (ROWS * cell, COLUMNS * cell, 3) and image.std() > 0.1
    wide = [np.pad(level, ((0, 0), (1, 1), (1, 1), (0, 0))) for level in latents]
    for top, left, height, width in [(0, 0, 1, 4), (1, 0, 1, 4), (2, 0, 1, 4), (1, 1, 2, 2)]:
        parts = []
        for level, own in enumerate(wide):
            side = 1 << (CONFIG.levels - 1 - level)
            rows, columns = (
                slice(a * side, (a + n) * side + 2) for a, n in ((top, height), (left, width))
            )
            parts.append(own[:, rows, columns])
        part = np.asarray(decode(shaken(CONFIG), parts))[0]
        expected = image[top * cell : (top + height) * cell, left * cell : (left + width) * cell]
        np.testing.assert_allclose(part, expected, atol=3e-5 * np.abs(image).max())
    # the neighbours matter
    alone = whole([level[:, : level.shape[1] // ROWS] for level in latents])
    assert np.abs(alone - image[:cell]).max() > 0.01


def test_every_latent_has_an_effect_and_none_beyond_the_next_cell(latents):
    image = whole(latents)
    for level, depth in enumerate(CONFIG.depths):
        side, (_, height, width, _) = CONFIG.stride << level, latents[level].shape
        y, x = height // 2, width // 2
        for latent in range(depth):
            changed = list(latents)
            changed[level] = latents[level].at[0, y, x, latent].add(1)
            touched = np.argwhere(np.abs(whole(changed) - image).max(-1) > 1e-6)
            first, last = touched.min(0), touched.max(0)
            assert (first >= ((y - 1) * side, (x - 1) * side)).all(), (level, latent)
            assert (last < ((y + 2) * side, (x + 2) * side)).all(), (level, latent)
            own = (touched // side == (y, x)).all(1)
            assert own.sum() > side**2 / 2, (level, latent)


@pytest.mark.slow
def test_a_pass_decodes_to_what_its_samples_decode_to():
    """And the KL of its posteriors is that from N(0, 1)."""
    network = shaken(CONFIG)
    rng, key = np.random.default_rng(2), jax.random.key(3)
    shape = 1, ROWS * CONFIG.cell[0], COLUMNS * CONFIG.cell[1]
    images = jnp.asarray(rng.uniform(-0.5, 0.5, (*shape, 3)), jnp.float32)
    posteriors, decoded = jax.jit(encode_sample)(network, images, key)
    samples = []
    for level, (mean, log_std) in enumerate(posteriors):
        side = CONFIG.stride << level
        assert (
            mean.shape
            == log_std.shape
            == (1, shape[1] // side, shape[2] // side, CONFIG.depths[level])
        )
        noise = jax.random.normal(jax.random.fold_in(key, level), mean.shape)
        samples.append(bordered(mean + jnp.exp(log_std) * noise))
        m, s = np.asarray(mean, np.float64), np.exp(np.asarray(log_std, np.float64))
        np.testing.assert_allclose(
            kl_nats((mean, log_std)), 0.5 * (s**2 + m**2 - 1) - np.log(s), rtol=1e-4, atol=1e-5
        )
    expected = decode(network, samples)
    np.testing.assert_allclose(decoded, expected, atol=1e-4 * float(jnp.abs(expected).max()))


def linear_start(config, prices=(1e-3,)):
    """The start of learning on smooth images, without what is no part of the linear transform."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:64, :96] / 8
    waves = [
        np.cos(a * y + b * x + c)[..., None] * rng.normal(0, 40, 3)
        for a, b, c in rng.normal(0, 2, (6, 3))
    ]
    noise = rng.normal(0, 4, (64, 96, 3))
    image = np.clip(128 + sum(waves) / 2 + noise, 0, 255).astype(np.uint8)
    training = TransformTraining(prices=prices, crop=config.cell, network=config)
    values = image.astype(np.float32) / 255 - 0.5
    model = model_at(graph_of(training), initial_state(training, [values]).params, 0)
    heads = [level["kernels"][2] for level in list(model.levels)[:-1]]
    for kernel in (model.correction[-1], *heads):
        kernel[...] = jnp.zeros_like(kernel[...])
    return model, jnp.asarray(values[None])


@jax.jit
def through(network, images):
    """Latents with the coefficients of the analysis' lapped transforms, and their signal."""
    features, config = analyse(network, images), network.config
    cells = [n // c for n, c in zip(images.shape[1:], config.cell)]
    context, out = plain.top(network, len(images), cells), []
    for level in reversed(range(config.levels)):
        inside, linear = context.inside(), config.linear[level]
        difference = (features[level].coefficients - inside.mean[..., :linear]) * jnp.exp(
            -inside.log_gain[..., :linear]
        )
        out.append(bordered(plain.padded_channels(difference, config.depths[level])))
        if level:
            coefficients = context.coefficients(out[-1])
            context = plain.context(network, level - 1, context, coefficients)
    return out[::-1], plain.decode(network, out[::-1])


@pytest.mark.standard_promotion
def test_learning_starts_from_transforms_that_lose_nothing():
    model, image = linear_start(dataclasses.replace(CONFIG, depth=48))
    latents, decoded = through(model.network(), image)
    np.testing.assert_allclose(decoded, image, atol=2e-4)
    # blocks of the first coefficients are predicted from above: nothing is left of them to code
    for level, gains in (
        (0, model.levels[0]["log_gain"][...]),
        (1, model.levels[1]["log_gain"][...]),
    ):
        left = latents[level][..., :3] * jnp.exp(gains[:3])[None, None, None]
        assert float(jnp.abs(left).max()) < 1e-3
    # the gains are the deviations, except where levels above predict
    top = latents[2][:, 1:-1, 1:-1, :12]
    np.testing.assert_allclose(jnp.square(top).mean((0, 1, 2)), 1, rtol=0.05)
    rest = latents[0][:, 1:-1, 1:-1, 3:48]
    np.testing.assert_allclose(jnp.square(rest).mean((0, 1, 2)), 1, rtol=0.05)


@pytest.mark.slow
@pytest.mark.standard_promotion
def test_fewer_coefficients_keep_the_most():
    """The first are those with the most energy: 6 of 48 keep far more of a smooth image than chance would."""
    model, image = linear_start(dataclasses.replace(CONFIG, depth=6))
    decoded = np.asarray(through(model.network(), image)[1])
    error, power = np.mean((decoded - image) ** 2), float(jnp.var(image))
    assert 0 < error < 0.15 * power


@pytest.mark.slow
@pytest.mark.standard_promotion
def test_guess_is_the_posterior_of_a_linear_gaussian_model():
    """Without the network's corrections the guess is in closed form, at the top level from an orthonormal basis."""
    price = 1e-3
    model, image = linear_start(dataclasses.replace(CONFIG, depth=48), (price,))
    for head in model.analysis["head"]:
        head[...] = jnp.zeros_like(head[...])
    for bias in model.analysis["head_bias"]:
        bias[...] = bias[...] - 40  # the network would widen nothing
    network = model.network()
    context = plain.top(network, 1, (image.shape[1] // 16, image.shape[2] // 16))
    seen = analyse(network, image)
    for level in (2, 1, 0):
        mean, log_std = posterior_of(
            level_params(network, level), seen[level], context.inside(), 0.0
        )
        linear, inside = CONFIG.linear[level] if level else 48, context.inside()
        gain, curvature = (
            np.exp(np.asarray(inside.log_gain[..., :linear], np.float64)),
            2 / (3 * price),
        )
        precision = 1 + curvature * gain**2
        left = np.asarray(seen[level].coefficients, np.float64) - np.asarray(
            inside.mean[..., :linear]
        )
        centre, std = curvature * gain * left / precision, precision**-0.5
        shift = -40 * std  # of the mean, by the bias
        np.testing.assert_allclose(mean[..., :linear], centre + shift, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(log_std[..., :linear], np.log(std), atol=1e-4)
        if level:
            latents = bordered(mean)
            context = plain.context(network, level - 1, context, context.coefficients(latents))


def test_lapped_kernel_is_the_block_transform():
    rng = np.random.default_rng(3)
    basis = np.linalg.qr(rng.normal(size=(48, 48)))[0].reshape(4, 4, 3, 48).astype(np.float32)
    coefficients = jnp.asarray(rng.normal(size=(1, 5, 6, 48)), jnp.float32)
    out = corner_product(coefficients, jnp.asarray(lapped(basis)), 4)[0, 2:-2, 2:-2]
    expected = np.einsum("yxcd,hwd->hywxc", basis, coefficients[0, 1:-1, 1:-1]).reshape(12, 16, 3)
    np.testing.assert_allclose(out, expected, atol=1e-5)


@pytest.mark.slow
def test_no_seed_makes_no_matrices():
    model = Transform(CONFIG)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(nnx.split(model)[1]))
    drawn = jax.tree.leaves(nnx.split(Transform(CONFIG, 0), PerPrice, ...)[2])
    assert all(np.asarray(leaf).std() > 0 for leaf in drawn)


def test_shapes_of_huge_networks_cost_nothing():
    config = TransformConfig(context=4096, hidden=4096, features=4096)
    tracemalloc.start()
    shapes, sizes = parameters(config), []
    map_named(lambda _, parameter: sizes.append(np.prod(parameter.shape)), shapes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20 and sum(sizes) > 1e9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stride": 6}, "stride must be a multiple of 4"),
        ({"stride": 0}, "stride"),
        ({"depth": 49}, "depth"),
        ({"depth": 2}, "depth"),
        ({"levels": 1}, "levels"),
        ({"levels": 9}, "levels"),
        ({"context": 0}, "context"),
        ({"hidden": -1}, "hidden"),
        ({"features": 0}, "features"),
        ({"channels": 0}, "channels"),
        ({"rank": 4}, "rank"),
        ({"stride": (4,)}, "stride"),
        ({"stride": (1, 1)}, "stride"),
        ({"growth": 3}, "growth"),
        ({"growth": (1, 1)}, "growth"),
    ],
)
def test_impossible_networks_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **change)


def test_sizes_of_levels():
    assert CONFIG.cell == (16, 16) and CONFIG.depths == (5, 15, 15)
    assert CONFIG.linear == (5, 12, 12) and CONFIG.factors == ((4, 4), (2, 2), (2, 2))


def test_folded_kernel_is_an_upsampled_convolution():
    """Nearest upsampling, then a convolution with factor + 1 taps, around a corner of four cells."""
    rng = np.random.default_rng(5)
    kernel, cells = rng.normal(size=(5, 5, 2, 3)), rng.normal(size=(2, 2, 2))
    out = (cells.reshape(-1) @ folded(kernel, 4)).reshape(4, 4, 3)
    fine = cells.repeat(4, 0).repeat(4, 1)
    for y, x in np.ndindex(4, 4):
        seen = fine[y : y + 5, x : x + 5]
        np.testing.assert_allclose(out[y, x], np.einsum("stio,sti->o", kernel, seen), atol=1e-12)
