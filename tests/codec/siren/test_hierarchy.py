"""Images to bytes and back with everything on: positional encodings across patches, regions, images."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recjax.bits.range_coder import decode_indices
from recjax.blocks.trellis import TrellisCoder
from recjax.codec import decompress, decompress_batch, encode_batch, load_prior, train_prior
from recjax.codec.container import parse
from recjax.codec.siren.batch import make_batch
from recjax.codec.siren.encoding import code_signals
from recjax.codec.siren.layout import KINDS
from recjax.codec.siren.objective import posterior_gradient, sampled_inputs
from recjax.codec.siren.posterior import Posterior
from recjax.codec.siren.settings import EncodingConfig
from recjax.codec.siren.targets import make_targets, take_subset
from recjax.modalities import Signal
from recjax.modalities.image import IMAGE
from recjax.modalities.image.pixels import psnr

# a prior of its own to train, and programs of its own
pytestmark = [pytest.mark.standard_promotion, pytest.mark.slow]

ENCODING = EncodingConfig(depth=3, cells=(2, 2), factors=(2, 2), hidden=(6,), encodings=4)
SHAPES = [(8, 8), (29, 21), (1, 40), (16, 16)]


@pytest.fixture(scope="module")
def config(train_config):
    network = dataclasses.replace(train_config.network, encoding=ENCODING)
    return dataclasses.replace(
        train_config, network=network, scene=(4, 2), levels=3, region=(2, 2), rounds=20, rate=1.0
    )


@pytest.fixture(scope="module")
def path(config, waves, tmp_path_factory):
    path = tmp_path_factory.mktemp("prior") / "full.safetensors"
    train_prior(config, waves(0, 16, 32, 16), path, log=lambda line: None)
    return path


@pytest.fixture(scope="module")
def full(path):
    return load_prior(path)


@pytest.fixture(scope="module")
def signals(waves):
    return [Signal(waves(1, 1, *shape)[0], "image", {"gray": False}) for shape in SHAPES]


@pytest.fixture(scope="module")
def encoded(signals, full, effort):
    return encode_batch(signals, full, effort=effort)


def test_prior_has_all_groups(full, config):
    assert [group.kind for group in full.groups] == list(KINDS)
    assert full.config.encoding == ENCODING and full.region == (2, 2)
    signal, region, patch = full.groups
    assert signal.n_latents == region.n_latents == full.config.n_weight_latents
    assert patch.n_latents == full.config.n_weight_latents + 12
    # the grid has information, and its latents are coded
    assert (patch.order >= full.config.n_weight_latents).sum() > 6
    assert full.blocks_in((4, 2)) == (signal.n_blocks, 2 * region.n_blocks, 8 * patch.n_blocks)
    assert signal.n_blocks > 0
    # blocks were filled with the average KL of a training signal
    kl_bits = full.metadata["training"]["kl_bits"]
    assert abs(kl_bits - full.budget * sum(full.blocks_in((4, 2)))) < full.budget * 12


def test_decoded_files_have_the_stated_psnr(signals, encoded, full):
    decoded = decompress_batch([result.blob for result in encoded], priors=[full])
    for signal, result, image in zip(signals, encoded, decoded, strict=True):
        assert image.values.shape == signal.values.shape
        assert psnr(signal.values, image.values) == result.score
        assert result.score > 12


def test_files_decode_alone_as_together(encoded, full):
    together = decompress_batch([result.blob for result in encoded[::-1]], priors=[full])[::-1]
    for result, image in list(zip(encoded, together, strict=True))[1:3]:
        alone = decompress(result.blob, priors=[full]).values.astype(int)
        # another batch is another program: rounding may move a pixel by one level
        assert np.abs(alone - image.values).max() <= 1 and (alone != image.values).mean() < 0.01


def test_stream_has_the_indices_of_all_groups_in_order(signals, encoded, full, effort):
    coder = TrellisCoder(
        budget=full.budget, extra_bits=effort.extra_bits, lookahead=effort.lookahead
    )
    grids = [IMAGE.to_grid(signal) for signal in signals]
    batch, _, indices, _ = code_signals(grids, full, effort, jax.random.key(0), coder)
    for result, image, parts in zip(encoded, SHAPES, batch.split(indices), strict=True):
        patches = tuple(-(-side // 8) for side in image)
        header, payload = parse(result.blob)
        total = sum(full.blocks_in(patches))
        stream = decode_indices(payload, np.full(total, full.budget), header.exponent)
        ends = np.cumsum(full.blocks_in(patches))
        for part, wanted in zip(np.split(stream, ends[:-1]), parts, strict=True):
            np.testing.assert_array_equal(part, wanted.reshape(-1))


def test_no_two_blocks_share_their_candidates(full):
    batch = make_batch(full, [(4, 4), (2, 1)])
    ids = np.concatenate(
        [
            group.ids[: counts[0]].reshape(-1, 2)
            for group, counts in zip(batch.layout.groups, batch.counts, strict=True)
        ]
    )
    assert len(np.unique(ids, axis=0)) == len(ids) == sum(full.blocks_in((4, 4)))


def test_gradient_equals_autodiff_of_the_whole_batch(full):
    """Chunks, borders and parents against one plain loss."""
    rng = np.random.default_rng(0)
    batch = make_batch(full, [(4, 5), (3, 6), (1, 1)])
    layouts, geometry = batch.layout
    array = lambda x: jnp.asarray(x, jnp.float32)
    draw = lambda scale=1.0: tuple(
        array(scale * rng.standard_normal(layout.source.shape)) for layout in layouts
    )
    posteriors = tuple(
        Posterior(mean=m, log_std=s - 1) for m, s in zip(draw(), draw(0.1), strict=True)
    )
    free = tuple(array(rng.integers(0, 2, layout.source.shape)) for layout in layouts)
    beta, noise = tuple(jnp.abs(x) * 1e-4 for x in draw()), draw()
    rows = batch.padded[-1]
    patches = rng.uniform(-0.5, 0.5, (rows, 8, 8, 3)).astype(np.float32)
    targets = make_targets(patches, split="phases")
    subset = take_subset(targets, 2)

    def plain(posteriors):
        fixed = [jnp.where(f == 1, n, 0) for f, n in zip(free, noise, strict=True)]
        inputs = sampled_inputs(full.network, posteriors, tuple(fixed), geometry)
        values = full.network.values(inputs, jnp.arange(64))[:, :, subset.points]
        kl = sum(
            jnp.sum(b * f * q.kl_nats()) for q, b, f in zip(posteriors, beta, free, strict=True)
        )
        return jnp.sum((values - subset.values) ** 2) / (3 * 16) + kl

    got, _ = jax.jit(posterior_gradient)(
        full.network, posteriors, beta, free, noise, subset, geometry
    )
    wanted = jax.jit(jax.grad(plain))(posteriors)
    for ours, theirs, f in zip(got, wanted, free, strict=True):
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            b = np.asarray(b) * np.asarray(f)
            assert np.abs(b).max() > 0
            np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())


def test_neighbours_see_each_other_and_images_do_not(full):
    """A latent of a grid changes the patches around it, and no other image of the batch."""
    batch = make_batch(full, [(2, 2), (2, 2)])
    z = tuple(jnp.zeros(layout.source.shape, jnp.float32) for layout in batch.layout.groups)
    cell = full.config.n_weight_latents + 3 * ENCODING.depth  # the last cell of the first patch
    moved = (*z[:-1], z[-1].at[0, cell : cell + ENCODING.depth].set(3.0))

    def draw(z):
        inputs = full.network.inputs(z, batch.layout.geometry)
        return full.network.values(inputs, jnp.arange(64))

    changed = np.abs(np.asarray(draw(moved) - draw(z))).max((1, 2))
    assert np.all(changed[:4] > 1e-6) and np.all(changed[4:] == 0)


def test_a_resumed_run_ends_alike(config, waves, path, tmp_path):
    images, out, folder = waves(0, 16, 32, 16), tmp_path / "p.safetensors", tmp_path / "checkpoints"
    ignore = lambda line: None
    assert not train_prior(config, images, out, checkpoint_dir=folder, max_minutes=0.0, log=ignore)
    assert load_prior(out).metadata["training"]["rounds_done"] == 1
    assert train_prior(config, images, out, checkpoint_dir=folder, log=ignore, force=True)
    assert out.read_bytes() == path.read_bytes()
