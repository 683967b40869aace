"""The transform and its analysis: patches apart, whole images, and the linear start."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from recjax.codec.geometry import make_geometry
from recjax.inr.analysis import coarse_guess, fine_guess
from recjax.inr.corners import corner_product, lapped
from recjax.inr.transform import Transform, TransformConfig, coarse_cells, fine_cells

CONFIG = TransformConfig(grid=(16, 8), stride=4, depth=5, context=3, hidden=6, features=4)


@pytest.fixture(scope="module")
def model():
    """A transform in which every part has an effect."""
    module = Transform(CONFIG)
    graph, params = nnx.split(module)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: x + jnp.asarray(rng.normal(0, 0.2, x.shape), jnp.float32), params)
    return nnx.merge(graph, params)


def test_patches_apart_are_the_whole_image(model):
    """A patch sees one coarse cell of each neighbour, and needs no more."""
    rows, columns, (height, width, depth) = 2, 3, CONFIG.grid_shape
    latents = jnp.asarray(np.random.default_rng(1).normal(size=(rows * columns, height, width, depth)), jnp.float32)
    geometry = make_geometry([(rows, columns)], (), 1, (height, width))
    apart = model(jnp.zeros((rows * columns, 0)), jnp.arange(CONFIG.n_points), geometry.with_border(latents))
    stitched = latents.reshape(rows, columns, height, width, depth).swapaxes(1, 2)
    stitched = stitched.reshape(1, rows * height, columns * width, depth)
    whole = model.decode(jnp.pad(stitched, ((0, 0), (1, 1), (1, 1), (0, 0))))[0]
    assert whole.shape == (rows * 16, columns * 8, 3) and float(whole.std()) > 0.1
    cut = whole.reshape(rows, 16, columns, 8, 3).swapaxes(1, 2).reshape(rows * columns, CONFIG.n_points, 3)
    np.testing.assert_allclose(apart.swapaxes(1, 2), cut, atol=2e-5)
    # the neighbours matter: without them, the edges differ
    alone = model(jnp.zeros((6, 0)), jnp.arange(CONFIG.n_points), jnp.pad(latents, ((0, 0), (1, 1), (1, 1), (0, 0))))
    assert float(jnp.abs(alone - apart).max()) > 0.01


def test_every_latent_has_an_effect_and_none_beyond_the_next_cell(model):
    height, width, depth = 5, 5, CONFIG.grid_shape[2]
    decode = lambda z: model.decode(jnp.pad(z, ((0, 0), (1, 1), (1, 1), (0, 0))))[0]
    z = jnp.asarray(np.random.default_rng(2).normal(size=(1, height, width, depth)), jnp.float32)
    base, side = decode(z), 2 * CONFIG.stride
    for latent in range(depth):
        changed = np.abs(np.asarray(decode(z.at[0, 2, 2, latent].add(1)) - base)).max(-1)
        touched = np.argwhere(changed > 1e-6)
        assert len(touched) and touched.min() >= side and touched.max() < 4 * side, latent


def test_fine_cells_are_in_their_places():
    grids = jnp.arange(2 * 3 * 4 * 8, dtype=jnp.float32).reshape(2, 3, 4, 8)
    fine = fine_cells(grids, 2)
    assert fine.shape == (2, 6, 8, 2)
    np.testing.assert_array_equal(fine[1, 3, 6], grids[1, 1, 3, 4:6])  # lower left of its coarse cell
    np.testing.assert_array_equal(coarse_cells(fine), grids)


def test_lapped_kernel_is_the_block_transform():
    rng = np.random.default_rng(3)
    basis = np.linalg.qr(rng.normal(size=(48, 48)))[0].reshape(4, 4, 3, 48).astype(np.float32)
    coefficients = jnp.asarray(rng.normal(size=(1, 5, 6, 48)), jnp.float32)
    out = corner_product(coefficients, jnp.asarray(lapped(basis)), 4)[0, 2:-2, 2:-2]
    expected = np.einsum("yxcd,hwd->hywxc", basis, coefficients[0, 1:-1, 1:-1]).reshape(12, 16, 3)
    np.testing.assert_allclose(out, expected, atol=1e-5)


def test_guess_is_the_posterior_of_a_linear_gaussian_model():
    """With a linear synthesis, the guess for the fine latents is in closed form; its corrections start near zero."""
    config = dataclasses.replace(CONFIG, depth=48)
    model, rng = Transform(config), np.random.default_rng(4)
    basis = np.linalg.qr(rng.normal(size=(48, 48)))[0].reshape(4, 4, 3, 48).astype(np.float32)
    window = np.pad(basis, [(2, 2), (2, 2), (0, 0), (0, 0)]).reshape(-1, 48)
    model.analysis.lapped[...] = jnp.asarray(window)
    model.analysis.fine[1][...] = jnp.zeros_like(model.analysis.fine[1][...])
    model.context[2][...] = jnp.zeros_like(model.context[2][...])
    gain, curvature = np.exp(rng.normal(-1, 0.3, 48)), np.exp(rng.normal(3, 0.3, 48))
    model.log_gain[...] = jnp.asarray(np.log(gain), jnp.float32)
    model.analysis.log_curvature[...] = jnp.asarray(np.log(curvature), jnp.float32)
    image = rng.uniform(-0.5, 0.5, (1, 16, 8, 3)).astype(np.float32)
    coarse, _ = coarse_guess(model, jnp.asarray(image))
    mean, log_std = fine_guess(model, jnp.asarray(image), coarse)
    # p(z) = N(0, 1) and a likelihood of curvature h in the coefficient g z
    coefficients = np.einsum("hywxc,yxcd->hwd", image[0].reshape(4, 4, 2, 4, 3), basis)
    precision = 1 + curvature * gain**2
    np.testing.assert_allclose(mean[0], coefficients * gain * curvature / precision, atol=2e-4)
    np.testing.assert_allclose(log_std[0], np.broadcast_to(-0.5 * np.log(precision), (4, 2, 48)), atol=1e-4)


@pytest.mark.parametrize(
    ("field", "value"),
    [("stride", 6), ("grid", (16, 12)), ("grid", (16,)), ("depth", 49), ("depth", 0), ("context", 0), ("hidden", -1)],
)
def test_impossible_networks_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(CONFIG, **{field: value})


def test_latents_are_counted():
    assert CONFIG.grid_shape == (2, 1, 23) and CONFIG.n_latents == 46
    assert CONFIG.n_weight_latents == 0 and CONFIG.n_points == 128
