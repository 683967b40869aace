"""Damaged and hostile files by the thousand: each must decode or be refused, in little time and memory.

    python -m experiments.fuzz --count 20000

Three runs: mutated ``.rec`` files as they are, the same with a right checksum, and mutated prior files. What is neither
an image nor a FormatError (of a prior: a ValueError) is an error and kept in ``--out``. Time is that of the processor,
compilation included; memory is that of the whole process. Files ask for up to a million pixels (``max_pixels``).
"""

import argparse
import binascii
import collections
import concurrent.futures
import dataclasses
import functools
import itertools
import json
import multiprocessing
import signal
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import safetensors.numpy

import recjax
from recjax.bits.container import Header, Modality, pack, parse
from recjax.bits.range_coder import encode_indices
from recjax.codec import Prior, decompress, embedded_priors, encode_batch, load_prior
from recjax.codec.allocation import count_blocks
from recjax.codec.inr_prior import InrPrior
from recjax.codec.pyramid import count_units
from recjax.codec.transform_prior import TransformPrior
from recjax.codec.transform_stream import Parts, write_stream
from recjax.modalities.image import n_patches

GOLDEN = Path(__file__).parents[1] / "tests" / "codec" / "golden"
TRAINED = ("waves", "hierarchy", "pyramid")
RUNS = {
    "damaged": "files with the checksum as it comes",
    "sealed": "files with a right checksum",
    "priors": "prior files",
}
MAX_PIXELS = 1 << 20
MOST_SECONDS = 5
MOST_BYTES = 1_000_000_000
HANGS = 120  # seconds of wall-clock time
EXTREMES = (0, 1, 127, 128, 255)
SIDES = (0, 1, 63, 64, 65, 1024, 4095, 4096, 4097, 65535, 65536)
VALUES = (0, 1, -1, 3, 8, 255, 4096, 65536, 2**31, 2**63, 10**400, 0.5, 1e308, float("nan"), None, True, "", "8",
          [], {}, [0], [1 << 40] * 2)  # fmt: skip

Mutation = Callable[[np.random.Generator, bytes, bytes], bytes]


@dataclasses.dataclass
class Tally:
    """What became of the files of one kind."""

    count: int = 0
    decoded: int = 0
    refused: int = 0
    errors: int = 0
    seconds: float = 0.0
    bytes: int = 0


class Watch:
    """Runs something, and counts how it ends and what it takes."""

    def __init__(self, out: Path, refusal: type[Exception]):
        self.tallies: dict[str, Tally] = collections.defaultdict(Tally)
        self.out, self.refusal = out, refusal
        signal.signal(signal.SIGALRM, self._hangs)

    def __call__(self, kind: str, data: bytes, run: Callable[[bytes], object]) -> None:
        tally, begun = self.tallies[kind], time.process_time()
        tally.count += 1
        _reset_peak()
        signal.alarm(HANGS)
        try:
            run(data)
            tally.decoded += 1
        except self.refusal:
            tally.refused += 1
        except Exception as error:
            tally.errors += 1
            self._keep(kind, data, repr(error))
        signal.alarm(0)
        seconds, peak = time.process_time() - begun, _memory("VmHWM")
        if seconds > MOST_SECONDS or peak > MOST_BYTES:
            self._keep(kind, data, f"{seconds:.1f} s, {peak / 1e6:.0f} MB")
        tally.seconds, tally.bytes = max(tally.seconds, seconds), max(tally.bytes, peak)
        if _memory("VmRSS") > 0.7 * MOST_BYTES:
            jax.clear_caches()  # programs of shapes seen so far

    def _keep(self, kind, data, reason):
        self.out.mkdir(parents=True, exist_ok=True)
        name = f"{kind.replace(' ', '-')}-{binascii.crc32(data):08x}"
        (self.out / name).write_bytes(data)
        print(f"{name}: {reason}", flush=True)

    def _hangs(self, number, frame):
        raise TimeoutError

    def table(self) -> str:
        lines = [f"{'kind':<18}{'files':>8}{'decoded':>9}{'refused':>9}{'errors':>8}{'slowest s':>11}{'peak MB':>9}"]
        total = Tally()
        for kind, tally in [*sorted(self.tallies.items()), ("all", total)]:
            lines.append(
                f"{kind:<18}{tally.count:>8}{tally.decoded:>9}{tally.refused:>9}{tally.errors:>8}"
                f"{tally.seconds:>11.2f}{tally.bytes / 1e6:>9.0f}"
            )
            for field in ("count", "decoded", "refused", "errors"):
                setattr(total, field, getattr(total, field) + getattr(tally, field))
            total.seconds, total.bytes = max(total.seconds, tally.seconds), max(total.bytes, tally.bytes)
        return "\n".join(lines)


def _reset_peak():
    Path("/proc/self/clear_refs").write_text("5")


def _memory(name: str) -> int:
    """Bytes that the kernel reports of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


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
        count = sum(prior.blocks_in(n_patches(shape, prior.patch_shape)))
        likely = rng.integers(0, 1 << prior.budget, count) * (rng.random(count) < rng.choice([0, 0.01]))
        payload = encode_indices(likely, np.full(count, prior.budget), exponent)
    header = Header(
        scheme=1, modality=Modality.IMAGE, shape=shape, gray=False, extra_bits=0, exponent=exponent,
        digest_prefix=prior.digest[:3],
    )  # fmt: skip
    return pack(header, payload, prior.digest)


def _parts(rng, prior, shape):
    cells, top = n_patches(shape, prior.patch_shape), prior.config.levels - 1
    numbers = [
        np.broadcast_to(row.argmax(1) - 255, (cells[0] << above, cells[1] << above, len(row))).astype(np.int32)
        for above, row in enumerate(reversed(prior.numbers))
    ]
    rows, columns = (n << (top - prior.class_level) for n in cells)
    classes = np.full((rows, columns), rng.integers(len(prior.thresholds) + 1))
    classes[rng.random((rows, columns)) < rng.choice([0, 0.1])] = 0
    factors = [int(rng.choice([1, 2, 32, 256])) for _ in range(prior.class_level + 1)]
    counts = [
        count_blocks(count_units(prior, prior.class_level - i, classes, factor), prior.budget)
        for i, factor in enumerate(factors)
    ]
    indices = [
        rng.integers(0, 1 << prior.budget, count, np.int32) * rng.integers(2, dtype=np.int32) for count in counts
    ]
    return Parts(numbers, classes, factors, indices)


def golden_files() -> list[tuple[Prior, bytes]]:
    """Files of earlier releases and their priors."""
    priors = [load_prior(GOLDEN / f"{name}.safetensors") for name in TRAINED]
    return [_with_prior(path.read_bytes(), priors) for path in sorted(GOLDEN.glob("*.rec"))]


def embedded_files() -> list[tuple[Prior, bytes]]:
    """An image in every embedded prior."""
    # encoded in a process of its own, whose memory is not that of decoding
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as encoder:
        blobs = encoder.submit(small_files).result()
    priors = [load_prior(name) for name in embedded_priors()]
    return [_with_prior(blob, priors) for blob in blobs]


def _with_prior(blob, priors):
    return next(prior for prior in priors if prior.digest[:3] == parse(blob)[0].digest_prefix), blob


def small_files() -> list[bytes]:
    """An image of 64x64 pixels in every embedded prior."""
    y, x = np.mgrid[:64, :64]
    values = np.stack([128 + 60 * np.sin(x / 5), 2 * y, x + y], -1)
    values = np.clip(values + np.random.default_rng(0).normal(0, 4, values.shape), 0, 255).astype(np.uint8)
    image = recjax.Signal(values, "image", {"gray": False})
    return [encode_batch([image], load_prior(name), effort=1)[0].blob for name in embedded_priors()]


def hostile_files(
    rng: np.random.Generator, known: list[tuple[Prior, bytes]], right: bool
) -> Iterator[tuple[str, bytes]]:
    """Kinds and files without end, with a right checksum or none in particular."""
    while True:
        prior, blob = known[rng.integers(len(known))]
        other = known[rng.integers(len(known))][1]
        kind, draw = list(DAMAGE)[rng.integers(len(DAMAGE))], rng.random()
        if draw < 0.005:
            yield "crafted", crafted(rng, prior) if right else flipped(rng, crafted(rng, prior), other)
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
        key = list(place)[rng.integers(len(place))] if isinstance(place, dict) else int(rng.integers(len(place)))
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
        largest = np.finfo(tensor.dtype).max if tensor.dtype.kind == "f" else np.iinfo(tensor.dtype).max
        special = [0, 1, largest] + ([np.nan, np.inf, -1, -largest] if tensor.dtype.kind == "f" else [])
        value = np.array(special[rng.integers(len(special))], tensor.dtype)
        tensor.flat[rng.integers(tensor.size) if rng.random() < 0.7 else slice(None)] = value
    elif draw < 0.8:
        tensor = tensor.astype([np.float16, np.float64, np.int64, np.uint8, np.bool_][rng.integers(5)])
    else:
        tensor = [tensor[..., None], tensor[:0], tensor[1:], np.concatenate([tensor, tensor]), tensor.T][
            rng.integers(5)
        ]
    return safetensors.numpy.save(tensors | {name: np.ascontiguousarray(tensor)}, metadata={"recjax": text})


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


def run(watch: Watch, files: Iterator[tuple[str, bytes]], use: Callable[[bytes], object], count: int, until: float):
    for kind, data in itertools.islice(files, count):
        watch(kind, data, use)
        if time.monotonic() > until:
            print("stopped: out of time")
            break
    print(watch.table(), flush=True)


def check_image(priors: list[Prior], blob: bytes) -> None:
    image = decompress(blob, priors=priors, max_pixels=MAX_PIXELS).values
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size > 0


def check_prior(path: Path, rng: np.random.Generator, data: bytes) -> None:
    """Reads the prior, and now and then a file of noise with it."""
    path.write_bytes(data)
    prior = load_prior(path)
    assert isinstance(prior, InrPrior | TransformPrior)
    if rng.random() < 0.02:
        header = Header(
            scheme=1, modality=Modality.IMAGE, shape=(33, 65), gray=False, extra_bits=0,
            exponent=0 if isinstance(prior, TransformPrior) else 64, digest_prefix=prior.digest[:3],
        )  # fmt: skip
        for payload in (bytes(20), rng.bytes(100)):
            try:
                check_image([prior], pack(header, payload, prior.digest))
            except recjax.FormatError:
                continue


def main(runs: tuple[str, ...], count: int, seconds: float, seed: int, out: Path) -> dict[str, Watch]:
    """Some of the three runs, of ``count`` files and at most ``seconds`` each."""
    out.mkdir(parents=True, exist_ok=True)
    watches = {name: Watch(out, ValueError if name == "priors" else recjax.FormatError) for name in runs}
    for number, (name, watch) in enumerate(watches.items()):
        print(f"\n{name}: {RUNS[name]}", flush=True)
        rng, until = np.random.default_rng([seed, number]), time.monotonic() + seconds
        if name == "priors":
            blobs = [(GOLDEN / f"{prior}.safetensors").read_bytes() for prior in TRAINED]
            use = functools.partial(check_prior, out / "mutated.safetensors", rng)
            run(watch, hostile_priors(rng, blobs), use, count, until)
            continue
        known = [*embedded_files(), *golden_files()]
        use = functools.partial(check_image, [prior for prior, _ in known])
        run(watch, hostile_files(rng, known, name == "sealed"), use, count, until)
    return watches


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", default=list(RUNS), choices=[*RUNS, list(RUNS)], help="by default all")
    parser.add_argument("--count", type=int, default=20_000, help="files a run")
    parser.add_argument("--seconds", type=float, default=3600, help="of wall-clock time a run, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"), help="where files that fail are kept")
    args = vars(parser.parse_args())
    main(tuple(args.pop("runs")), **args)
