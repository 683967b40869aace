"""Files damaged by chance or by intent: bytes, headers, shapes and descriptions; and streams that claim much.

Every mutation is a function of a generator and a file; `hostile_files` and `hostile_priors` draw among them for ever.
"""

import binascii
import json
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import safetensors.numpy

from recjax.bits.range_coder import encode_indices
from recjax.codec import Prior
from recjax.codec.container import Header, pack, parse
from recjax.codec.transform.layout import count_blocks, count_units
from recjax.codec.transform.prior import TransformPrior
from recjax.codec.transform.stream import Parts, write_stream
from recjax.modalities.grid import n_patches
from recjax.modalities.image import IMAGE

MAX_PIXELS = 1 << 20
EXTREMES = (0, 1, 127, 128, 255)
SIDES = (0, 1, 63, 64, 65, 1024, 4095, 4096, 4097, 65535, 65536)
VALUES = (0, 1, -1, 3, 8, 255, 4096, 65536, 2**31, 2**63, 10**400, 0.5, 1e308, float("nan"), None, True, "", "8",
          [], {}, [0], [1 << 40] * 2)  # fmt: skip

Mutation = Callable[[np.random.Generator, bytes, bytes], bytes]


def flipped(rng, data, other):
    out = np.frombuffer(data, np.uint8).copy()
    for at in rng.integers(0, len(out), rng.integers(1, 6)):
        out[at] ^= 1 << rng.integers(8)
    return out.tobytes()


def overwritten(rng, data, other):
    """A run of random bytes, of zeros or of ones."""
    at, length = rng.integers(len(data)), int(rng.integers(1, 17))
    run = [rng.bytes(length), bytes(length), b"\xff" * length][rng.integers(3)]
    return data[:at] + run[: len(data) - at] + data[at + length :]


def inserted(rng, data, other):
    at = rng.integers(len(data) + 1)
    return data[:at] + rng.bytes(int(rng.integers(1, 17))) + data[at:]


def deleted(rng, data, other):
    at = rng.integers(len(data))
    return data[:at] + data[at + rng.integers(1, 17) :]


def spliced(rng, data, other):
    return data[: rng.integers(len(data) + 1)] + other[rng.integers(len(other) + 1) :]


def cut(rng, data, other):
    return data[: rng.integers(len(data))]


def extreme(rng, data, other):
    """A byte of the header."""
    at = rng.integers(min(12, len(data)))
    return data[:at] + bytes([rng.choice(EXTREMES)]) + data[at + 1 :]


DAMAGE: dict[str, Mutation] = {
    "bits": flipped, "bytes": overwritten, "inserted": inserted, "deleted": deleted, "spliced": spliced, "cut": cut,
    "header": extreme,
}  # fmt: skip


def sealed(body: bytes, digest: bytes) -> bytes:
    """With the checksum that belongs to it."""
    if len(body) + 2 < 4096:
        return body + binascii.crc_hqx(body + digest, 0xFFFF).to_bytes(2, "big")
    return body + zlib.crc32(body + digest).to_bytes(4, "big")


def varint(value: int) -> bytes:
    out = []
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def another_shape(rng: np.random.Generator, blob: bytes) -> bytes:
    """The body of the file with other sides, and in half of the cases a long stream of noise."""
    _, payload = parse(blob)
    payload = payload if rng.random() < 0.5 else rng.bytes(int(rng.integers(1, 20_000)))
    sides = b"".join(varint(int(rng.choice(SIDES))) for _ in range(2))
    return blob[:3] + bytes([blob[3] & ~8]) + blob[4:8] + sides + payload


def crafted(rng: np.random.Generator, prior: Prior) -> bytes:
    """A file that is in order: a stream of up to a million pixels that claims much in few bytes, with some noise."""
    side = 1 << int(rng.integers(5, 11))
    shape, exponent = (side, MAX_PIXELS // side if side == 1024 else side), 0
    if isinstance(prior, TransformPrior):
        payload = write_stream(prior, _parts(rng, prior, shape))
    else:
        exponent = 255
        count = sum(prior.blocks_in(n_patches(shape, prior.patch)))
        likely = rng.integers(0, 1 << prior.budget, count) * (
            rng.random(count) < rng.choice([0, 0.01])
        )
        payload = encode_indices(likely, np.full(count, prior.budget), exponent)
    header = Header(
        scheme=1, modality=IMAGE, shape=shape, flag=False, extra_bits=0, exponent=exponent,
        digest_prefix=prior.digest[:3],
    )  # fmt: skip
    return pack(header, payload, prior.digest)


def _parts(rng, prior, shape):
    cells, config = n_patches(shape, prior.patch), prior.config
    symbols = [
        np.broadcast_to(
            row.argmax(1) - 255, (*config.cells(config.levels - 1 - above, cells), len(row))
        ).astype(np.int32)
        for above, row in enumerate(reversed(prior.symbol_frequencies))
    ]
    class_cells = config.cells(prior.class_level, cells)
    classes = np.full(class_cells, rng.integers(len(prior.thresholds) + 1))
    classes[rng.random(class_cells) < rng.choice([0, 0.1])] = 0
    factors = [int(rng.choice([1, 2, 32, 256])) for _ in range(prior.class_level + 1)]
    counts = [
        count_blocks(count_units(prior, prior.class_level - i, classes, factor), prior.budget)
        for i, factor in enumerate(factors)
    ]
    indices = [
        rng.integers(0, 1 << prior.budget, count, np.int32) * rng.integers(2, dtype=np.int32)
        for count in counts
    ]
    return Parts(symbols, classes, factors, indices)


def hostile_files(
    rng: np.random.Generator, known: list[tuple[Prior, bytes]], right: bool
) -> Iterator[tuple[str, bytes]]:
    """Kinds and files without end, with a right checksum or none in particular."""
    while True:
        prior, blob = known[rng.integers(len(known))]
        other = known[rng.integers(len(known))][1]
        kind, draw = list(DAMAGE)[rng.integers(len(DAMAGE))], rng.random()
        if draw < 0.005:
            yield (
                "crafted",
                crafted(rng, prior) if right else flipped(rng, crafted(rng, prior), other),
            )
        elif draw < 0.025:
            body = another_shape(rng, blob)
            yield "shape", sealed(body, prior.digest) if right else body + blob[-2:]
        elif right:
            yield kind, sealed(DAMAGE[kind](rng, blob[:-2], other), prior.digest)
        else:
            yield kind, DAMAGE[kind](rng, blob, other)


def with_json(rng: np.random.Generator, data: bytes) -> bytes:
    """A prior file with one value of its descriptions replaced, of tensors or of the network, and a right length."""
    length = int.from_bytes(data[:8], "little")
    outer = json.loads(data[8 : 8 + length])
    inner = json.loads(outer["__metadata__"]["recjax"])
    inside = rng.random() < 0.6
    place = inner if inside else outer
    if inside:
        inner["metadata"] = {}  # which says nothing to the codec
    while True:
        key = (
            list(place)[rng.integers(len(place))]
            if isinstance(place, dict)
            else int(rng.integers(len(place)))
        )
        if not (isinstance(place[key], dict | list) and place[key]) or rng.random() < 0.1:
            break
        place = place[key]
    draw = rng.random()
    if draw < 0.1 and isinstance(place, dict):
        del place[key]
    elif draw < 0.4 and type(place[key]) is int:
        place[key] += int(rng.choice([-1, 1, 64]))
    else:
        place[key] = VALUES[rng.integers(len(VALUES))]
    if inside:
        outer["__metadata__"]["recjax"] = json.dumps(inner)
    text = json.dumps(outer).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def with_tensor(rng: np.random.Generator, data: bytes) -> bytes:
    """A prior file with one tensor of another value, type or shape."""
    length = int.from_bytes(data[:8], "little")
    text = json.loads(data[8 : 8 + length])["__metadata__"]["recjax"]
    tensors = safetensors.numpy.load(data)
    name = list(tensors)[rng.integers(len(tensors))]
    tensor = tensors[name].copy()
    draw = rng.random()
    if draw < 0.6 and tensor.size:
        largest = (
            np.finfo(tensor.dtype).max if tensor.dtype.kind == "f" else np.iinfo(tensor.dtype).max
        )
        special = [0, 1, largest] + (
            [np.nan, np.inf, -1, -largest] if tensor.dtype.kind == "f" else []
        )
        value = np.array(special[rng.integers(len(special))], tensor.dtype)
        tensor.flat[rng.integers(tensor.size) if rng.random() < 0.7 else slice(None)] = value
    elif draw < 0.8:
        tensor = tensor.astype(
            [np.float16, np.float64, np.int64, np.uint8, np.bool_][rng.integers(5)]
        )
    else:
        tensor = [
            tensor[..., None],
            tensor[:0],
            tensor[1:],
            np.concatenate([tensor, tensor]),
            tensor.T,
        ][rng.integers(5)]
    return safetensors.numpy.save(
        tensors | {name: np.ascontiguousarray(tensor)}, metadata={"recjax": text}
    )


def hostile_priors(rng: np.random.Generator, known: list[bytes]) -> Iterator[tuple[str, bytes]]:
    """Kinds and prior files without end; bytes change in the descriptions as often as in the tensors."""
    kinds = [*DAMAGE, "json", "tensor"]
    while True:
        data, other = (known[i] for i in rng.integers(len(known), size=2))
        kind = kinds[rng.integers(len(kinds))]
        with np.errstate(all="ignore"):
            if kind in ("json", "tensor"):
                yield kind, (with_json if kind == "json" else with_tensor)(rng, data)
                continue
        begin = 8 + int.from_bytes(data[:8], "little")
        if rng.random() < 0.5:
            yield kind, DAMAGE[kind](rng, data[:begin], other[:begin]) + data[begin:]
        else:
            yield f"{kind}, tensors", data[:begin] + DAMAGE[kind](rng, data[begin:], other[begin:])
