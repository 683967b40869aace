"""Processes killed at random moments, full and read-only disks, and several processes at one file.

    python -m experiments.crashes --kills 50

Every file must be whole or absent, and training that goes on must end with the numbers of an undisturbed run.
"""

import argparse
import contextlib
import functools
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import safetensors.numpy

import recjax
from recjax.atomic import write_atomic
from recjax.codec import TrainConfig, TransformTraining, load_prior, train_prior, train_transform
from recjax.codec.siren.network import SirenConfig
from recjax.codec.transform.network import TransformConfig

ROOT = Path(__file__).parents[1]
PRIOR = ROOT / "tests" / "codec" / "golden" / "waves.safetensors"
OTHER_PRIOR = PRIOR.with_name("hierarchy.safetensors")
SIREN = TrainConfig(
    rate=2.0, rounds=60, batch=16, lr=0.05, lr_shared=5e-3, steering=2e-3, budget=8,
    network=SirenConfig(grid=(4, 4), width=4, layers=2, features=4, max_frequency=2.0),
)  # fmt: skip
TRANSFORM = TransformTraining(
    prices=(2e-2,), steps=1200, batch=2, crop=16, scales=(), budget=8,
    network=TransformConfig(stride=4, depth=6, levels=2, context=2, hidden=8, features=4),
)  # fmt: skip
PROCESSES = multiprocessing.get_context("spawn")
OUTPUTS = {
    "compress": "out.rec",
    "eval": "out.json",
    "train-prior": "out.prior",
    "train-transform": "out.prior",
}


def images(count: int, side: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    slopes = rng.normal(0, 8, (count, side, 1, 3)).cumsum(1)
    return np.clip(
        rng.integers(0, 256, (count, 1, 1, 3)) + slopes + np.zeros((count, side, side, 3)), 0, 255
    ).astype(np.uint8)


def child(job: str) -> None:
    """Trains in the working folder, with a checkpoint as often as there can be one."""
    settings = {"checkpoint_dir": "run", "checkpoint_minutes": 0.0, "force": True}
    if job == "train-prior":
        train_prior(SIREN, images(40, 4), OUTPUTS[job], **settings)
    else:
        train_transform(TRANSFORM, list(images(8, 24)), [OUTPUTS[job]], **settings)


def started(job: str, folder: Path) -> subprocess.Popen:
    """The process of a job in a folder."""
    if job.startswith("train"):
        command = [sys.executable, "-m", "experiments.crashes", "--child", job]
    else:
        source = "photo.png" if job == "compress" else "photos"
        out = [OUTPUTS[job]] if job == "compress" else ["--json", OUTPUTS[job]]
        command = [
            sys.executable,
            "-m",
            "recjax.cli",
            job,
            source,
            *out,
            "--prior",
            str(PRIOR),
            "--effort",
            "1",
        ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def prepared(folder: Path) -> Path:
    """A folder with what the jobs read."""
    (folder / "photos").mkdir(parents=True)
    for i, values in enumerate(images(3, 24)):
        recjax.save(recjax.Signal(values), folder / "photos" / f"{i}.png")
    shutil.copy(folder / "photos" / "0.png", folder / "photo.png")
    return folder


def finished(job: str, folder: Path) -> bytes:
    """What the undisturbed job writes."""
    process = started(job, folder)
    error = process.communicate()[1]
    if process.returncode:
        raise RuntimeError(f"{job}: {error}")
    return (folder / OUTPUTS[job]).read_bytes()


def equal(job: str, one: bytes, other: bytes) -> bool:
    """Whether two results are equal; those of eval but for the time that it took, of training all tensors."""
    if job == "eval":
        return _images(one) == _images(other)
    if not job.startswith("train"):
        return one == other
    a, b = safetensors.numpy.load(one), safetensors.numpy.load(other)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def _images(report):
    rows = json.loads(report)["results"]["images"]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def kills(job: str, count: int, rng: np.random.Generator, work: Path) -> str:
    """Kills a job so many times; after every completed run it begins anew."""
    begun = time.monotonic()
    reference = finished(job, prepared(work / f"{job}-reference"))
    duration = time.monotonic() - begun
    killed, completed, written, leftover, bad = 0, 0, 0, 0, 0
    folder = prepared(work / f"{job}-0")
    inputs = {path.name for path in folder.iterdir()}
    while killed < count:
        process = started(job, folder)
        _wait(process, folder, rng, duration, job)
        process.kill()
        done = process.wait() == 0
        killed += not done
        names = {path.name for path in folder.iterdir()} - inputs - {"run"}
        parts = {name for name in names if name.startswith(".") and name.endswith(".part")}
        leftover += bool(parts)
        written += OUTPUTS[job] in names
        bad += names - parts > {OUTPUTS[job]}
        if OUTPUTS[job] in names:
            bad += not equal(job, (folder / OUTPUTS[job]).read_bytes(), reference)
            completed += 1
            folder = prepared(work / f"{job}-{completed}")
        elif done:
            bad += 1
    if not (folder / OUTPUTS[job]).exists():
        bad += not equal(job, finished(job, folder), reference)
        completed += 1
    return (
        f"{job:<17}{killed:>4} kills: {completed} results afterwards, {bad} partial, wrong or other; "
        f"temporary files were left {leftover} times"
    )


def _wait(process, folder, rng, duration, job):
    """Until a random moment, or that of writing, or the end."""
    writing, until = rng.random() < 0.5, time.monotonic() + duration * rng.random()
    if job.startswith("train"):
        # at work: a checkpoint has been made
        before = _checkpoints(folder)
        while process.poll() is None and _checkpoints(folder) == before:
            time.sleep(0.002)
        until = time.monotonic() + 0.1 * duration * rng.random()
    begin = time.monotonic()
    while process.poll() is None:
        if writing and time.monotonic() - begin < 2 * duration:
            if any(name.endswith(".part") for name in os.listdir(folder)):
                return
            if job.startswith("train") and time.monotonic() > until:
                return
        elif time.monotonic() > until:
            return
        time.sleep(0.0005 if writing else 0.01)


def _checkpoints(folder):
    return {path.name for path in (folder / "run").glob("*") if path.name.isdigit()}


@contextlib.contextmanager
def mounted(folder: Path, size: str) -> Iterator[bool]:
    """A small disk at ``folder``, or False where that is not permitted."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True
    )
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", folder], check=True)


def refused(process: subprocess.Popen) -> str:
    """The one line with which it failed, or what is wrong with that."""
    error = process.communicate()[1]
    lines = [line for line in error.splitlines() if line.strip()]
    return (
        lines[-1]
        if process.returncode == 1 and lines
        else f"BAD: exit {process.returncode}, {error[-300:]}"
    )


def full_disk(work: Path) -> Iterator[str]:
    disk = work / "disk"
    with mounted(disk, "1M") as there:
        if not there:
            yield "full disk: no permission to mount one"
            return
        prepared(disk / "in")
        folder = disk / "in"
        with contextlib.suppress(OSError), (folder / "filling").open("wb") as file:
            while True:
                file.write(bytes(512))
                file.flush()
        before = sorted(folder.iterdir())
        yield f"full disk, compress: {refused(started('compress', folder))}"
        yield f"full disk, train-prior: {refused(started('train-prior', folder))}"
        left = [path.name for path in sorted(folder.iterdir()) if path not in before]
        yield f"full disk: left over {left}"
        room = 60_000  # for the description of the run, not for a checkpoint
        (folder / "filling").write_bytes(bytes((folder / "filling").stat().st_size - room))
        yield f"nearly full disk, train-prior: {refused(started('train-prior', folder))}"
        subprocess.run(["mount", "-o", "remount,size=100M", disk], check=True)
        same = equal(
            "train-prior",
            finished("train-prior", folder),
            finished("train-prior", prepared(work / "roomy")),
        )
        yield f"room again, the same command: {'as undisturbed' if same else 'BAD: another prior'}"
        (folder / OUTPUTS["compress"]).unlink(missing_ok=True)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        yield f"read-only disk, compress: {refused(started('compress', folder))}"
        yield f"read-only disk, train-prior: {refused(started('train-prior', folder))}"


def _write_for(seconds: float, path: Path, content: bytes) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        write_atomic(path, content, force=True)


def writers(work: Path) -> Iterator[str]:
    """Four processes write one path while it is read."""
    path, contents = work / "shared", [bytes([i]) * 300_000 for i in range(4)]
    write_atomic(path, contents[0])
    processes = [
        PROCESSES.Process(target=_write_for, args=(5.0, path, content)) for content in contents
    ]
    for process in processes:
        process.start()
    reads = torn = 0
    while any(process.is_alive() for process in processes):
        torn += path.read_bytes() not in contents
        reads += 1
    left = [name for name in os.listdir(work) if name.endswith(".part")]
    failed = sum(process.exitcode != 0 for process in processes)
    yield f"four writers of one path: {reads} reads, {torn} torn, {failed} writers failed, {len(left)} files left"


def trainings(work: Path) -> Iterator[str]:
    """Two runs with one folder of checkpoints."""
    folder = prepared(work / "two")
    processes = [started("train-prior", folder) for _ in range(2)]
    errors = [process.communicate()[1] for process in processes]
    codes = [process.returncode for process in processes]
    said = [
        error.strip().splitlines()[-1] for error, code in zip(errors, codes, strict=True) if code
    ]
    again = finished("train-prior", folder)
    same = equal("train-prior", again, finished("train-prior", prepared(work / "one")))
    outcome = "as undisturbed" if same else "BAD: another prior"
    yield f"two trainings in one folder: exits {codes}, {said}; then {outcome}"


def replaced_prior(work: Path) -> Iterator[str]:
    """A prior file that changes under its readers; once in place, once by renaming."""
    path, blobs = work / "changing.safetensors", [PRIOR.read_bytes(), OTHER_PRIOR.read_bytes()]
    digests = {load_prior(PRIOR).digest, load_prior(OTHER_PRIOR).digest}
    for name, write in (
        ("in place", Path.write_bytes),
        ("by renaming", functools.partial(write_atomic, force=True)),
    ):
        path.write_bytes(blobs[0])
        process = PROCESSES.Process(target=_alternate, args=(path, blobs, write))
        process.start()
        loaded = failed = wrong = 0
        while process.is_alive():
            try:
                wrong += load_prior(path).digest not in digests
                loaded += 1
            except ValueError:
                failed += 1
        yield f"a prior replaced {name} while read: {loaded} loaded, {failed} refused, {wrong} neither of the two"
    prior = load_prior(PRIOR)
    image = recjax.Signal(images(1, 24)[0], "image", {"gray": False})
    shutil.copy(PRIOR, path)
    prior = load_prior(path)
    shutil.copy(OTHER_PRIOR, path)
    blob = recjax.compress(image, prior, effort=1)
    decoded = recjax.decompress(blob, priors=[prior]).values.shape == image.values.shape
    try:
        recjax.decompress(blob, priors=[load_prior(path)])
        outcome = "BAD: decoded with another prior"
    except recjax.FormatError as error:
        outcome = str(error)
    yield f"a prior replaced while in use: still decodes {decoded}; with the new one: {outcome}"


def _alternate(path: Path, blobs: list[bytes], write: Callable[[Path, bytes], object]) -> None:
    until, i = time.monotonic() + 5, 0
    while time.monotonic() < until:
        write(path, blobs[i := 1 - i])


def ctrl_c(work: Path) -> Iterator[str]:
    folder = prepared(work / "interrupted")
    process = started("train-prior", folder)
    while not _checkpoints(folder):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate()
    absent = not (folder / OUTPUTS["train-prior"]).exists()
    same = equal(
        "train-prior",
        finished("train-prior", folder),
        (work / "train-prior-reference" / "out.prior").read_bytes(),
    )
    yield f"Ctrl-C in train-prior: no prior {absent}; the same command ends {'as undisturbed' if same else 'BAD'}"


def main(count: int, seed: int) -> None:
    if (
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):  # a shell's background jobs, and what they start
        signal.signal(signal.SIGINT, signal.default_int_handler)
    shares = {"compress": 0.3, "eval": 0.2, "train-prior": 0.3, "train-transform": 0.2}
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for scenario in (writers, replaced_prior, full_disk, trainings):
            for line in scenario(work):
                print(line, flush=True)
        for job, share in shares.items():
            print(kills(job, round(share * count), rng, work), flush=True)
        for line in ctrl_c(work):
            print(line, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", dest="count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", choices=OUTPUTS, help=argparse.SUPPRESS)
    arguments = vars(parser.parse_args())
    if (job := arguments.pop("child")) is None:
        main(**arguments)
    else:
        try:
            child(job)
        except ValueError as error:
            sys.exit(f"recjax: {error}")
