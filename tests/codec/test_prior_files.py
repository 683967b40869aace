"""Prior files: what is written comes back, equal content has equal bytes, and no damage goes
unnoticed."""

import dataclasses
import hashlib
import itertools
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy

import recjax
from recjax import cli
from recjax.codec import embedded_priors, load_prior, prior_files
from recjax.codec.siren import prior as siren_prior
from recjax.codec.siren.layout import block_table
from recjax.codec.siren.network import initial_network, pruned


def save_again(prior, path):
    siren_prior.save(prior, path)
    return Path(path).read_bytes()


def edited(blob, header=None, tensors=None):
    """The file with its header and tensors passed through two functions."""
    length = int.from_bytes(blob[:8], "little")
    text = json.loads(blob[8 : 8 + length])["__metadata__"]["recjax"]
    content = json.loads(text)
    content = content if header is None else header(content)
    text = content if isinstance(content, str) else json.dumps(content)
    arrays = safetensors.numpy.load(blob)
    return safetensors.numpy.save(
        arrays if tensors is None else tensors(arrays), metadata={"recjax": text}
    )


def with_fields(**fields):
    return lambda header: header | {"network": header["network"] | fields}


@pytest.fixture(scope="module")
def prior_bytes(prior_path):
    return prior_path.read_bytes()


@pytest.fixture
def refuses(tmp_path):
    """Asserts that loading the bytes raises a ValueError and nothing else, without claiming much
    memory."""

    def check(blob):
        path = tmp_path / "damaged.safetensors"
        path.write_bytes(blob)
        tracemalloc.start()
        with pytest.raises(ValueError, match="damaged"):
            load_prior(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 100 * len(blob) + 2**22

    return check


def test_digest_is_the_sha256_of_the_file(prior, prior_bytes):
    assert prior.digest == hashlib.sha256(prior_bytes).digest()
    assert prior.name == "waves"


def test_content_comes_back(prior, train_config):
    assert prior.config == dataclasses.replace(train_config.network, latents=prior.config.latents)
    assert (
        (prior.patch, prior.channels) == ((8, 8), 3)
        and prior.modality == "image"
        and prior.budget == 8
    )
    (group,) = prior.groups
    assert prior.n_blocks == len(group.widths) > 3 and prior.rate_bits == 8 * prior.n_blocks
    np.testing.assert_array_equal(
        group.blocks, block_table(group.order, group.widths, prior.config.n_latents)
    )
    assert (
        prior.metadata["data"] == "waves"
        and prior.metadata["training"]["rounds_done"] == train_config.rounds
    )
    assert len(prior.metadata["data_sha256"]) == 64


def test_loading_and_saving_gives_the_same_bytes(prior, prior_bytes, tmp_path):
    assert save_again(prior, tmp_path / "a.safetensors") == prior_bytes
    again = load_prior(tmp_path / "a.safetensors")
    assert again.digest == prior.digest and again.name == "a"
    for one, other in zip(
        jax.tree.leaves(prior.network), jax.tree.leaves(again.network), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_bytes_do_not_depend_on_the_hash_seed(prior_bytes, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(prior_bytes)
    script = "from test_prior_files import load_prior, save_again; save_again(load_prior('a.safetensors'), 'b')"
    folders = [str(Path(__file__).parent), str(Path(recjax.__file__).parents[1])]
    environment = os.environ | {"PYTHONHASHSEED": "12345", "PYTHONPATH": os.pathsep.join(folders)}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, cwd=tmp_path)
    assert (tmp_path / "b").read_bytes() == prior_bytes


def test_existing_files_stay_without_force(prior, prior_bytes, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"mine")
    with pytest.raises(ValueError, match="exists"):
        save_again(prior, path)
    assert path.read_bytes() == b"mine" and list(tmp_path.iterdir()) == [path]


def test_editing_changes_the_digest_but_still_loads(prior, prior_bytes, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(edited(prior_bytes, lambda header: header | {"budget": 9}))
    other = load_prior(path)
    assert other.budget == 9 and other.digest != prior.digest


def test_every_truncation_is_refused(prior_bytes, refuses):
    header = 8 + int.from_bytes(prior_bytes[:8], "little")
    ends = {0, 1, 7, 8, 9, header - 1, header, header + 1, len(prior_bytes) - 1}
    for end in sorted(ends | set(range(0, len(prior_bytes), len(prior_bytes) // 40))):
        refuses(prior_bytes[:end])
    refuses(prior_bytes + b"\0")


def test_flipped_header_bytes_never_raise_anything_else(prior, prior_bytes, tmp_path):
    header = 8 + int.from_bytes(prior_bytes[:8], "little")
    rng = np.random.default_rng(0)
    path = tmp_path / "flipped.safetensors"
    for at in [*range(8), *rng.choice(np.arange(8, header), 150, replace=False)]:
        blob = bytearray(prior_bytes)
        blob[at] ^= 1 << rng.integers(8)
        path.write_bytes(blob)
        try:
            assert load_prior(path).digest != prior.digest
        except ValueError as error:
            assert "flipped" in str(error)


@pytest.mark.parametrize(
    "change",
    [
        {"order": lambda x: x.astype(np.int64)},
        {"order": lambda x: x[:-1]},
        {"order": lambda x: np.append(x[:-1], x[0])},
        {"order": lambda x: np.append(x[:-1], np.int32(len(x)))},
        {"order": lambda x: np.where(x == 0, -1, x).astype(np.int32)},
        {"order": lambda x: x[:0], "widths": lambda x: x[:0]},
        {"order": lambda x: x[None]},
        {"order": lambda x: x[0]},
        {"widths": lambda x: x + np.int32(1)},
        {"widths": lambda x: np.append(x, np.int32(0))},
        {"widths": lambda x: np.append(x, np.array([-1, 1], np.int32))},
        {"widths": lambda x: np.array([2**31 - 1, 2**31 - 1, 2, x.sum()], np.int32)},
        {"scale": lambda x: x.astype(np.float16)},
        {"scale": lambda x: x.astype(np.float64)},
        {"scale": lambda x: 0 * x},
        {"scale": lambda x: -x},
        {"scale": lambda x: x * np.float32(np.nan)},
        {"scale": lambda x: x[1:]},
        {"log_std": lambda x: np.where(np.arange(len(x)) == 3, np.inf, x).astype(np.float32)},
        {"log_std": lambda x: x[:, None]},
        {"params['features']": lambda x: x.astype(np.float32)},
        {"params['features']": lambda x: x.T.copy()[:, :-1]},
        {"params['features']": lambda x: np.full_like(x, np.nan)},
        {"params['matrices'][0]": lambda x: x[:, :-1].copy()},
        {"params['matrices'][1]": lambda x: np.full_like(x, np.inf)},
        {"params['offsets'][2]": lambda x: x.astype(np.float16)},
    ],
)
def test_wrong_tensors_are_refused(prior_bytes, refuses, change):
    refuses(
        edited(
            prior_bytes,
            tensors=lambda old: old | {key: np.asarray(f(old[key])) for key, f in change.items()},
        )
    )


@pytest.mark.parametrize(
    "key",
    [
        "order",
        "widths",
        "scale",
        "log_std",
        "params['features']",
        "params['matrices'][0]",
        "params['offsets'][0]",
    ],
)
def test_missing_tensors_are_refused(prior_bytes, refuses, key):
    refuses(edited(prior_bytes, tensors=lambda old: {k: v for k, v in old.items() if k != key}))


@pytest.mark.parametrize(
    "header",
    [
        lambda h: h | {"format": 5},
        lambda h: h | {"format": None},
        lambda h: h | {"format": 1.5},
        lambda h: h | {"levels": 0},
        lambda h: h | {"levels": 3},
        lambda h: h | {"levels": 4},
        lambda h: h | {"levels": 2.0},
        lambda h: h | {"levels": True, "region": 0},
        lambda h: h | {"region": 0},
        lambda h: h | {"region": 1 << 40},
        lambda h: h | {"region": "4"},
        lambda h: h | {"budget": 3},
        lambda h: h | {"budget": 21},
        lambda h: h | {"budget": 8.0},
        lambda h: h | {"budget": "8"},
        lambda h: h | {"beta": 0.0},
        lambda h: h | {"beta": -1e-5},
        lambda h: h | {"beta": float("nan")},
        lambda h: h | {"beta": 10**400},
        lambda h: h | {"beta": [1]},
        lambda h: h | {"modality": "smell"},
        lambda h: h | {"modality": 0},
        lambda h: h | {"metadata": [1, 2]},
        lambda h: h | {"network": []},
        lambda h: [h],
        lambda h: 7,
        lambda h: None,
        lambda h: "",
        lambda h: "{",
        lambda h: '{"format": ' + "9" * 5000 + "}",
        lambda h: "[" * 100_000,
        lambda h: '{"format": 1, "network": ' + '{"a":' * 50_000 + "1" + "}" * 50_000 + "}",
        *(
            lambda h, key=key: {k: v for k, v in h.items() if k != key}
            for key in ("format", "network", "levels", "region", "beta", "budget")
        ),
    ],
)
def test_wrong_headers_are_refused(prior_bytes, refuses, header):
    refuses(edited(prior_bytes, header))


@pytest.mark.parametrize(
    "fields",
    [
        {"width": 10**9},
        {"width": 10**18},
        {"width": 2**64},
        {"width": -8},
        {"width": 8.0},
        {"width": "8"},
        {"width": None},
        {"width": True},
        {"layers": 10**9},
        {"layers": 10**18},
        {"layers": 2},
        {"features": 4 * 10**6},
        {"features": 4 * 10**12},
        {"features": 6},
        {"channels": 10**12},
        {"channels": 4},
        {"channels": 0},
        {"grid": [256, 256]},
        {"grid": [2**40, 2**40]},
        {"grid": [-8, -8]},
        {"grid": [8.0, 8.0]},
        {"grid": [8]},
        {"grid": [1] * 100_000},
        {"grid": 64},
        {"grid": []},
        {"grid": None},
        {"latents": None},
        {"latents": [10**9, 0, 0]},
        {"latents": [1, 1]},
        {"latents": [-1, 1, 1]},
        {"latents": [[1], [2], [3]]},
        {"latents": ["1", "2", "3"]},
        {"max_frequency": "high"},
        {"max_frequency": float("nan")},
        {"max_frequency": 0},
        {"max_frequency": [4.0]},
        {"omega": {"a": 1}},
        {"reparameterise": "no"},
        {"learn_features": 1},
        {"learn_features": [1]},
        {"encoding": None},
        {"encoding": []},
        {"encoding": 3},
        {"encoding": {"depth": 2}},
        {"encoding": {"depth": 0, "unknown": 1}},
        *(
            {
                "encoding": {
                    "depth": 2,
                    "cells": [2, 2],
                    "factors": [4],
                    "hidden": [],
                    "encodings": 4,
                }
                | change
            }
            for change in (
                {},
                {"depth": -1},
                {"depth": 2**40},
                {"depth": [2]},
                {"depth": True},
                {"cells": [4, 4]},
                {"cells": [2.0, 2]},
                {"cells": 2},
                {"cells": [2, 2, 2]},
                {"factors": [3]},
                {"factors": []},
                {"factors": [1 << 16], "cells": [1, 1]},
                {"factors": [2] * 50_000},
                {
                    "hidden": [1 << 16, 1 << 16],
                    "factors": [2, 2, 2],
                    "cells": [1, 1],
                    "depth": 1 << 16,
                },
                {"hidden": [[1]]},
                {"encodings": 1 << 16},
                {"encodings": "4"},
                {"encodings": None},
            )
        ),
        {"unknown": 1},
    ],
)
def test_impossible_networks_are_refused(prior_bytes, refuses, fields):
    refuses(edited(prior_bytes, with_fields(**fields)))


@pytest.mark.parametrize(
    "blob",
    [
        b"\xff" * 64,
        (2**63).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"{}",
        (15).to_bytes(8, "little") + b'{"a":[1,2,3,4]}',
        b"\x89PNG\r\n\x1a\n" + bytes(100),
    ],
)
def test_other_files_are_refused(blob, refuses):
    refuses(blob)


def test_other_number_formats_are_refused(prior_bytes, refuses):
    # safetensors knows types that NumPy does not
    refuses(prior_bytes.replace(b'"dtype":"F16"', b'"dtype":"BF16"'[:14].ljust(13)))
    refuses(prior_bytes.replace(b'"F32"', b'"I32"'))


def test_unknown_names_say_what_there_is(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        load_prior(tmp_path / "nothing")
    with pytest.raises(ValueError, match="cannot be read"):
        load_prior(tmp_path)
    with pytest.raises(ValueError, match="embedded priors: "):
        load_prior("no-such-prior")


def test_files_without_end_are_refused():
    with pytest.raises(ValueError, match="not a file"):
        load_prior("/dev/zero")


@pytest.mark.parametrize("fields", [{"channels": 1}, {"grid": (64,)}])
def test_networks_of_other_signals_than_images_are_refused(prior, tmp_path, fields):
    config = dataclasses.replace(prior.config, **fields, latents=None)
    count = config.n_latents
    config, params = pruned(
        config, initial_network(config), np.zeros(count, np.float32), np.ones(count, bool)
    )
    (group,) = prior.groups
    group = dataclasses.replace(
        group,
        scale=np.ones(count, np.float32),
        log_std=np.zeros(count, np.float32),
        order=np.arange(count, dtype=np.int32),
        widths=np.array([count], np.int32),
    )
    other = dataclasses.replace(
        prior, config=config, params=params, groups=(group,), region=(1,) * config.rank
    )
    path = tmp_path / "other.safetensors"
    siren_prior.save(other, path)
    with pytest.raises(ValueError, match=r"axes and . channels is not one for image"):
        load_prior(path)


@pytest.mark.parametrize("name", sorted(embedded_priors()))
def test_embedded_priors_state_their_origin(name):
    prior = load_prior(name)
    assert prior.name == name
    for key in ("data", "licence", "command", "training"):
        assert prior.metadata[key], key


@pytest.mark.parametrize("name", sorted(embedded_priors()))
def test_embedded_priors_have_a_model_card_that_says_what_they_say(name):
    cards = embedded_priors()[name].with_name("README.md").read_text().split("\n## ")
    (card,) = (card for card in cards if f"`{name}`" in card.splitlines()[0])
    metadata = load_prior(name).metadata
    for key in ("data", "licence", "data_sha256"):
        assert metadata[key] in " ".join(card.split()), key


def test_of_the_embedded_priors_only_those_of_a_file_are_parsed(monkeypatch):
    own = load_prior("photo-low")
    parsed = []
    monkeypatch.setattr(prior_files, "_parse", lambda blob, name: parsed.append(name) or own)
    assert prior_files.embedded_with(own.digest[:3]) == [own] and parsed == ["photo-low"]
    assert prior_files.embedded_with(bytes(3)) == [] and parsed == ["photo-low"]


def test_the_list_of_priors_rises_with_quality(capsys):
    assert cli.main(["priors", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    for family in (
        ["photo-low", "photo-medium", "photo-high", "photo-best"],
        ["photo-siren-low", "photo-siren-high"],
    ):
        for low, high in itertools.pairwise(family):
            assert facts[low]["kind"] == facts[high]["kind"]
            assert 0 < facts[low]["reached"]["kl_bpp"] < facts[high]["reached"]["kl_bpp"] < 2
            assert 20 < facts[low]["reached"]["psnr"] < facts[high]["reached"]["psnr"]
