"""Images to bytes and back, end to end with a small prior."""

import contextlib
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recjax
from recjax.bits.range_coder import decode_indices
from recjax.blocks.trellis import TrellisCoder
from recjax.codec import compress, compress_batch, decompress, decompress_batch, encode_batch
from recjax.codec.container import parse
from recjax.codec.prior import stream_key
from recjax.codec.siren.batch import make_batch
from recjax.codec.siren.efforts import SirenEffort
from recjax.codec.siren.encoding import code_signals, fit, make_job
from recjax.codec.siren.fit import Job, block_kl_bits, initial_fit, to_slots
from recjax.codec.siren.posterior import initial_posterior
from recjax.codec.siren.refine import Candidates, code_blocks, initial_coding
from recjax.codec.siren.targets import make_targets
from recjax.modalities import Signal
from recjax.modalities.image import IMAGE
from recjax.modalities.image.pixels import psnr

pytestmark = pytest.mark.standard_promotion


@pytest.fixture(scope="module")
def signals(waves):
    """One patch, six patches with cut edges, one pixel: eight rows together."""
    return [
        Signal(waves(1, 1, *shape)[0], "image", {"gray": False})
        for shape in ((8, 8), (13, 21), (1, 1))
    ]


@pytest.fixture(scope="module")
def encoded(signals, prior, effort):
    return encode_batch(signals, prior, effort=effort)


def test_decoded_files_have_the_stated_psnr(signals, encoded, prior):
    decoded = decompress_batch([result.blob for result in encoded], priors=[prior])
    for signal, result, image in zip(signals, encoded, decoded, strict=True):
        assert image.values.shape == signal.values.shape and image.values.dtype == np.uint8
        assert image.modality == "image" and image.meta == {"gray": False}
        assert psnr(signal.values, image.values) == result.score


def test_files_are_better_than_the_mean_colour(signals, encoded):
    values = signals[1].values
    flat = np.broadcast_to(values.mean((0, 1), keepdims=True), values.shape)
    assert encoded[1].score > psnr(values, np.uint8(flat)) + 2


def test_accounts_add_up(signals, encoded, prior, effort):
    all_blocks = distinct = 0
    spare = []
    for signal, result, patches in zip(signals, encoded, (1, 6, 1), strict=True):
        header, payload = parse(result.blob)
        assert 8 * len(result.blob) == result.header_bits + 8 * len(payload)
        spare.append(8 * len(payload) - result.index_bits)
        assert (
            header.extra_bits == effort.extra_bits and header.modality == IMAGE and not header.flag
        )
        # one patch of the prior's size says nothing about its shape
        assert header.shape == (
            None if signal.values.shape[:2] == (8, 8) else signal.values.shape[:2]
        )
        assert header.digest_prefix == prior.digest[:3]
        blocks = patches * prior.n_blocks
        indices = decode_indices(payload, np.full(blocks, prior.budget), header.exponent)
        all_blocks, distinct = all_blocks + blocks, distinct + len(np.unique(indices))
        assert 0.3 * blocks * prior.budget < result.index_bits < blocks * (prior.budget + 1)
    assert distinct > all_blocks / 2
    assert encoded[0].header_bits == 8 * 10
    # the last byte is partly empty; by luck, of probability 2^-n, n bits of trailing zeros are saved: not twice
    assert sorted(spare)[1] > -8 and min(spare) > -32 and max(spare) < 8


def test_blocks_are_coded_at_the_kl_they_had(signals, encoded, prior, effort):
    key = jax.random.key(0)
    coder = TrellisCoder(
        budget=prior.budget, extra_bits=effort.extra_bits, lookahead=effort.lookahead
    )
    grids = [IMAGE.to_grid(signal) for signal in signals]
    batch, z, indices, kl_bits = code_signals(grids, prior, effort, key, coder)
    assert indices[0].shape == kl_bits[0].shape == (8, prior.n_blocks)
    for result, (one,) in zip(encoded, batch.split(kl_bits), strict=True):
        assert sum(result.kl_bits.values()) == pytest.approx(one.sum(), rel=1e-5)
    (layout,), (group,) = batch.layout.groups, prior.groups
    fitted = fit(make_job(grids, prior, key)[1], prior, effort)
    np.testing.assert_allclose(
        kl_bits[0][:, 0], block_kl_bits(fitted.posteriors[0], layout)[:8, 0], rtol=1e-5
    )
    # what is coded is what the decoder regenerates
    width = int(group.widths[0])
    sample = coder.decode(
        stream_key(prior),
        layout.ids[:, 0],
        jnp.asarray(indices[0][:, 0]),
        jnp.zeros(8, jnp.int32),
        jnp.full(8, width),
        width,
    )
    slots = np.asarray(to_slots(layout, z[0]))
    np.testing.assert_array_equal(slots[:, group.blocks[0, :width]], sample)


def test_same_input_same_bytes(signals, encoded, prior, effort):
    again = encode_batch(signals, prior, effort=effort, key=jax.random.key(0))
    assert [result.blob for result in again] == [result.blob for result in encoded]
    other = encode_batch(signals, prior, effort=effort, key=jax.random.key(1))
    assert other[1].blob != encoded[1].blob
    decompress_batch([result.blob for result in other], priors=[prior])


def test_files_decode_alone_as_together(encoded, prior):
    blobs = [result.blob for result in encoded]
    together = decompress_batch([blobs[2], blobs[1], blobs[0]], priors=[prior])[::-1]
    for blob, image in zip(blobs, together, strict=True):
        np.testing.assert_array_equal(decompress(blob, priors=[prior]).values, image.values)


def test_double_precision_elsewhere_changes_no_byte(signals, encoded, prior, effort):
    with jax.enable_x64(True):
        results = encode_batch(signals, prior, effort=effort)
        images = decompress_batch([result.blob for result in results], priors=[prior])
    assert [result.blob for result in results] == [result.blob for result in encoded]
    assert [psnr(s.values, i.values) for s, i in zip(signals, images, strict=True)] == [
        r.score for r in encoded
    ]


def test_public_verbs_with_an_effort_level(signals, prior, prior_path):
    one = compress(signals[1], prior, effort=1)
    assert compress(signals[1], prior, effort=np.uint8(1)) == one
    assert compress_batch([signals[1]], prior, effort=1) == [one]
    assert (
        compress(signals[1], str(prior_path), effort=1)
        == compress(signals[1], prior_path, effort=1)
        == one
    )
    assert decompress(one, priors=[prior]).values.shape == (13, 21, 3)
    assert recjax.compress is compress and recjax.decompress is decompress


@pytest.mark.parametrize("shape", [(1, 40), (17, 15), (40, 1), (9, 24)])
def test_shapes_that_are_no_multiple_of_the_patch(waves, prior, effort, shape):
    signal = Signal(waves(2, 1, *shape)[0], "image", {"gray": False})
    (result,) = encode_batch([signal], prior, effort=effort)
    image = decompress(result.blob, priors=[prior])
    assert image.values.shape == (*shape, 3) and psnr(signal.values, image.values) == result.score
    assert result.score > 12


def test_many_patches_fill_several_chunks(waves, prior, effort):
    signal = Signal(waves(3, 1, 50, 56)[0], "image", {"gray": False})
    (result,) = encode_batch([signal], prior, effort=effort)
    image = decompress(result.blob, priors=[prior])
    assert psnr(signal.values, image.values) == result.score
    flat = np.broadcast_to(signal.values.mean((0, 1), keepdims=True), signal.values.shape)
    assert result.score > psnr(signal.values, np.uint8(flat)) + 1
    # a mistake in the order of patches would show in one of them
    assert (
        psnr(signal.values[40:], image.values[40:]) > 15
        and psnr(signal.values[:, 48:], image.values[:, 48:]) > 15
    )


def test_gray_images_stay_gray(waves, prior, effort):
    values = np.repeat(waves(4, 1, 13, 21)[0, ..., :1], 3, axis=-1)
    (result,) = encode_batch([Signal(values, "image", {"gray": True})], prior, effort=effort)
    image = decompress(result.blob, priors=[prior])
    assert parse(result.blob)[0].flag and image.meta == {"gray": True}
    assert np.all(image.values == image.values[..., :1])
    assert psnr(values, image.values) == result.score


@pytest.mark.slow
def test_more_work_and_looking_ahead_are_better_on_average(waves, prior, effort):
    batch = [Signal(values, "image", {"gray": False}) for values in waves(5, 512)]
    quality = lambda effort: np.array(
        [result.score for result in encode_batch(batch, prior, effort=effort)]
    )
    best = quality(effort)
    assert (best - quality(SirenEffort(fit_steps=8, refine_steps=0))).mean() > 0.3
    # about 0.09 dB, which depends on the machine as the trained prior does; without effect it would be 0 exactly
    gain = best - quality(dataclasses.replace(effort, lookahead=0))
    assert gain.mean() > 2 * gain.std() / np.sqrt(len(gain))


@contextlib.contextmanager
def compiled_programs():
    """A list that fills with an entry per program that is compiled meanwhile."""
    compiled = []

    def listen(event, duration, **_):
        if event.endswith("backend_compile_duration"):
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def test_a_second_image_compiles_nothing(waves, prior, effort, encoded):
    first, second = (Signal(values, "image", {"gray": False}) for values in waves(6, 2, 13, 21))
    results = encode_batch([first], prior, effort=effort)
    decompress(results[0].blob, priors=[prior])
    with compiled_programs() as compiled:
        results = encode_batch([second], prior, effort=effort)
        decompress(results[0].blob, priors=[prior])
    assert compiled == []


@pytest.mark.parametrize("counts", [(8, 5, 7), (32, 20, 31)])
def test_programs_do_not_depend_on_the_number_of_signals(waves, prior, effort, counts):
    """Numbers of rows are rounded up; what is compiled for 8 rows serves 5 and 7."""
    batch = [Signal(values, "image", {"gray": False}) for values in waves(8, max(counts))]
    code = lambda count: decompress_batch(
        [r.blob for r in encode_batch(batch[:count], prior, effort=effort)], priors=[prior]
    )
    code(counts[0])
    with compiled_programs() as compiled:
        for count in counts[1:]:
            code(count)
    assert compiled == []


def test_progress_rises_to_one(signals, prior, effort, encoded):
    seen = []
    encode_batch(signals, prior, effort=effort, progress=seen.append)
    assert seen == sorted(seen) and 0 < seen[0] < seen[-1] == pytest.approx(1.0) and len(seen) > 2


def test_nothing_to_do_is_nothing(prior):
    assert (
        encode_batch([], prior) == []
        and compress_batch([], prior) == []
        and decompress_batch([]) == []
    )


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.uint16),
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 1), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((1, 8, 8, 3), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((8, 0, 3), np.uint8),
        np.zeros((1, 4097, 3), np.uint8),
    ],
)
def test_arrays_that_are_no_image_are_refused(prior, values):
    with pytest.raises(ValueError, match="image must"):
        encode_batch([Signal(values)], prior, effort=1)


@pytest.mark.parametrize(
    ("prior", "reason"), [("no-such-prior", "embedded priors: "), (7, "must be a Prior")]
)
@pytest.mark.parametrize("bpp", [None, 1.0])
def test_unknown_priors_are_refused(signals, prior, reason, bpp):
    with pytest.raises(ValueError, match=reason):
        compress(signals[1], prior, bpp=bpp)


def test_other_modalities_are_refused(prior):
    with pytest.raises(ValueError, match="audio"):
        encode_batch([Signal(np.zeros((8, 8, 3), np.uint8), "audio")], prior, effort=1)


@pytest.mark.parametrize(
    "settings",
    [
        *({"effort": level} for level in (0, 10, -1, True, np.True_, 5.0, "5", None, [5])),
        {"extra_bits": -1},
        {"extra_bits": 8},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(signals, prior, settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        encode_batch(signals, prior, **({"effort": 1} | settings))


@pytest.mark.parametrize(
    "fields", [{"fit_steps": -1}, {"refine_steps": -1}, {"extra_bits": 8}, {"lookahead": -1}]
)
def test_impossible_efforts_are_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        SirenEffort(**{"fit_steps": 10, "refine_steps": 1} | fields)


def test_equal_blocks_and_patches_do_not_get_equal_samples(prior):
    """All blocks of all patches share one table; their samples must be as good as independent."""
    # Blocks of one width: then nothing but its number tells a block from the others.
    rows, n_blocks, width = 32, prior.n_blocks, prior.config.n_latents // prior.n_blocks
    (group,) = prior.groups
    group = dataclasses.replace(
        group, order=group.order[: n_blocks * width], widths=np.full(n_blocks, width, np.int32)
    )
    prior = dataclasses.replace(prior, groups=(group,))
    coder = TrellisCoder(budget=prior.budget)
    position = np.zeros(prior.config.n_latents, np.int64)
    for block in group.blocks:
        position[block] = np.arange(width)
    target = jnp.asarray(np.where(position % 2, 0.6, -0.4), jnp.float32)
    targets = make_targets(np.zeros((rows, *prior.patch, 3), np.float32))
    samples = []
    for seed in range(40):
        digest = np.random.default_rng(seed).bytes(32)
        other = dataclasses.replace(prior, digest=digest)
        batch = make_batch(other, [(rows, 1)])
        (layout,) = batch.layout.groups
        log_beta = jnp.float32(np.log(prior.beta))
        state = initial_fit(batch.layout, [initial_posterior(1, len(target), 0.6)], log_beta)
        state = state._replace(
            posteriors=(state.posteriors[0]._replace(mean=jnp.tile(target, (rows, 1))),)
        )
        rates = jnp.float32(0.01), jnp.float32(0.01)
        expected = block_kl_bits(state.posteriors[0], layout)
        key = stream_key(other)
        table = coder.table(key, group.blocks.shape[1])
        job = Job(prior.network, batch.layout, targets, jax.random.key(0))
        coded = code_blocks(
            job, Candidates(table, key), initial_coding(state),
            (jnp.int32(0), jnp.int32(n_blocks)), rates, coder=coder, group=0, steps=0,
        )  # fmt: skip
        slots = np.asarray(to_slots(layout, coded.fit.posteriors[0].mean))
        samples.append(slots[:, group.blocks])
        np.testing.assert_allclose(coded.kl_bits[0].T, expected, rtol=1e-5)
    samples = np.stack(samples)  # [tables, rows, blocks, positions]
    samples -= samples.mean((0, 1, 2))
    variance = samples.var()
    assert 0.5 * 0.36 < variance < 2 * 0.36
    for axis, count in ((1, rows), (2, n_blocks)):
        # the variance of a mean of `count` samples with correlation c is (1 + (count - 1) c) / count of one's
        correlation = (samples.mean(axis).var() * count / variance - 1) / (count - 1)
        assert abs(correlation) < 0.1, (axis, correlation)
