"""A miniature codec that keeps the mean colour of every 8x8 patch to 4 bits, and the command line on it."""

import dataclasses
import hashlib
import re
import types
from pathlib import Path

import numpy as np

import recjax
from recjax import cli
from recjax.bits import range_coder, zipf
from recjax.codec import container
from recjax.modalities.image import pixels as im


@dataclasses.dataclass(frozen=True)
class MiniaturePrior:
    name: str = "photo-high"
    modality: str = "image"
    patch_shape: tuple = (8, 8, 3)
    budget: int = 12

    @property
    def digest(self):
        return hashlib.sha256(self.name.encode()).digest()

    @property
    def metadata(self):
        training = {
            "curve": [{"kl_bits": 32.0, "psnr": 20.0}],
            "config": {"network": {"grid": [8, 8]}},
        }
        return {"licence": "none", "training": training}

    @property
    def summary(self):
        return {"blocks": 1}


@dataclasses.dataclass(frozen=True)
class Compressed:
    blob: bytes
    kl_bits: float
    index_bits: float
    header_bits: int
    psnr: float


def miniature_codec():
    codec = types.ModuleType("recjax.codec")
    names = dict.fromkeys(f"photo-{quality}" for quality in ("low", "medium", "high", "best"))

    def load_prior(name):
        if str(name) not in names:
            raise ValueError(f"there is no prior {name}")
        return MiniaturePrior(str(name))

    def compress(one, prior):
        values = one.values
        levels = im.to_patches(values, prior.patch_shape)[0].mean((1, 2)).astype(int) >> 4
        indices = levels @ [256, 16, 1]
        header = container.Header(
            scheme=1,
            modality=container.Modality.IMAGE,
            shape=None if values.shape == prior.patch_shape else values.shape[:2],
            gray=one.meta["gray"],
            extra_bits=0,
            exponent=zipf.best_exponent(indices, np.full(indices.size, 12)),
            digest_prefix=prior.digest[:3],
        )
        payload = range_coder.encode_indices(indices, np.full(indices.size, 12), header.exponent)
        bits = float(zipf.codelength_bits(indices, 12, header.exponent).sum())
        blob = container.pack(header, payload, prior.digest)
        return Compressed(blob, 10.0, bits, container.header_bits(header, payload), 20.0)

    def decompress(blob, priors):
        prefix = container.parse(blob)[0].digest_prefix
        known = [
            prior for prior in (*priors, *map(load_prior, names)) if prior.digest[:3] == prefix
        ]
        if not known:
            raise recjax.FormatError(f"no prior {prefix.hex()} is known")
        header, payload = container.verify(blob, known[0].digest)
        shape = header.shape or known[0].patch_shape[:2]
        count = np.prod(im.n_patches(shape, (8, 8)))
        indices = range_coder.decode_indices(payload, np.full(count, 12), header.exponent)
        levels = (indices[:, None] // [256, 16, 1] % 16 * 16 + 8).astype(np.uint8)
        patches = np.broadcast_to(levels[:, None, None], (count, 8, 8, 3))
        return recjax.Signal(
            im.from_patches(patches, shape, (8, 8)), "image", {"gray": header.gray}
        )

    def stream_parts(prior, header, payload):
        sizes = np.full(np.prod(im.n_patches(header.shape or prior.patch_shape[:2], (8, 8))), 12)
        indices = range_coder.decode_indices(payload, sizes, header.exponent)
        bits = float(zipf.codelength_bits(indices, sizes, header.exponent).sum())
        return {"patch": {"blocks": len(sizes), "index_bits": round(bits, 2)}}

    codec.stream_parts = types.ModuleType("recjax.codec.stream_parts")
    codec.stream_parts.stream_parts = stream_parts
    codec.load_prior = load_prior
    codec.embedded_priors = lambda: names
    codec.embedded_with = lambda prefix: [
        p for p in map(load_prior, names) if p.digest.startswith(prefix)
    ]
    codec.encode_batch = lambda signals, prior, **_: [compress(each, prior) for each in signals]
    codec.decompress_batch = lambda blobs, *, priors=(): [
        decompress(blob, priors) for blob in blobs
    ]
    return codec


def run(capsys, *argv):
    code = cli.main([str(word) for word in argv])
    out, err = capsys.readouterr()
    return code, out, err


def refused(capsys, *argv, code=1):
    """Runs a command that must fail with one line on stderr; returns the line."""
    before = set(Path.cwd().rglob("*"))
    got, out, err = run(capsys, *argv)
    assert got == code and out == "" and re.fullmatch(r"recjax: [^\n]+\n", err), (got, out, err)
    left = {path for path in set(Path.cwd().rglob("*")) - before if "cache" not in path.parts}
    assert not left
    return err
