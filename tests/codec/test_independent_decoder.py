"""A decoder written from recjax/FORMAT.md agrees with recjax on all golden files; the page has the code's constants."""

import ast
import sys
from pathlib import Path

import independent
import jax.numpy as jnp
import numpy as np
import pytest

from recjax import randomness
from recjax.bits import container
from recjax.bits.range_coder import decode_indices
from recjax.codec import decompress, inr_decoding, load_prior, pyramid, transform_decoding
from recjax.codec.transform_stream import read_stream
from recjax.modalities import load

pytestmark = pytest.mark.standard_promotion

GOLDEN = Path(__file__).parent / "golden"
FORMAT = Path(container.__file__).parents[1] / "FORMAT.md"
PRIORS = {path.stem: independent.read_prior(path) for path in sorted(GOLDEN.glob("*.safetensors"))}
INR = {"colour": "waves", "gray": "waves", "trellis": "waves", "hierarchy": "hierarchy"}
FILES = sorted(path.stem for path in GOLDEN.glob("*.rec"))


def opened(name):
    return independent.parse((GOLDEN / f"{name}.rec").read_bytes(), list(PRIORS.values()))


def latents_of(name, prior, module, function, monkeypatch):
    """What recjax's decoder hands to ``module.function``, which makes pixels of it."""
    seen, original = [], getattr(module, function)
    monkeypatch.setattr(module, function, lambda *args: seen.append(args) or original(*args))
    decompress((GOLDEN / f"{name}.rec").read_bytes(), priors=[prior])
    return seen[0]


def assert_samples_agree(found, expected):
    """Not bit for bit: recjax computes in float32, by an approximation of 7 digits, where the page asks for no more."""
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=0)


def test_all_golden_files_are_compared():
    assert set(FILES) == {*INR, "pyramid"}


def test_headers_agree():
    for name in FILES:
        header, payload = container.parse((GOLDEN / f"{name}.rec").read_bytes())
        file, prior = opened(name)
        assert file.stream == payload and prior.digest[:3] == header.digest_prefix
        for field in ("version", "scheme", "gray", "extra_bits", "exponent"):
            assert getattr(file, field) == getattr(header, field)
        assert header.shape is None or file.shape == header.shape


@pytest.mark.parametrize("name", sorted(INR))
def test_indices_and_latents_of_networks_agree(name, monkeypatch):
    file, own = opened(name)
    found = independent.decode_inr(file, own)
    prior = load_prior(GOLDEN / f"{INR[name]}.safetensors")
    sizes = np.full(len(found.indices), prior.budget + (file.extra_bits if file.version == 1 else 0))
    assert found.indices == decode_indices(file.stream, sizes, file.exponent).tolist()
    _, batch, z, _ = latents_of(name, prior, inr_decoding, "render", monkeypatch)
    for rows, expected, latents in zip(batch.rows, z, found.latents, strict=True):
        assert_samples_agree(latents, np.asarray(expected)[:rows])


def test_parts_and_latents_of_transforms_agree(monkeypatch):
    file, own = opened("pyramid")
    found = independent.decode_transform(file, own)
    prior = load_prior(GOLDEN / "pyramid.safetensors")
    parts = read_stream(prior, (5, 6), file.stream)
    np.testing.assert_equal([*found.numbers.values()], parts.numbers)
    np.testing.assert_equal(found.classes, parts.classes)
    assert [*found.factors.values()] == parts.factors
    assert [*found.indices.values()] == [index.tolist() for index in parts.indices]
    for level, factor in found.factors.items():
        blocks = pyramid.blocks_of(prior, level, parts.classes, factor)
        assert [len(block) for block in found.blocks[level]] == blocks.widths.tolist()
        assert np.concatenate(found.blocks[level]).tolist() == blocks.latents.tolist()
    _, grids, _, _ = latents_of("pyramid", prior, transform_decoding, "image_of", monkeypatch)
    for level, grid in enumerate(grids):
        assert_samples_agree(found.latents[level], grid)


@pytest.mark.parametrize("name", FILES)
def test_pixels_agree(name):
    file, prior = opened(name)
    if name in INR:
        pixels = independent.inr_pixels(file, prior, independent.decode_inr(file, prior).latents)
    else:
        pixels = independent.transform_pixels(file, prior, independent.decode_transform(file, prior).latents)
    difference = np.abs(pixels.astype(int) - load(GOLDEN / f"{name}.png").values)
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_is_refused(name):
    blob = (GOLDEN / f"{name}.rec").read_bytes()
    for bit in range(8 * len(blob)):
        damaged = bytearray(blob)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="checksum" if bit >= 64 else "checksum|prior|version"):
            independent.parse(bytes(damaged), list(PRIORS.values()))


def test_the_decoder_is_independent():
    for path in Path(independent.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert {name.split(".")[0] for name in names} <= {"independent", "numpy", *sys.stdlib_module_names}


def test_constants_of_the_page():
    page = FORMAT.read_text()
    assert f"magic `{container.MAGIC.hex(' ').upper()}`" in page
    assert f"format version, {container.VERSION};" in page
    assert randomness.SCHEME == 1 and "scheme of the shared randomness, 1 " in page
    words = randomness.threefry2x32(jnp.zeros(2, jnp.uint32), jnp.uint32(0), jnp.uint32(0))
    assert "`{:08X} {:08X}`".format(*map(int, words)) in page
