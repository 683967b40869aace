"""The experiments, tiny: they run, and what they report is right."""

import dataclasses
import functools
import math
import re
import shutil
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import recjax
from experiments import (
    ablation,
    autoencoder,
    cifar10,
    crashes,
    fuzz,
    kodak,
    mutations,
    node_cost,
    transform_gap,
    vector_bias,
)
from experiments.exact import exact_samples
from experiments.rivals import measured_curves, missing_codecs
from recjax.codec import (
    TrainConfig,
    TransformTraining,
    decompress_batch,
    encode_batch,
    load_prior,
    prior_files,
    train_transform,
)
from recjax.codec.siren.network import SirenConfig
from recjax.codec.transform.amortised import encode_sample
from recjax.codec.transform.efforts import EFFORTS as TRANSFORM_EFFORTS
from recjax.codec.transform.network import TransformConfig
from recjax.errors import FormatError
from recjax.modalities.image.pixels import psnr
from recjax.results.files import load_results

pytestmark = pytest.mark.standard_promotion

SIREN = Path(__file__).parent / "codec" / "golden" / "waves.safetensors"


def photo(seed, height, width):
    """A smooth random image."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def transforms(tmp_path_factory):
    """Two transforms with cells of 8x8 pixels."""
    outs = [
        tmp_path_factory.mktemp("transforms") / f"{name}.safetensors" for name in ("cheap", "dear")
    ]
    network = TransformConfig(stride=4, depth=6, levels=2, context=2, hidden=8, features=4)
    config = TransformTraining(
        prices=(2e-2, 2e-3), steps=60, batch=4, crop=16, lr=3e-3, budget=8, network=network
    )
    train_transform(config, [photo(i, 24, 32) for i in range(6)], outs, log=lambda line: None)
    return outs


@pytest.mark.slow
def test_exact_samples_of_a_transform_are_counted_against_its_prior(transforms):
    prior = load_prior(transforms[1])
    signals = [recjax.Signal(photo(i, 21, 30), "image", {"gray": False}) for i in range(2)]
    decoded, bits = exact_samples(signals, prior, TRANSFORM_EFFORTS[1])
    assert [image.values.shape for image in decoded] == [(21, 30, 3)] * 2
    assert not (decoded[0].values == decoded[1].values).all()

    posteriors = jax.jit(encode_sample)
    expected = 0.0
    for signal, key in zip(signals, jax.random.split(jax.random.key(0), 2), strict=True):
        whole = np.pad(signal.values, ((0, 3), (0, 2), (0, 0)), mode="edge")[None].astype(
            np.float32
        )
        for (mean, log_std), scale, tail in zip(
            posteriors(prior.network, whole / 255 - 0.5, key)[0],
            prior.scales,
            prior.tails,
            strict=True,
        ):
            centre = jnp.arcsinh(tail * mean / scale) / tail
            width = jnp.exp(log_std) / jnp.hypot(scale, tail * mean)
            reference = recjax.Normal(0 * centre, 0 * centre + 1)
            expected += float(recjax.kl_bits(recjax.Normal(centre, width), reference).sum())
    # other samples of the upper levels, hence other posteriors below
    assert bits == pytest.approx(expected, rel=0.03)


@pytest.mark.slow
def test_cifar10_takes_both_kinds_of_priors(transforms, tmp_path):
    pytest.importorskip("matplotlib")
    np.savez(tmp_path / "test_150.npz", images=np.stack([photo(i, 8, 8) for i in range(3)]))
    cifar10.main(
        cifar10.Args(data=tmp_path, priors=(SIREN, *transforms), effort=1, limit=2, out=tmp_path)
    )
    siren, *others = load_results(tmp_path / "cifar10.json").details["priors"]
    assert "exact_without_refinement" in siren and not any(
        "exact_without_refinement" in row for row in others
    )
    for row in (siren, *others):
        assert row["files"]["file_bpp"] * 64 / 8 >= row["files"]["header_bytes"] == 10
        assert row["exact"]["kl_bpp"] > 0
    assert (tmp_path / "cifar10.png").stat().st_size > 10_000


def test_prices_without_a_step_since_the_last_look_have_no_point():
    curve = [
        {"step": 120, "psnr": [20.0, 25.0], "bpp": [0.5, 1.0]},
        {"step": 121, "psnr": [21.0, None], "bpp": [0.6, None]},
    ]
    training = {"config": {"prices": [2e-2, 2e-3]}, "curve": curve}
    priors = [
        types.SimpleNamespace(metadata={"training": training | {"price": price}})
        for price in (2e-2, 2e-3)
    ]
    cheap, dear = map(cifar10.learning_curve, priors)
    assert cheap == ([120, 121], [20.0, 21.0], [0.5, 0.6]) and dear == ([120], [25.0], [1.0])


@pytest.mark.slow
def test_kodak_takes_landscape_and_portrait(transforms, tmp_path, capsys, monkeypatch):
    for name, prior in zip(
        ("low", "medium", "high", "best"), (*transforms[:1] * 2, *transforms[1:] * 2)
    ):
        shutil.copy(prior, tmp_path / f"photo-{name}.safetensors")
    monkeypatch.setattr(prior_files, "EMBEDDED", tmp_path)
    pytest.importorskip("matplotlib")
    images = {"a.png": photo(0, 16, 24), "b.png": photo(1, 24, 16)}
    for name, values in images.items():
        Image.fromarray(values).save(tmp_path / name)
    args = kodak.Args(
        data=tmp_path,
        priors=tuple(map(str, transforms)),
        bpp=(1.5,),
        effort=1,
        out=tmp_path / "out",
    )
    kodak.main(args)
    results = load_results(tmp_path / "out" / "kodak.json").details
    rates = [row["bpp"] for row in results["recjax"]]
    assert rates == sorted(rates) and len(rates) == 2
    (equal,) = results["equal_sizes"]
    assert equal["name"] == "1.5 bpp" and all(
        1.2 < image["bpp"] <= 1.5 for image in equal["images"]
    )
    for row in results["recjax"]:
        assert [image["image"] for image in row["images"]] == list(images)
        assert row["bpp"] == pytest.approx(
            np.mean([8 * image["bytes"] / (16 * 24) for image in row["images"]])
        )
        assert row["exact"]["psnr"] > 15
    others = {*results["measured"], *(f"{name} (published)" for name in kodak.PUBLISHED)}
    assert all(set(results["comparison"][name]) == others for name in ("one price", "equal sizes"))
    assert "our BD-rate" in capsys.readouterr().out
    assert (tmp_path / "out" / "kodak.png").stat().st_size > 10_000


def test_kodak_of_an_empty_folder(tmp_path):
    with pytest.raises(ValueError, match="holds no"):
        kodak.main(kodak.Args(data=tmp_path, priors=("photo-siren-low",), out=tmp_path))


@pytest.mark.slow
def test_the_gap_of_a_transform(transforms, tmp_path):
    """Coders are compared with exact samples: the best candidate is nearer to them than one drawn among all."""
    for i in range(2):
        Image.fromarray(photo(i, 24, 32)).save(tmp_path / f"{i}.png")
    transform_gap.main(
        transform_gap.Args(data=tmp_path, prior=str(transforms[1]), effort=1, out=tmp_path)
    )
    rows = load_results(tmp_path / "transform_gap-dear.json").details["coders"]
    ordered, zipf, _, best = rows[:4]
    assert len(rows) == 8 and ordered["variant"].startswith("ordered") and ordered["closed"] == 0
    assert zipf["psnr"] == ordered["psnr"] and zipf["bpp"] < ordered["bpp"]
    assert ordered["gap_db"] > best["gap_db"] > 0 and best["closed"] == pytest.approx(
        1 - best["gap_db"] / ordered["gap_db"]
    )
    with pytest.raises(ValueError, match="no transform"):
        transform_gap.main(transform_gap.Args(data=tmp_path, prior=str(SIREN)))


def test_rivals_spend_bytes_for_quality():
    noise = np.random.default_rng(0).normal(0, 10, (96, 128, 3))
    values = np.clip(photo(0, 96, 128) + noise, 0, 255).astype(np.uint8)
    curves = measured_curves([recjax.Signal(values, "image", {"gray": False})])
    assert len(curves) + len(missing_codecs()) == 3
    for curve in curves:
        assert (np.diff(curve.x) >= 0).all() and curve.x[-1] > 2 * curve.x[0]
        assert curve.y[-1] > curve.y[0] + 2


@pytest.mark.slow
def test_a_prior_without_learning(tmp_path):
    """Blocks of equally many weights (the last one has the rest) share the rate."""
    network = SirenConfig(
        grid=(8, 8), width=8, layers=3, features=8, max_frequency=4.0, reparameterise=False
    )
    ablation.unlearned(
        TrainConfig(rate=0.75, budget=8, network=network), tmp_path / "un.safetensors"
    )
    prior = load_prior(tmp_path / "un.safetensors")
    *full, last = prior.groups[0].widths
    assert len(set(full)) == 1 and last <= full[0] and prior.n_blocks - 6 in (0, 1)
    assert np.ptp(prior.groups[0].log_std) == 0 and len(set(prior.groups[0].scale.tolist())) == 3
    (result,) = encode_batch(
        [recjax.Signal(photo(0, 8, 8), "image", {"gray": False})], prior, effort=1
    )
    assert result.index_bits == pytest.approx(8 * prior.n_blocks, abs=1)


@pytest.mark.slow
def test_a_prior_in_as_many_blocks_as_the_rate_takes(tmp_path):
    """Files have the wanted rate, and their decoder needs the rewritten prior alone."""
    path = tmp_path / "waves.safetensors"
    path.write_bytes(SIREN.read_bytes())
    before = load_prior(path)
    blocks = before.n_blocks + 5
    prior = ablation.in_blocks(path, blocks * before.budget / before.config.n_points)
    (old,), (new,) = before.groups, prior.groups
    assert prior.digest != before.digest and prior.budget == before.budget
    assert set(new.order.tolist()) == set(old.order.tolist())
    bits = np.add.reduceat(-new.log_std[new.order], np.cumsum(new.widths) - new.widths) / np.log(2)
    assert len(bits) == blocks and bits[:-1].std() < 0.25 * bits.mean()
    signal = recjax.Signal(photo(0, *prior.patch), "image", {"gray": False})
    (result,) = encode_batch([signal], prior, effort=1)
    assert result.index_bits == pytest.approx(prior.budget * blocks, abs=1)
    (decoded,) = decompress_batch([result.blob], priors=(load_prior(path),))
    assert psnr(signal.values, decoded.values) == pytest.approx(result.score)


def test_ablation_is_paired_and_beside_the_published_differences():
    own = {"file_bpp": 1.6, "index_bpp": 1.5}
    results = {name: {**own, "psnr": [30.0, 32.0]} for name in ablation.SETTINGS}
    results["COMBINER"] = {**own, "psnr": [27.0, 30.0]}
    row = ablation.summary("COMBINER", results, 1.5)
    assert (
        row["difference"] == {"mean": -2.5, "standard_error": pytest.approx(0.5)}
        and row["base"] == "RECOMBINER"
    )
    assert row["published_difference"] == pytest.approx(-2.15, abs=0.2)
    assert (
        ablation.summary("COMBINER, no prior learning", results, 1.5)["published_difference"] < -4
    )
    assert ablation.summary("no refinement", results, 1.5)["published_difference"] is None
    assert all(setting.base in results for setting in ablation.SETTINGS.values())


def test_an_ablation_with_fixed_features_replaces_no_other(tmp_path):
    names = [
        ablation.Args(tmp_path, tmp_path, learn_features=learned).name for learned in (True, False)
    ]
    assert names == ["ablation", "ablation-fixed-features"]
    own = {"psnr": [30.0, 31.0], "index_bpp": 1.5, "file_bpp": 1.6}
    results = dict.fromkeys(ablation.SETTINGS, own)
    rows = [ablation.summary(name, results, 1.5) for name in ablation.SETTINGS]
    assert [ablation.to_results(rows, name, "").name for name in names] == names


@pytest.mark.slow
def test_ablation_goes_on_where_it_was_stopped(tmp_path):
    images = np.stack([photo(i, 32, 32) for i in range(4)])
    for name in ("train_4000", "test_150"):
        np.savez(tmp_path / f"{name}.npz", images=images)
    args = ablation.Args(
        tmp_path, tmp_path / "work", rounds=2, effort=1, limit=2, max_minutes=1e-3, out=tmp_path
    )
    assert ablation.main(args) is None
    assert not (tmp_path / "ablation.json").exists()
    rows = ablation.main(dataclasses.replace(args, max_minutes=60))
    assert rows is not None and [row["setting"] for row in rows] == list(ablation.SETTINGS)
    assert rows[0]["difference"]["mean"] == 0
    assert load_results(tmp_path / "ablation.json").details["settings"] == rows


@pytest.mark.slow
@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="memory is measured as Linux reports it"
)
@pytest.mark.parametrize("name", fuzz.RUNS)
def test_hostile_files_are_decoded_or_refused(tmp_path, name):
    rng, known = np.random.default_rng(7), fuzz.golden_files()
    if name == "priors":
        watch, files = (
            fuzz.Watch(tmp_path / "kept", ValueError),
            mutations.hostile_priors(rng, [SIREN.read_bytes()]),
        )
        use = functools.partial(fuzz.check_prior, tmp_path / "mutated.safetensors", rng)
    else:
        watch, files = (
            fuzz.Watch(tmp_path / "kept", FormatError),
            mutations.hostile_files(rng, known[:3], name == "sealed"),
        )
        use = functools.partial(fuzz.check_image, [prior for prior, _ in known])
    fuzz.run(watch, files, use, 200, math.inf)
    tallies = watch.tallies.values()
    assert sum(tally.count for tally in tallies) == 200 and not sum(
        tally.errors for tally in tallies
    )
    assert (sum(tally.decoded for tally in tallies) > 10) == (name != "damaged")


@pytest.mark.slow
def test_processes_are_killed_without_harm(tmp_path):
    line = crashes.kills("compress", 3, np.random.default_rng(0), tmp_path)
    assert re.fullmatch(
        r"compress +3 kills: [1-9]\d* results afterwards, 0 partial, wrong or other; .*", line
    )


@pytest.mark.slow
def test_an_autoencoder_whose_latents_are_sent(capsys):
    pytest.importorskip("matplotlib")
    results = autoencoder.main(steps=40, batch=32, latents=4, price=0.02, seed=0)
    printed = capsys.readouterr().out
    assert f"{results['written']:.2f} bits a patch" in printed
    # the divergence and about 2.5 bits a latent
    assert results["kl"] < results["written"] < results["kl"] + 4 * 3.5
    assert results["psnr"] > 12


@pytest.mark.slow
def test_cost_of_a_node(tmp_path):
    pytest.importorskip("numba")
    here = Path(node_cost.__file__).parents[1]
    node_cost.main(node_cost.Args(base=here, coders=("GRCD",), bits=(2,), turns=1, out=tmp_path))
    (row,) = load_results(tmp_path / "node_cost.json").details["rows"]
    assert 2 < row["steps"] < 3
    assert min(row[f"{name}_ns"] for name in ("before", "after", "numba")) > 0


@pytest.mark.slow
def test_bias_of_vectors(tmp_path):
    args = vector_bias.Args(
        block_bits=10,
        extra_bits=(0, 5),
        sizes=(1, 100),
        kl_bits=(4.0, 30.0),
        calls=40,
        out=tmp_path,
    )
    vector_bias.main(args)
    rows = {
        (row["d"], row["kl_bits"], row["extra_bits"]): row
        for row in load_results(tmp_path / "vector_bias.json").details["rows"]
    }
    # one coordinate cannot have 30 bits in blocks of 10
    assert {(d, kl) for d, kl, _ in rows} == {(1, 4.0), (100, 4.0), (100, 30.0)}
    few, many = (rows[100, 30.0, bits] for bits in (0, 5))
    assert few["slope"] < many["slope"] - 0.1 and few["blocks"] == 3 and many["blocks"] == 6
    assert abs(many["slope"] - 0.9) < 0.1 and abs(many["mean_square"] - 1) < 0.1
