"""Transforms of one and three axes: operations against loops, priors from training to files."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_sound
import toy_volume
from compiling import quickly_compiled
from toy_sound import SOUND
from toy_volume import VOLUME

from recjax.codec import (
    TransformTraining,
    compress_batch,
    decompress_batch,
    encode_batch,
    load_prior,
    train_transform,
)
from recjax.codec.container import parse
from recjax.codec.corners import corner_product, lapped
from recjax.codec.transform import network as plain
from recjax.codec.transform.network import TransformConfig, bordered
from recjax.codec.transform.network_module import Transform
from recjax.codec.transform.rate_classes import in_cells
from recjax.codec.transform.windows import put, tile_starts, window
from recjax.modalities import MODALITIES, registry


@pytest.mark.parametrize(
    ("sides", "factors"),
    [((5,), (4,)), ((4, 3), (2, 2)), ((3, 4), (4, 1)), ((3, 4, 3), (2, 2, 2)), ((3, 4, 3), (1, 2, 4))],
)  # fmt: skip
def test_corner_products_are_those_of_a_loop(sides, factors):
    rng, inputs, outputs = np.random.default_rng(0), 3, 2
    corners = [(0, 1) if f > 1 else (0,) for f in factors]
    window_cells = list(itertools.product(*corners))
    x = rng.normal(size=(2, *sides, inputs)).astype(np.float32)
    kernel = rng.normal(size=(len(window_cells), inputs, *factors, outputs)).astype(np.float32)
    flat = jnp.asarray(kernel.reshape(len(window_cells) * inputs, -1))
    out = np.asarray(corner_product(jnp.asarray(x), flat, factors))
    counts = [n - (f > 1) for n, f in zip(sides, factors)]
    assert out.shape == (2, *(n * f for n, f in zip(counts, factors)), outputs)
    for corner in np.ndindex(*counts):
        block = sum(
            np.einsum("ni,i...->n...", x[(slice(None), *np.add(corner, cell))], kernel[k])
            for k, cell in enumerate(window_cells)
        )
        place = tuple(slice(c * f, (c + 1) * f) for c, f in zip(corner, factors))
        np.testing.assert_allclose(out[(slice(None), *place)], block, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("factors", [(4,), (2, 2), (4, 1), (2, 2, 2), (1, 4, 2)])
def test_a_lapped_kernel_is_the_block_transform(factors):
    rng, rank, size = np.random.default_rng(1), len(factors), 2 * int(np.prod(factors))
    basis = np.linalg.qr(rng.normal(size=(size, size)))[0].reshape(*factors, 2, size)
    x = rng.normal(size=(1, *[4] * rank, size)).astype(np.float32)
    kernel = jnp.asarray(lapped(basis.astype(np.float32)))
    out = np.asarray(corner_product(jnp.asarray(x), kernel, factors))[0]
    for cell in itertools.product(range(1, 3), repeat=rank):
        expected = basis @ x[(0, *cell)]
        starts = [c * f - (f // 2 if f > 1 else 0) for c, f in zip(cell, factors)]
        place = tuple(slice(a, a + f) for a, f in zip(starts, factors))
        np.testing.assert_allclose(out[place], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_latents_are_grouped_by_cells(rank):
    side = (2, 4, 1)[:rank]
    x = np.random.default_rng(2).normal(size=(2, *(3 * s for s in side), 5))
    cells = in_cells(x, side)
    for place in np.ndindex(*[3] * rank):
        inside = tuple(slice(p * s, (p + 1) * s) for p, s in zip(place, side))
        expected = x[(slice(None), *inside)].reshape(2, -1, 5)
        np.testing.assert_array_equal(cells[(slice(None), *place)], expected)


@pytest.mark.parametrize("sides", [(11,), (5, 9), (4, 3, 5)])
def test_windows_put_together_are_the_array(sides):
    x = np.random.default_rng(3).normal(size=(*sides, 2))
    tile, out = (4,) * len(sides), np.zeros((*sides, 2))
    edges = np.pad(x, [*[(3, 9)] * len(sides), (0, 0)], mode="edge")
    zeros = np.pad(x, [*[(3, 9)] * len(sides), (0, 0)])
    for start in tile_starts(sides, tile):
        put(out, start, window(x, start, tile))
        first = [n - 3 for n in start]
        place = tuple(slice(n, n + 10) for n in start)
        np.testing.assert_array_equal(window(x, first, [10] * len(sides)), zeros[place])
        np.testing.assert_array_equal(window(x, first, [10] * len(sides), "edge"), edges[place])
    np.testing.assert_array_equal(out, x)


RANKS = {
    "sound": dict(stride=8, depth=6, levels=3, context=2, hidden=6, features=4, channels=2, rank=1),
    "volume": dict(
        stride=4, depth=6, levels=3, context=2, hidden=6, features=4, channels=1, rank=3
    ),
    "slow growth": dict(
        stride=(1, 4, 4), growth=(1, 2, 2), depth=6, levels=3, context=2, hidden=6, features=4,
        channels=1, rank=3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RANKS)
def test_parts_with_a_border_of_one_cell_are_the_whole_signal(name):
    config = TransformConfig(**RANKS[name])
    rng = np.random.default_rng(4)
    network = jax.tree.map(
        lambda x: x + jnp.asarray(rng.normal(0, 0.2, x.shape), jnp.float32),
        Transform(config, 0).network(),
    )
    decode = jax.jit(plain.decode)
    cells = (3,) * config.rank
    latents = [
        jnp.asarray(rng.normal(size=(1, *config.cells(level, cells), depth)), jnp.float32)
        for level, depth in enumerate(config.depths)
    ]
    whole = np.asarray(decode(network, [bordered(x) for x in latents]))[0]
    assert whole.shape == (*(3 * c for c in config.cell), config.channels) and whole.std() > 0.1
    for start in ((0,) * config.rank, (1,) * config.rank, (2,) * config.rank):
        parts = [
            window(
                np.asarray(x[0]),
                [n - 1 for n in config.cells(level, start)],
                [n + 2 for n in config.cells(level, (1,) * config.rank)],
            )[None]
            for level, x in enumerate(latents)
        ]
        part = np.asarray(decode(network, parts))[0]
        place = tuple(slice(n * c, (n + 1) * c) for n, c in zip(start, config.cell))
        np.testing.assert_allclose(part, whole[place], atol=3e-5 * np.abs(whole).max())


sounds = functools.partial(toy_sound.sounds, slowest=0.02, fastest=0.1)
volumes = functools.partial(toy_volume.volumes, spread=0.2)


CASES = {
    "sound": (SOUND, sounds, (96,), "sound", (64,), [(64,), (131,), (5,), (32,)]),
    "volume": (VOLUME, volumes, (24, 24, 24), "volume", 16, [(16, 16, 16), (5, 33, 20)]),
    "slow growth": (VOLUME, volumes, (8, 40, 40), "slow growth", (4, 32, 32), [(3, 20, 37)]),
}


@pytest.mark.standard_promotion
@pytest.mark.parametrize(
    "name",
    ["sound", *(pytest.param(name, marks=pytest.mark.slow) for name in ("volume", "slow growth"))],
)
def test_signals_of_any_rank_become_files_and_come_back(name, tmp_path, monkeypatch):
    modality, draw, size, network, crop, shapes = CASES[name]
    monkeypatch.setattr(registry, "MODALITIES", (*MODALITIES, SOUND, VOLUME))
    config = TransformTraining(
        prices=(2e-3,), steps=60, batch=4, crop=crop, scales=(), budget=8,
        network=TransformConfig(**RANKS[network]),
    )  # fmt: skip
    path = tmp_path / "toy.safetensors"
    with quickly_compiled():
        assert train_transform(config, draw(0, 24, size), [path], log=lambda line: None)
    prior = load_prior(path)
    assert prior.modality == modality.name and prior.config == config.network
    assert prior.patch == config.network.cell
    signals = [draw(number, 1, sides)[0] for number, sides in enumerate(shapes, 1)]
    results = encode_batch(signals, prior, effort=2)
    alone = [compress_batch([signal], prior, effort=2)[0] for signal in signals[:2]]
    assert alone == [result.blob for result in results[:2]]
    decoded = decompress_batch([result.blob for result in results], priors=[prior])
    errors, variances = [], []
    for signal, sides, result, back in zip(signals, shapes, results, decoded, strict=True):
        header, _ = parse(result.blob)
        assert header.modality is modality
        assert header.shape == (None if sides == prior.patch else sides)
        assert back.values.shape == signal.values.shape and back.meta == signal.meta
        values, original = (modality.to_grid(x).values for x in (back, signal))
        errors.append(np.square(values - original).mean())
        variances.append(original.var())
    assert np.sum(errors) < 0.3 * np.sum(variances), (errors, variances)


def test_networks_of_another_rank_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "MODALITIES", (*MODALITIES, SOUND, VOLUME))
    config = TransformTraining(crop=32, prices=(1e-3,), network=TransformConfig(stride=8, levels=2))
    with pytest.raises(ValueError, match="a network of 2 axes and 3 channels is not one for sound"):
        train_transform(config, sounds(0, 2, (96,)), [tmp_path / "a"])
