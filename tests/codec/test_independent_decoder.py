"""A decoder written from recjax/FORMAT.md agrees with recjax on all golden files; the page has the
code's constants."""

import ast
import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import independent
import jax.numpy as jnp
import numpy as np
import pytest
from independent.inr import Inr

from recjax import randomness
from recjax.bits.range_coder import decode_indices, encode_indices
from recjax.codec import container, decompress, load_prior
from recjax.codec.header import Header
from recjax.codec.segments import segments
from recjax.codec.siren import decoding as inr_decoding
from recjax.codec.transform import decoding as transform_decoding
from recjax.codec.transform import layout
from recjax.codec.transform.stream import Parts, read_stream, write_stream
from recjax.modalities import load
from recjax.modalities.grid import n_patches
from recjax.modalities.image import IMAGE

pytestmark = pytest.mark.standard_promotion

GOLDEN = Path(__file__).parent / "golden"
FORMAT = Path(container.__file__).parents[1] / "FORMAT.md"
GOLDEN_FILES = {
    "colour": "waves",
    "gray": "waves",
    "trellis": "waves",
    "hierarchy": "hierarchy",
    "pyramid": "pyramid",
}


def packed(prior, payload, **fields):
    fields = {"scheme": 1, "flag": False, "exponent": 0, "extra_bits": 1, "shape": None} | fields
    header = Header(modality=IMAGE, digest_prefix=prior.digest[:3], **fields)
    return container.pack(header, payload, prior.digest)


def random_indices(prior, patches, **fields):
    """A file of random indices, of so many rows and columns of patches."""
    sizes = np.full(sum(prior.blocks_in(patches)), prior.budget)
    indices = np.random.default_rng(0).integers(0, 1 << sizes)
    return packed(prior, encode_indices(indices, sizes, fields.get("exponent", 0)), **fields)


def random_pyramid(prior):
    """A file of random parts, long enough for the other checksum and the other length of chains."""
    rng, cells = np.random.default_rng(0), (19, 22)
    numbers = [np.clip(rng.normal(0, 3, (*cells, 14)), -255, 255).astype(np.int64)]
    classes, factors = rng.integers(0, 16, (38, 44)), [3, 6]
    units = [
        layout.count_units(prior, level, classes, factor)
        for level, factor in zip((1, 0), factors, strict=True)
    ]
    counts = [layout.count_blocks(total, prior.budget) for total in units]
    assert min(counts) <= 512 < max(counts)
    parts = Parts(
        numbers, classes, factors, [rng.integers(0, 1 << prior.budget, count) for count in counts]
    )
    blob = packed(prior, write_stream(prior, parts), shape=(300, 340), extra_bits=3)
    assert len(blob) >= 4096
    return blob


MADE_FILES = {
    "linked hierarchy": (
        "hierarchy",
        partial(random_indices, patches=(4, 3), shape=(29, 21), exponent=60),
    ),
    "shape of a patch": ("odd", partial(random_indices, patches=(1, 1), flag=True)),
    "long": ("pyramid", random_pyramid),
}
FILES = [*GOLDEN_FILES, *MADE_FILES]


@pytest.fixture(scope="module")
def prior_paths(tmp_path_factory):
    """The golden priors, and one of them with an odd budget, which has no middle."""
    paths = {path.stem: path for path in GOLDEN.glob("*.safetensors")}
    blob = paths["waves"].read_bytes().replace(b'budget\\": 8', b'budget\\": 9')
    paths["odd"] = tmp_path_factory.mktemp("prior") / "odd.safetensors"
    paths["odd"].write_bytes(blob)
    return paths


class Case(NamedTuple):
    blob: bytes
    prior: Any
    file: independent.File
    own_prior: independent.Prior
    found: Any


@pytest.fixture(scope="module", params=FILES)
def case(request, prior_paths):
    """A file, as the second decoder reads it."""
    made = MADE_FILES.get(request.param)
    name = made[0] if made else GOLDEN_FILES[request.param]
    prior = load_prior(prior_paths[name])
    blob = made[1](prior) if made else (GOLDEN / f"{request.param}.rec").read_bytes()
    file, own_prior = independent.parse(
        blob, [independent.read_prior(path) for path in prior_paths.values()]
    )
    decode = independent.decode_transform if name == "pyramid" else independent.decode_inr
    return Case(blob, prior, file, own_prior, decode(file, own_prior))


def test_all_golden_files_are_compared():
    assert {*GOLDEN_FILES, "segments", "staged"} == {path.stem for path in GOLDEN.glob("*.rec")}


def test_segments_agree(prior_paths):
    blob = (GOLDEN / "segments.rec").read_bytes()
    prior = load_prior(prior_paths["pyramid"])
    header, payload = container.verify(blob, prior.digest)
    file, own_prior = independent.parse(blob, [independent.read_prior(prior_paths["pyramid"])])
    assert file.version == header.version == 3 and file.shape == header.shape == (70, 90)
    parts = segments(header, payload, prior.digest)
    for own, (part, stream) in zip(file.segments, parts, strict=True):
        assert (own.shape, own.exponent, own.stream) == (part.shape, part.exponent, stream)
    pixels = [
        independent.transform_pixels(
            own, own_prior, independent.decode_transform(own, own_prior).latents
        )
        for own in file.segments
    ]
    assert_pixels_agree(np.concatenate(pixels), load(GOLDEN / "segments.png").values)


def test_staged_coefficients_agree(prior_paths):
    blob = (GOLDEN / "staged.rec").read_bytes()
    header, payload = container.parse(blob)
    own = independent.File(3, 1, True, 0, 0, header.shape, payload, header.meta, ())
    values = independent.decode_staged(own, independent.read_prior(prior_paths["staged"]))
    expected = load(GOLDEN / "staged.wav").values
    # the file has 24 bits
    np.testing.assert_allclose(2 * values, expected, atol=1e-6)


def test_headers_agree(case):
    header, payload = container.parse(case.blob)
    assert case.file.stream == payload and case.own_prior.digest == case.prior.digest
    assert case.file.gray == header.flag
    for field in ("version", "scheme", "extra_bits", "exponent"):
        assert getattr(case.file, field) == getattr(header, field)
    assert case.file.shape == (header.shape or case.prior.patch)


def test_integers_agree(case):
    file, found, prior = case.file, case.found, case.prior
    if isinstance(found, Inr):
        sizes = np.full(
            len(found.indices), prior.budget + (file.extra_bits if file.version == 1 else 0)
        )
        assert found.indices == decode_indices(file.stream, sizes, file.exponent).tolist()
        return
    parts = read_stream(prior, n_patches(file.shape, prior.patch), file.stream)
    np.testing.assert_equal([*found.numbers.values()], parts.symbols)
    np.testing.assert_equal(found.classes, parts.classes)
    assert [*found.factors.values()] == parts.rate_factors
    assert [*found.indices.values()] == [index.tolist() for index in parts.indices]
    for level, factor in found.factors.items():
        blocks = layout.blocks_of(prior, level, parts.classes, factor)
        assert [len(block) for block in found.blocks[level]] == blocks.widths.tolist()
        assert np.concatenate(found.blocks[level]).tolist() == blocks.latents.tolist()


def test_samples_and_pixels_agree(case, monkeypatch):
    """Samples not bit for bit: recjax has them in float32, by an approximation of 4e-7. Pixels to
    one level."""
    seen = []
    for module, function in ((inr_decoding, "render"), (transform_decoding, "values_of")):
        original = getattr(module, function)
        monkeypatch.setattr(
            module, function, lambda *args, call=original: seen.append(args) or call(*args)
        )
    expected = decompress(case.blob, priors=[case.prior]).values
    latents = case.found.latents
    if isinstance(case.found, Inr):
        _, batch, z, _ = seen[0]
        pairs = [
            (own, np.asarray(own_z)[:rows])
            for own, own_z, rows in zip(latents, z, batch.rows, strict=True)
        ]
        pixels = independent.inr_pixels(case.file, case.own_prior, latents)
    else:
        pairs = [(latents[level], grid) for level, grid in enumerate(seen[0][1])]
        pixels = independent.transform_pixels(case.file, case.own_prior, latents)
    for own, of_recjax in pairs:
        np.testing.assert_allclose(own, of_recjax, rtol=1e-6, atol=0)
    assert_pixels_agree(pixels, expected)


@pytest.mark.parametrize("case", GOLDEN_FILES, indirect=True)
def test_pixels_are_the_golden_ones(case, request):
    decode = independent.inr_pixels if isinstance(case.found, Inr) else independent.transform_pixels
    pixels = decode(case.file, case.own_prior, case.found.latents)
    assert_pixels_agree(pixels, load(GOLDEN / f"{request.node.callspec.params['case']}.png").values)


def assert_pixels_agree(a, b):
    difference = np.abs(a.astype(int) - b)
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01


def test_flipped_bits_are_refused(case):
    bits = np.arange(8 * len(case.blob))
    for bit in (
        bits if len(bits) < 5000 else np.random.default_rng(0).choice(bits, 1000, replace=False)
    ):
        damaged = bytearray(case.blob)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="checksum" if bit >= 64 else "checksum|prior|version"):
            independent.parse(bytes(damaged), [case.own_prior])


def test_the_decoder_is_independent():
    for path in Path(independent.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert {name.split(".")[0] for name in names} <= {
                "independent",
                "numpy",
                *sys.stdlib_module_names,
            }


def test_constants_of_the_page():
    page = FORMAT.read_text()
    assert f"magic `{container.MAGIC.hex(' ').upper()}`" in page
    assert f"format version, 2 or {container.VERSION};" in page
    assert randomness.SCHEME == 1 and "scheme of the shared randomness, 1 " in page
    words = randomness.threefry2x32(jnp.zeros(2, jnp.uint32), jnp.uint32(0), jnp.uint32(0))
    assert "`{:08X} {:08X}`".format(*map(int, words)) in page
