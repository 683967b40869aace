"""The batched network against a plain one: one row at a time, einsum, jnp.sin and autodiff."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recjax.codec.siren.features import fourier_features, pixel_centres
from recjax.codec.siren.network import (
    initial_network,
    initial_prior,
    network_values,
    pruned,
)
from recjax.codec.siren.settings import SirenConfig, network_shapes

CONFIG = SirenConfig(grid=(4, 6), channels=3, width=5, layers=4, features=8, max_frequency=3.0)
ROWS = 3


def plain_network(config, matrices, features, latents, points):
    """One row, written from the definition: w = h A, then sin layers; the bias is the first input of every unit."""
    hidden, start = features[points], 0
    for i, (n_in, n_out) in enumerate(config.layer_dims):
        size = (n_in + 1) * n_out
        flat = jnp.einsum(
            "i,ij->j", latents[start : start + size], matrices[i], precision="highest"
        )
        weights = flat.reshape(n_out, n_in + 1)
        start += size
        hidden = (
            jnp.einsum("pi,oi->po", hidden, weights[:, 1:], precision="highest")
            + weights[None, :, 0]
        )
        if i < config.layers - 1:
            hidden = jnp.sin(2 * jnp.pi * hidden)
    return hidden.T


@pytest.fixture(scope="module")
def example():
    rng = np.random.default_rng(1)
    params = initial_network(CONFIG)
    params["matrices"] = [
        matrix + jnp.asarray(0.1 * rng.standard_normal(matrix.shape), jnp.float32)
        for matrix in params["matrices"]
    ]
    loc, _ = initial_prior(CONFIG, 0)
    latents = loc[None] + 0.1 * rng.standard_normal((ROWS, CONFIG.n_latents))
    points = jnp.asarray(rng.permutation(CONFIG.n_points)[:10], jnp.int32)
    return params, jnp.asarray(latents, jnp.float32), points


def test_forward_equals_the_plain_network_row_by_row(example):
    params, latents, points = example
    out = jax.jit(lambda z: network_values(CONFIG, params, z, points))(latents)
    assert out.shape == (ROWS, CONFIG.channels, 10)
    for row in range(ROWS):
        expected = plain_network(
            CONFIG, params["matrices"], params["features"], latents[row], points
        )
        np.testing.assert_allclose(out[row], expected, atol=3e-5)
    # a mistake of this size would be seen: the rows differ
    assert np.abs(np.asarray(out[0] - out[1])).max() > 1e-2


def test_gradients_equal_autodiff_of_the_plain_network(example):
    params, latents, points = example
    weight = jnp.asarray(
        np.random.default_rng(2).standard_normal((ROWS, CONFIG.channels, 10)), jnp.float32
    )

    def ours(params, latents):
        return jnp.sum(weight * network_values(CONFIG, params, latents, points) ** 2)

    def plain(matrices, features, latents):
        rows = [plain_network(CONFIG, matrices, features, z, points) for z in latents]
        return jnp.sum(weight * jnp.stack(rows) ** 2)

    of_params, of_latents = jax.jit(jax.grad(ours, argnums=(0, 1)))(params, latents)
    expected = jax.jit(jax.grad(plain, argnums=(0, 1, 2)))(
        params["matrices"], params["features"], latents
    )
    for got, wanted in zip(
        [*of_params["matrices"], of_params["features"], of_latents],
        [*expected[0], *expected[1:]],
        strict=True,
    ):
        scale = np.abs(np.asarray(wanted)).max()
        assert scale > 0
        np.testing.assert_allclose(got, wanted, atol=1e-4 * scale)


def test_identity_matrices_change_nothing(example):
    _, latents, points = example
    without = dataclasses.replace(CONFIG, reparameterise=False)
    assert "matrices" not in initial_network(without)
    with_them, plain = (
        jax.jit(functools.partial(network_values, config, initial_network(config)))(latents, points)
        for config in (CONFIG, without)
    )
    np.testing.assert_allclose(with_them, plain, atol=1e-5)


@pytest.mark.parametrize("reparameterise", [True, False])
def test_pruning_fixes_latents_to_their_mean_and_centres_the_others(example, reparameterise):
    params, latents, points = example
    config = dataclasses.replace(CONFIG, reparameterise=reparameterise)
    if not reparameterise:
        params = initial_network(config)
    rng = np.random.default_rng(5)
    kept = rng.random(CONFIG.n_latents) < 0.3
    kept[-18:] = False  # a whole layer
    loc = initial_prior(CONFIG, 6)[0]
    small, fewer = pruned(config, params, loc, kept)
    assert small.n_latents == kept.sum() and small.latents[-1] == 0
    shapes = lambda tree: jax.tree.map(np.shape, tree, is_leaf=lambda x: hasattr(x, "shape"))
    assert shapes(fewer) == shapes(network_shapes(small))
    # what is kept moves around its mean
    moved = jnp.asarray(loc)[None] + jnp.where(jnp.asarray(kept)[None], latents, 0)
    draw = jax.jit(lambda z: network_values(config, params, z, points))
    draw_small = jax.jit(lambda z: network_values(small, fewer, z, points))
    np.testing.assert_allclose(draw_small(latents[:, kept]), draw(moved), atol=1e-4)


@pytest.mark.parametrize("learn", [True, False])
def test_switch_stops_the_gradient_of_the_features(example, learn):
    _, latents, points = example
    config = dataclasses.replace(CONFIG, learn_features=learn)
    loss = lambda params: jnp.sum(network_values(config, params, latents, points) ** 2)
    gradient = jax.jit(jax.grad(loss))(initial_network(config))
    table = np.asarray(gradient["features"])
    assert bool(np.any(table != 0)) is learn
    assert np.abs(np.asarray(gradient["matrices"][0])).max() > 0
    if learn:  # only the cells that were asked for
        untouched = np.setdiff1d(np.arange(CONFIG.n_points), np.asarray(points))
        assert np.all(table[untouched] == 0)


def test_first_features_are_the_fourier_features_of_the_grid():
    table = initial_network(CONFIG)["features"]
    np.testing.assert_array_equal(table, fourier_features(pixel_centres((4, 6)), 8, 3.0))


def test_rows_do_not_depend_on_each_other(example):
    params, latents, points = example
    draw = jax.jit(lambda z: network_values(CONFIG, params, z, points))
    np.testing.assert_allclose(draw(latents)[1:2], draw(latents[1:2]), atol=1e-6)


def test_layer_latents_cover_every_weight_and_bias():
    # 8 -> 5 -> 5 -> 5 -> 3, each with a bias
    assert list(CONFIG.layer_latents) == [45, 30, 30, 18]
    assert CONFIG.n_latents == 123 and CONFIG.n_points == 24
    assert SirenConfig(layers=1, features=8).layer_dims == ((8, 3),)


def test_initial_prior_has_the_scales_of_siren():
    config = SirenConfig(width=64, layers=3, features=32)
    loc, scale = initial_prior(config, 3)
    assert loc.dtype == scale.dtype == np.float32
    assert loc.shape == scale.shape == (config.n_latents,)
    omega_in_turns = 30 / (2 * math.pi)
    sizes = np.cumsum([0, *config.layer_latents])
    hidden = loc[sizes[1] : sizes[2]]
    # sqrt(6 / n) / w0 is SIREN's uniform bound, so its standard deviation is sqrt(2 / n) / w0; times w0 inside the sine
    np.testing.assert_allclose(
        hidden.std(), omega_in_turns * math.sqrt(2 / 64) / 30, rtol=5 / math.sqrt(2 * len(hidden))
    )
    np.testing.assert_array_equal(initial_prior(config, 3)[0], loc)
    assert np.any(initial_prior(config, 4)[0] != loc)
    assert (scale > 0).all()


@pytest.mark.parametrize("field", ["channels", "width", "layers", "features"])
def test_refuses_sizes_below_one(field):
    with pytest.raises(ValueError, match=field):
        SirenConfig(**{field: 0})


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("field", ["max_frequency", "omega"])
def test_refuses_scales_that_are_not_positive(field, value):
    with pytest.raises(ValueError, match=field):
        SirenConfig(**{field: value})


@pytest.mark.parametrize("latents", [(45, 30, 30), (45, 30, 30, 19), (-1, 30, 30, 18)])
def test_refuses_latents_that_do_not_fit(latents):
    with pytest.raises(ValueError, match="latents"):
        dataclasses.replace(CONFIG, latents=latents)


@pytest.mark.parametrize("grid", [(), (0, 4), (4, -1)])
def test_refuses_empty_grids(grid):
    with pytest.raises(ValueError, match="grid"):
        SirenConfig(grid=grid)


def test_config_is_hashable_and_keyword_only():
    assert hash(SirenConfig()) == hash(SirenConfig())
    with pytest.raises(TypeError):
        SirenConfig((8, 8))


@pytest.mark.parametrize("grid", [(12,), (4, 6), (2, 3, 2)])
def test_grids_of_any_rank_are_lists_of_points(grid):
    config = SirenConfig(grid=grid, channels=2, width=5, layers=3, features=12, max_frequency=3.0)
    params, points = initial_network(config), jnp.arange(config.n_points)
    latents = jnp.asarray(initial_prior(config, 0)[0])[None]
    out = jax.jit(lambda z: network_values(config, params, z, points))(latents)
    features = jnp.asarray(fourier_features(pixel_centres(grid), 12, 3.0))
    expected = plain_network(config, params["matrices"], features, latents[0], points)
    np.testing.assert_allclose(out[0], expected, atol=3e-5)
