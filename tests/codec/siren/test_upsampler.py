"""The folded upsampler against nearest upsampling and convolution as they are written in the paper."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recjax.codec.corners import folded
from recjax.codec.siren.settings import EncodingConfig, SirenConfig, network_shapes
from recjax.codec.siren.targets import phases_of
from recjax.codec.siren.upsampler import initial_upsampler, upsampled

CONFIGS = {
    1: EncodingConfig(depth=3, cells=(3,), factors=(4, 2, 2), hidden=(5, 4), encodings=6),
    2: EncodingConfig(depth=3, cells=(2, 3), factors=(4, 2, 2), hidden=(5, 4), encodings=6),
    3: EncodingConfig(depth=3, cells=(2, 1, 3), factors=(2, 2), hidden=(4,), encodings=5),
}


def random_kernels(config, seed=0):
    rng = np.random.default_rng(seed)
    return [
        rng.standard_normal((*(factor + 1,) * config.rank, n_in, n_out)).astype(np.float32)
        for n_in, n_out, factor in config.layer_dims
    ]


def params_of(kernels, config):
    """Folded kernels, and random biases."""
    rng, folds = np.random.default_rng(5), [(f,) * config.rank for f in config.factors]
    return {
        "kernels": [jnp.asarray(folded(*pair)) for pair in zip(kernels, folds, strict=True)],
        "biases": [
            jnp.asarray(rng.standard_normal(n_out), jnp.float32)
            for _, n_out, _ in config.layer_dims
        ],
    }


def plain(kernels, biases, factors, grid):
    """Nearest upsampling, a convolution, leaky ReLU, again; in double precision, without border."""
    x = np.asarray(grid, np.float64)
    rank = x.ndim - 1
    for i, (kernel, bias, factor) in enumerate(zip(kernels, biases, factors, strict=True)):
        for axis in range(rank):
            x = x.repeat(factor, axis)
        pad, sides = factor // 2, x.shape[:-1]
        wide, out = np.pad(x, [(pad, pad)] * rank + [(0, 0)]), np.asarray(bias, np.float64)
        for tap in itertools.product(range(factor + 1), repeat=rank):
            window = wide[tuple(slice(at, at + n) for at, n in zip(tap, sides, strict=True))]
            out = out + window @ kernel[tap].astype(np.float64)
        x = out
        if i < len(kernels) - 1:
            x = np.where(x > 0, x, 0.01 * x)
    return x


def inner(x, border, rank):
    """Without so many rows on every side."""
    return x[(slice(border, -border),) * rank]


@pytest.fixture(params=CONFIGS, ids=lambda rank: f"rank{rank}")
def example(request):
    config = CONFIGS[request.param]
    kernels = random_kernels(config)
    return config, params_of(kernels, config), kernels


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("factor", [2, 4, 6])
def test_folded_layer_is_upsampling_and_convolution(rank, factor):
    cells = (2, 3, 1)[:rank]
    config = EncodingConfig(depth=3, cells=cells, factors=(factor,), hidden=(), encodings=4)
    kernels = random_kernels(config, factor)
    params = params_of(kernels, config)
    sides = [n + 2 for n in cells]
    grid = np.random.default_rng(1).standard_normal((*sides, 3)).astype(np.float32)
    out = jax.jit(functools.partial(upsampled, config, params))(jnp.asarray(grid)[None])
    wanted = inner(plain(kernels, params["biases"], config.factors, grid), factor, rank)
    assert out.shape == (1, np.prod(config.grid), 4)
    np.testing.assert_allclose(out[0], wanted.reshape(-1, 4), atol=1e-4 * np.abs(wanted).max())


def test_one_patch_is_upsampling_of_its_bordered_grid(example):
    config, params, kernels = example
    sides = [n + 2 for n in config.cells]
    grid = np.random.default_rng(2).standard_normal((*sides, 3)).astype(np.float32)
    out = jax.jit(functools.partial(upsampled, config, params))(jnp.asarray(grid)[None])[0]
    # one more cell around, so that the padding of the plain convolutions is out of sight; its value
    # must not matter
    wide = np.pad(grid, [(1, 1)] * config.rank + [(0, 0)], constant_values=7.0)
    scale = int(np.prod(config.factors))
    wanted = inner(
        plain(kernels, params["biases"], config.factors, wide), 2 * scale, config.rank
    ).reshape(out.shape)
    np.testing.assert_allclose(out, wanted, atol=1e-4 * np.abs(wanted).max())


def test_patches_apart_are_the_signal_together():
    """2 x 3 patches with borders of one cell give what the stitched grid gives at once: no seams."""
    config = CONFIGS[2]
    kernels = random_kernels(config)
    params = params_of(kernels, config)
    height, width, depth = config.shape
    rows, columns = 2, 3
    stitched = (
        np.random.default_rng(2)
        .standard_normal((rows * height, columns * width, depth))
        .astype(np.float32)
    )
    # two cells of nothing around, so that the padding of the plain convolutions is out of sight
    wide, scale = np.pad(stitched, ((2, 2), (2, 2), (0, 0))), 16
    wanted = inner(plain(kernels, params["biases"], config.factors, wide), 2 * scale, 2)
    bordered = np.pad(stitched, ((1, 1), (1, 1), (0, 0)))
    grids = [
        bordered[i * height : (i + 1) * height + 2, j * width : (j + 1) * width + 2]
        for i in range(rows)
        for j in range(columns)
    ]
    out = np.asarray(jax.jit(functools.partial(upsampled, config, params))(np.stack(grids)))
    out = out.reshape(rows, columns, *config.grid, -1).swapaxes(1, 2).reshape(wanted.shape)
    np.testing.assert_allclose(out, wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("cells", "factors"),
    [((1, 2), (4, 2, 2)), ((1, 2), (2, 4)), ((1, 2), (2, 6)), ((1, 2), (4,)), ((3,), (2, 4)),
     ((2, 1, 2), (2, 2)), ((1, 1, 2), (6,))],
)  # fmt: skip
def test_phases_are_parts_of_all_points(cells, factors):
    hidden = (3,) * (len(factors) - 1)
    config = EncodingConfig(depth=2, cells=cells, factors=factors, hidden=hidden, encodings=4)
    params = initial_upsampler(config)
    sides = [n + 2 for n in cells]
    grids = jnp.asarray(np.random.default_rng(3).standard_normal((2, *sides, 2)), jnp.float32)
    everything = jax.jit(functools.partial(upsampled, config, params))
    points, phases = everything(grids), phases_of(config.grid)
    assert len(phases) == 2 ** len(cells)
    for phase, numbers in enumerate(phases):
        np.testing.assert_allclose(
            everything(grids, jnp.int32(phase)), points[:, numbers], atol=1e-5
        )
    assert np.abs(np.asarray(points)).max() > 0.1


def test_phase_gradients_reach_kernels_and_grids(example):
    config, params, _ = example
    sides = [n + 2 for n in config.cells]
    grids = jnp.asarray(np.random.default_rng(4).standard_normal((2, *sides, 3)), jnp.float32)
    whole = lambda p, x: jnp.sum(upsampled(config, p, x) ** 2)
    parts = lambda p, x: sum(
        jnp.sum(upsampled(config, p, x, jnp.int32(k)) ** 2) for k in range(2**config.rank)
    )
    for a, b in zip(
        *(jax.tree.leaves(jax.jit(jax.grad(f, (0, 1)))(params, grids)) for f in (whole, parts)),
        strict=True,
    ):
        assert np.abs(np.asarray(a)).max() > 0
        np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(np.asarray(a)).max())


def two_axes(config, params, grids, phase=None):
    """The upsampler written for images alone."""
    x, last = grids, len(config.factors) - 1
    for i, (_, n_out, factor) in enumerate(config.layer_dims):
        kernel, bias = params["kernels"][i], params["biases"][i]
        top = left = factor // 2 - (i < last)
        if i == last and phase is not None:
            kernel = kernel.reshape(-1, factor // 2, 2, factor // 2, 2, n_out)
            start = []
            for axis, parity in ((2, phase // 2), (4, phase % 2)):
                side = (parity + factor // 2) % 2
                kernel = jax.lax.dynamic_slice_in_dim(kernel, side, 1, axis)
                start.append((parity + factor // 2 - side) // 2)
            kernel, (top, left), factor = kernel.reshape(len(kernel), -1), start, factor // 2
        height, width = x.shape[1] - 1, x.shape[2] - 1
        windows = [x[:, i : i + height, j : j + width] for i in (0, 1) for j in (0, 1)]
        flat = jnp.concatenate(windows, axis=-1).reshape(-1, len(kernel))
        out = jnp.matmul(flat, kernel, precision=jax.lax.Precision.HIGHEST)
        out = out.reshape(len(x), height, width, factor, factor, -1).swapaxes(2, 3)
        out = out.reshape(len(x), height * factor, width * factor, -1)
        border = 0 if i == last else 2
        height, width = ((n - 2) * factor + border for n in x.shape[1:3])
        x = jax.lax.dynamic_slice(out, (0, top, left, 0), (len(x), height, width, n_out))
        x = x + bias[None, None, None]
        x = x if i == last else jax.nn.leaky_relu(x)
    return x.reshape(len(x), -1, x.shape[-1])


@pytest.mark.parametrize("phase", [None, 0, 1, 2, 3])
def test_images_are_upsampled_bit_for_bit_as_by_code_for_two_axes(phase):
    config = CONFIGS[2]
    params = params_of(random_kernels(config), config)
    grids = np.random.default_rng(6).standard_normal((3, 4, 5, 3)).astype(np.float32)
    phase = None if phase is None else jnp.int32(phase)
    ours, theirs = (
        jax.jit(functools.partial(function, config, params))(jnp.asarray(grids), phase)
        for function in (upsampled, two_axes)
    )
    np.testing.assert_array_equal(ours, theirs)


def test_first_kernels_are_of_the_stated_shapes_and_scale(example):
    config = example[0]
    network = SirenConfig(grid=config.grid, features=12, encoding=config)
    params, shapes = initial_upsampler(config), network_shapes(network)["upsampler"]
    for name in ("kernels", "biases"):
        assert [x.shape for x in params[name]] == [x.shape for x in shapes[name]]
    # features keep the size of the latents: sums over all taps and inputs, of variance 2 a layer
    # before the rectifier
    n_in, _, factor = config.layer_dims[0]
    kernel, taps = np.asarray(params["kernels"][0]), (factor + 1) ** config.rank
    variance = np.square(kernel).sum(0).mean()
    count = taps * n_in * config.layer_dims[0][1]
    assert abs(variance / 2 - 1) < 5 * np.sqrt(2 / count) * 2**config.rank


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("depth", -1),
        ("cells", (0, 2)),
        ("cells", ()),
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
