"""Damaged and hostile files by the thousand: each must decode or be refused, in little time and memory.

    python -m experiments.fuzz --count 20000

Three runs: mutated ``.rec`` files as they are, the same with a right checksum, and mutated prior files. What is neither
an image nor a FormatError (of a prior: a ValueError) is an error and kept in ``--out``. Time is that of the processor,
compilation included; memory is that of the whole process. Files ask for up to a million pixels (``max_cells``).
"""

import argparse
import binascii
import collections
import concurrent.futures
import ctypes
import dataclasses
import functools
import gc
import itertools
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np

import recjax
from experiments.mutations import MAX_PIXELS, hostile_files, hostile_priors
from recjax.codec import Prior, decompress, embedded_priors, encode_batch, load_prior
from recjax.codec.container import Header, pack, parse
from recjax.codec.siren.prior import SirenPrior
from recjax.codec.transform.prior import TransformPrior
from recjax.modalities.image import IMAGE

GOLDEN = Path(__file__).parents[1] / "tests" / "codec" / "golden"
TRAINED = ("waves", "hierarchy", "pyramid")
RUNS = {
    "damaged": "files with the checksum as it comes",
    "sealed": "files with a right checksum",
    "priors": "prior files",
}
MOST_SECONDS = 5
MOST_BYTES = 1_000_000_000
HANGS = 120  # seconds of wall-clock time


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
        self.out, self.refusal, self.cleared = out, refusal, 0
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
        if _memory("VmRSS") > max(0.7 * MOST_BYTES, self.cleared + 0.05 * MOST_BYTES):
            jax.clear_caches()  # programs of shapes seen so far
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)  # so that their memory goes back to the system
            self.cleared = _memory("VmRSS")

    def _keep(self, kind, data, reason):
        self.out.mkdir(parents=True, exist_ok=True)
        name = f"{kind.replace(' ', '-')}-{binascii.crc32(data):08x}"
        (self.out / name).write_bytes(data)
        print(f"{name}: {reason}", flush=True)

    def _hangs(self, number, frame):
        raise TimeoutError

    def table(self) -> str:
        lines = [
            f"{'kind':<18}{'files':>8}{'decoded':>9}{'refused':>9}{'errors':>8}{'slowest s':>11}{'peak MB':>9}"
        ]
        total = Tally()
        for kind, tally in [*sorted(self.tallies.items()), ("all", total)]:
            lines.append(
                f"{kind:<18}{tally.count:>8}{tally.decoded:>9}{tally.refused:>9}{tally.errors:>8}"
                f"{tally.seconds:>11.2f}{tally.bytes / 1e6:>9.0f}"
            )
            for field in ("count", "decoded", "refused", "errors"):
                setattr(total, field, getattr(total, field) + getattr(tally, field))
            total.seconds, total.bytes = (
                max(total.seconds, tally.seconds),
                max(total.bytes, tally.bytes),
            )
        return "\n".join(lines)


def _reset_peak():
    Path("/proc/self/clear_refs").write_text("5")


def _memory(name: str) -> int:
    """Bytes that the kernel reports of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


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
    values = np.clip(values + np.random.default_rng(0).normal(0, 4, values.shape), 0, 255).astype(
        np.uint8
    )
    image = recjax.Signal(values, "image", {"gray": False})
    return [encode_batch([image], load_prior(name), effort=1)[0].blob for name in embedded_priors()]


def run(
    watch: Watch,
    files: Iterator[tuple[str, bytes]],
    use: Callable[[bytes], object],
    count: int,
    until: float,
):
    for kind, data in itertools.islice(files, count):
        watch(kind, data, use)
        if time.monotonic() > until:
            print("stopped: out of time")
            break
    print(watch.table(), flush=True)


def check_image(priors: list[Prior], blob: bytes) -> None:
    image = decompress(blob, priors=priors, max_cells=MAX_PIXELS).values
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size > 0


def check_prior(path: Path, rng: np.random.Generator, data: bytes) -> None:
    """Reads the prior, and now and then a file of noise with it."""
    path.write_bytes(data)
    prior = load_prior(path)
    assert isinstance(prior, SirenPrior | TransformPrior)
    if rng.random() < 0.02:
        header = Header(
            scheme=1, modality=IMAGE, shape=(33, 65), flag=False, extra_bits=0,
            exponent=0 if isinstance(prior, TransformPrior) else 64, digest_prefix=prior.digest[:3],
        )  # fmt: skip
        for payload in (bytes(20), rng.bytes(100)):
            try:
                check_image([prior], pack(header, payload, prior.digest))
            except recjax.FormatError:
                continue


def main(
    runs: tuple[str, ...], count: int, seconds: float, seed: int, out: Path
) -> dict[str, Watch]:
    """Some of the three runs, of ``count`` files and at most ``seconds`` each."""
    out.mkdir(parents=True, exist_ok=True)
    watches = {
        name: Watch(out, ValueError if name == "priors" else recjax.FormatError) for name in runs
    }
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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "runs", nargs="*", default=list(RUNS), choices=[*RUNS, list(RUNS)], help="by default all"
    )
    parser.add_argument("--count", type=int, default=20_000, help="files a run")
    parser.add_argument(
        "--seconds", type=float, default=3600, help="of wall-clock time a run, at most"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/fuzz"), help="where files that fail are kept"
    )
    args = vars(parser.parse_args())
    main(tuple(args.pop("runs")), **args)
