"""The folded upsampler against nearest upsampling and convolution as they are written in the paper."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from recjax.codec.corners import folded
from recjax.codec.siren.targets import phases_of
from recjax.codec.siren.upsampler import EncodingConfig, Upsampler

CONFIG = EncodingConfig(depth=3, cells=(2, 3), factors=(4, 2, 2), hidden=(5, 4), encodings=6)


def random_kernels(config, seed=0):
    rng = np.random.default_rng(seed)
    return [
        rng.standard_normal((factor + 1, factor + 1, n_in, n_out)).astype(np.float32)
        for n_in, n_out, factor in config.layer_dims
    ]


def plain(kernels, factors, grid):
    """Nearest upsampling, a convolution, leaky ReLU, again; a whole grid, in double precision, without border."""
    x = np.asarray(grid, np.float64)
    for i, (kernel, factor) in enumerate(zip(kernels, factors, strict=True)):
        x = x.repeat(factor, 0).repeat(factor, 1)
        pad, taps = factor // 2, factor + 1
        windows = np.lib.stride_tricks.sliding_window_view(
            np.pad(x, ((pad, pad), (pad, pad), (0, 0))), (taps, taps), (0, 1)
        )
        x = np.einsum("hwcst,stco->hwo", windows, kernel.astype(np.float64))
        if i < len(kernels) - 1:
            x = np.where(x > 0, x, 0.01 * x)
    return x


@pytest.fixture(scope="module")
def example():
    kernels = random_kernels(CONFIG)
    module = Upsampler(CONFIG)
    for param, kernel, factor in zip(module.kernels, kernels, CONFIG.factors, strict=True):
        param[...] = jnp.asarray(folded(kernel, factor))
    return module, kernels


@pytest.mark.parametrize("factor", [2, 4, 6])
def test_folded_layer_is_upsampling_and_convolution(factor):
    config = EncodingConfig(depth=3, cells=(2, 3), factors=(factor,), hidden=(), encodings=4)
    kernels = random_kernels(config, factor)
    module = Upsampler(config)
    module.kernels[0][...] = jnp.asarray(folded(kernels[0], factor))
    grid = np.random.default_rng(1).standard_normal((4, 5, 3)).astype(np.float32)
    out = jax.jit(lambda x: module(x))(jnp.asarray(grid)[None])
    wanted = plain(kernels, config.factors, grid)[factor:-factor, factor:-factor]
    assert out.shape == (1, 6 * factor**2, 4)
    np.testing.assert_allclose(out[0], wanted.reshape(-1, 4), atol=1e-4 * np.abs(wanted).max())


def test_patches_apart_are_the_image_together(example):
    """2 x 3 patches with borders of one cell give what one upsampling of the stitched grid gives: no seams."""
    module, kernels = example
    height, width, depth = CONFIG.shape
    rows, columns = 2, 3
    whole = (
        np.random.default_rng(2)
        .standard_normal((rows * height, columns * width, depth))
        .astype(np.float32)
    )
    # two cells of nothing around, so that the padding of the plain convolutions is out of sight
    wide = np.pad(whole, ((2, 2), (2, 2), (0, 0)))
    scale = 16
    wanted = plain(kernels, CONFIG.factors, wide)[2 * scale : -2 * scale, 2 * scale : -2 * scale]
    bordered = np.pad(whole, ((1, 1), (1, 1), (0, 0)))
    grids = [
        bordered[i * height : (i + 1) * height + 2, j * width : (j + 1) * width + 2]
        for i in range(rows)
        for j in range(columns)
    ]
    out = np.asarray(jax.jit(lambda x: module(x))(jnp.asarray(np.stack(grids))))
    out = out.reshape(rows, columns, *CONFIG.grid, -1).swapaxes(1, 2).reshape(wanted.shape)
    np.testing.assert_allclose(out, wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("factors", [(4, 2, 2), (2, 4), (2, 6), (4,)])
def test_phases_are_parts_of_the_whole(factors):
    config = EncodingConfig(
        depth=2, cells=(1, 2), factors=factors, hidden=(3,) * (len(factors) - 1), encodings=4
    )
    module = Upsampler(config)
    grids = jnp.asarray(np.random.default_rng(3).standard_normal((2, 3, 4, 2)), jnp.float32)
    whole = jax.jit(lambda x: module(x))(grids)
    part = jax.jit(lambda x, phase: module(x, phase))
    for phase, points in enumerate(phases_of(config.grid)):
        np.testing.assert_allclose(part(grids, jnp.int32(phase)), whole[:, points], atol=1e-5)
    assert np.abs(np.asarray(whole)).max() > 0.1


def test_phase_gradients_reach_kernels_and_grids(example):
    module, _ = example
    graph, params = nnx.split(module)
    grids = jnp.asarray(np.random.default_rng(4).standard_normal((2, 4, 5, 3)), jnp.float32)
    whole = lambda p, x: jnp.sum(nnx.merge(graph, p)(x) ** 2)
    parts = lambda p, x: sum(jnp.sum(nnx.merge(graph, p)(x, jnp.int32(k)) ** 2) for k in range(4))
    for a, b in zip(
        *(jax.tree.leaves(jax.jit(jax.grad(f, (0, 1)))(params, grids)) for f in (whole, parts)),
        strict=True,
    ):
        assert np.abs(np.asarray(a)).max() > 0
        np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(np.asarray(a)).max())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("depth", -1),
        ("cells", (0, 2)),
        ("cells", (2,)),
        ("factors", (3, 4)),
        ("factors", ()),
        ("factors", (0, 4)),
        ("hidden", (3,)),
        ("hidden", (0,)),
        ("encodings", 0),
    ],
)
def test_refuses_sizes_out_of_range(field, value):
    with pytest.raises(ValueError, match=field):
        EncodingConfig(**{field: value})
