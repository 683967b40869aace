"""Files of earlier versions, with the priors they need: every later release must decode them to these pixels.

They are never made anew. If a test here fails, the change needs a new scheme or format version.
"""

from pathlib import Path

import numpy as np
import pytest

from recjax.bits.range_coder import decode_indices
from recjax.codec import decompress, load_prior
from recjax.codec.container import parse
from recjax.codec.segments import segments
from recjax.codec.staged.stream import read
from recjax.codec.transform.stream import read_stream
from recjax.modalities import load

GOLDEN = Path(__file__).parent / "golden"
# prior, rows and columns of patches, first indices of the stream
FILES = {
    "colour": ("waves", (2, 3), [632, 1010, 2, 84, 974, 541]),
    "gray": ("waves", (1, 1), [676, 16, 580, 546, 94, 28]),
    "hierarchy": ("hierarchy", (4, 3), [251, 2, 238, 1, 1, 76]),
    "trellis": ("waves", (2, 3), [37, 35, 211, 243, 53, 208]),
}

SEGMENT_BYTES = [231, 239, 123]


@pytest.mark.parametrize("name", sorted(FILES))
def test_files_decode_as_they_did(name):
    prior_name, patches, first = FILES[name]
    prior = load_prior(GOLDEN / f"{prior_name}.safetensors")
    blob = (GOLDEN / f"{name}.rec").read_bytes()
    header, payload = parse(blob)
    n_blocks = sum(prior.blocks_in(patches))
    indices = decode_indices(
        payload, np.full(n_blocks, header.log2_indices(prior.budget)), header.exponent
    )
    assert indices[:6].tolist() == first
    assert_decodes(blob, prior, load(GOLDEN / f"{name}.png"))


def test_files_of_transforms_decode_as_they_did():
    """Numbers of the top level, classes and indices are in the stream of a pyramid."""
    prior = load_prior(GOLDEN / "pyramid.safetensors")
    blob = (GOLDEN / "pyramid.rec").read_bytes()
    header, payload = parse(blob)
    assert header.version == 2 and header.extra_bits == 2
    parts = read_stream(prior, (5, 6), payload)
    (symbols,) = parts.symbols
    assert symbols.ravel()[:6].tolist() == [6, 0, -4, 2, -6, -4]
    assert parts.classes.shape == (10, 12) and parts.classes[0, :6].tolist() == [7, 2, 2, 3, 3, 3]
    assert parts.rate_factors == [33, 39]
    assert [index[:4].tolist() for index in parts.indices] == [
        [101, 252, 192, 156],
        [190, 44, 221, 123],
    ]
    assert_decodes(blob, prior, load(GOLDEN / "pyramid.png"))


def test_files_of_several_segments_decode_as_they_did():
    prior = load_prior(GOLDEN / "pyramid.safetensors")
    blob = (GOLDEN / "segments.rec").read_bytes()
    header, payload = parse(blob)
    assert (header.version, header.segment, header.segments) == (3, 32, 3)
    sizes = [len(stream) for _, stream in segments(header, payload, prior.digest)]
    assert sizes == SEGMENT_BYTES
    assert_decodes(blob, prior, load(GOLDEN / "segments.png"))


def test_files_of_staged_coefficients_decode_as_they_did():
    prior = load_prior(GOLDEN / "staged.safetensors")
    blob = (GOLDEN / "staged.rec").read_bytes()
    header, payload = parse(blob)
    assert header.version == 3 and header.modality.name == "audio"
    head, found, scales = read(prior, payload, 1500)
    assert head == (2485, 0, (166, 163)) and found.shape == (2, 7, 256)
    assert found[0, 0, :6].tolist() == [-169, 228, 225, -341, -623, -120]
    assert scales[1, 2, :5].tolist() == [45, 43, 45, 44, 47]
    sound, expected = decompress(blob, priors=[prior]), load(GOLDEN / "staged.wav")
    assert sound.meta == expected.meta
    # rounding of the transform's last bits may move a value by one level on another machine
    assert np.abs(sound.values - expected.values).max() < 1.5 / (1 << 23)


def assert_decodes(blob, prior, expected):
    image = decompress(blob, priors=[prior])
    assert image.meta == expected.meta
    # rounding of the network's last bits may move a pixel by one level on another device
    difference = np.abs(image.values.astype(int) - expected.values)
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01
