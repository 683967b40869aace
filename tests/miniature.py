"""A kind of prior without training: the mean of every patch, quantised; and the command line on it.

It works at every rank and number of channels, its rate is free, and a file of it takes no
compilation. `FIXED` is the same with one rate per prior.
"""

import dataclasses
import json
import math
import re
import types
from pathlib import Path

import numpy as np
import safetensors.numpy

from recjax import cli
from recjax.bits import stream
from recjax.codec import kinds, prior_files
from recjax.codec.payload import Payload
from recjax.codec.prior import FORMAT, Prior
from recjax.errors import FormatError
from recjax.modalities import Grid
from recjax.modalities.grid import cut, filled_up, join, n_patches


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ToyPrior(Prior):
    """Patches are coded by their means.

    Attributes:
        sides: of a patch.
        depth: channels.
        step: quantisation step at the multiplier 1.
        least_price: below it a posterior is said not to be finite.
    """

    kind = "toy"
    rate_is_free = True

    sides: tuple[int, ...]
    depth: int
    step: float
    least_price: float

    @property
    def patch(self):
        return self.sides

    @property
    def channels(self):
        return self.depth

    @property
    def summary(self):
        return {"kind": "toy", "blocks": 1}


@dataclasses.dataclass(frozen=True)
class ToyEffort:
    level: int
    extra_bits: int = 0


def parse(header, tensors, n_bytes, common):
    fields = {name: header[name] for name in ("depth", "step", "least_price")}
    return ToyPrior(**common, sides=tuple(header["sides"]), **fields)


def encode(grids, prior, settings, key, *, prices, progress):
    if any(price < prior.least_price for price in prices):
        raise ValueError("a posterior is not finite")
    return [_payload(prior, grid, price) for grid, price in zip(grids, prices, strict=True)]


def decode(prior, files):
    return [_decode(prior, *file) for file in files]


def account(prior, header, payload):
    _, numbers = _read(prior, header, payload)
    return {"patch": {"blocks": len(numbers), "index_bits": 8.0 * len(payload)}}


# the first two bytes say the quantisation step, 2^(number / 2048 - 12), the rest the numbers of
# steps
_FINE, _LAST = 2048, 12 * 2048 - 1


def _model(step):
    most = math.ceil(0.5 / step) + 1
    return stream.model.QuantizedGaussian(-most, most, 0.0, 0.2 / step)


def _payload(prior, grid, price):
    code = round(_FINE * (math.log2(prior.step * math.sqrt(price)) + 12))
    code = min(max(code, 0), _LAST)
    step = 2 ** (code / _FINE - 12)
    means = cut(filled_up(grid.values, prior.patch), prior.patch).reshape(
        -1, math.prod(prior.patch), prior.channels
    )
    numbers = np.rint(means.mean(1) / step).astype(np.int32)
    encoder = stream.queue.RangeEncoder()
    encoder.encode(numbers.ravel(), _model(step))
    data = code.to_bytes(2, "big") + stream.shortest(encoder)
    return Payload(
        stream=data,
        exponent=0,
        stream_bits=8.0 * len(data),
        kl_bits={"patch": numbers.size * math.log2(1 / step)},
        latents={"patch": numbers.astype(np.float32)},
    )


def _read(prior, header, payload):
    count = math.prod(n_patches(header.sides(prior), prior.patch)) * prior.channels
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or code > _LAST or count > 2**20:
        raise FormatError("the index stream is cut off")
    step = 2 ** (code / _FINE - 12)
    try:
        numbers = stream.reader(payload[2:]).decode(_model(step), count)
    except AssertionError:
        raise FormatError("the index stream is damaged") from None
    return step, numbers.reshape(-1, prior.channels)


def _decode(prior, header, payload):
    step, numbers = _read(prior, header, payload)
    sides = header.sides(prior)
    means = (numbers * step).astype(np.float32)
    ones = np.ones((1, *prior.patch, 1), np.float32)
    patches = ones * means.reshape(-1, *[1] * len(prior.patch), prior.channels)
    return Grid(join(patches, sides, prior.patch), flag=header.flag)


class FixedToyPrior(ToyPrior):
    """A toy whose rate is that of its step."""

    kind = "fixed"
    rate_is_free = False


def parse_fixed(header, tensors, n_bytes, common):
    return FixedToyPrior(**vars(parse(header, tensors, n_bytes, common)))


TOY = types.SimpleNamespace(
    parse=parse, effort=ToyEffort, encode=encode, decode=decode, account=account
)
FIXED = types.SimpleNamespace(**vars(TOY) | {"parse": parse_fixed})


def write_toy(
    path, *, kind="toy", modality="image", sides=(8, 8), depth=3, step=1 / 16, least_price=0.0
):
    """Writes a prior file of a toy kind."""
    training = {
        "curve": [{"kl_bits": 32.0, "psnr": 20.0}],
        "config": {"network": {"grid": list(sides)}},
    }
    header = {
        "format": FORMAT,
        "kind": kind,
        "modality": modality,
        "sides": list(sides),
        "depth": depth,
        "step": step,
        "least_price": least_price,
        "beta": step**2 / 10,
        "budget": 12,
        "metadata": {"data": Path(path).stem, "licence": "none", "training": training},
    }
    tensors = {"unused": np.zeros(1, np.float32)}
    Path(path).write_bytes(safetensors.numpy.save(tensors, metadata={"recjax": json.dumps(header)}))
    return Path(path)


def install(monkeypatch, folder, **settings):
    """Registers the toy kinds, and embeds toy priors in place of those of the package.

    Args:
        monkeypatch: of pytest.
        folder: the folder of the priors, which is made.
        settings: further arguments of `write_toy`.
    """
    monkeypatch.setitem(kinds.KINDS, "toy", TOY)
    monkeypatch.setitem(kinds.KINDS, "fixed", FIXED)
    folder.mkdir()
    for number, quality in enumerate(("low", "medium", "high", "best")):
        path = folder / f"photo-{quality}.safetensors"
        write_toy(path, step=2.0 ** -(number + 2), **settings)
    monkeypatch.setattr(prior_files, "EMBEDDED", folder)


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
