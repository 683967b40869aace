"""Every environment encodes, every environment decodes: Pythons, releases of JAX, devices and settings of the program.

A cell of the table is the largest share of an image's values that the environment of the column decodes otherwise than
the one that made the file; golden files are compared with the pixels of their release. The matrix is sound if the
integers in the streams are the same everywhere, and if at most 0.1 % of the values differ, by one level.
"""

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Int, UInt8

import recjax
from recjax.bits.range_coder import decode_indices
from recjax.codec.container import parse
from recjax.codec.prior import Prior
from recjax.codec.prior_files import embedded_priors
from recjax.codec.transform.prior import TransformPrior
from recjax.codec.transform.stream import read_stream
from recjax.modalities.grid import n_patches

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "codec" / "golden"
PRIORS = ("photo-high", "photo-siren-low")
MOST_DIFFERENT = 1e-3

DEVICES = "--xla_force_host_platform_device_count="
VARIANTS = {
    "plain": {},
    "eager": {"jax_disable_jit": True},
    "2 devices": {"XLA_FLAGS": DEVICES + "2"},
    "8 devices": {"XLA_FLAGS": DEVICES + "8"},
    "float64": {"jax_enable_x64": True},
    "strict": {
        "jax_numpy_dtype_promotion": "strict",
        "jax_numpy_rank_promotion": "raise",
        "jax_debug_nans": True,
    },
    "bfloat16": {"jax_default_matmul_precision": "bfloat16", "jax_default_prng_impl": "rbg"},
    "many": {
        "jax_enable_x64": True,
        "jax_numpy_dtype_promotion": "strict",
        "jax_numpy_rank_promotion": "raise",
        "jax_default_matmul_precision": "bfloat16",
        "jax_default_prng_impl": "rbg",
        "jax_threefry_partitionable": False,
        "jax_debug_infs": True,
        "XLA_FLAGS": DEVICES
        + "8 --xla_cpu_multi_thread_eigen=false --xla_cpu_enable_fast_math=true",
        "NPROC": "4",  # threads of XLA
    },
}
"""Settings by name: those of JAX, which the program makes, and capital ones of its environment."""


@dataclasses.dataclass(frozen=True)
class Environment:
    """A Python and what its program has set."""

    python: str
    variant: str
    executable: str

    @property
    def name(self) -> str:
        return f"{self.python} {self.variant}"

    def run(self, task: str, folder: Path) -> str | None:
        """Runs a task of this file there; what went wrong, if something did."""
        settings = VARIANTS[self.variant]
        outside = {name: str(value) for name, value in settings.items() if name.isupper()}
        inside = {name: value for name, value in settings.items() if not name.isupper()}
        # the last line of a full traceback is the error itself
        usual = {
            "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"),
            "JAX_TRACEBACK_FILTERING": "off",
        }
        arguments = [task, str(folder), self.name, json.dumps(inside)]
        command = [self.executable, "-W", "error", "-m", "experiments.matrix", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=usual | os.environ | outside, capture_output=True, text=True
        )
        said = done.stdout + done.stderr
        return (
            (said.strip().splitlines() or ["no message"])[-1] if done.returncode or said else None
        )


def encode(folder: Path, environment: str) -> None:
    """Files of all images, with all priors; without compilation, which takes minutes, small ones."""
    out = folder / "files" / environment
    out.mkdir(parents=True)
    paths, priors = sorted((folder / "images").glob("*.png")), _priors(folder)
    if jax.config.values["jax_disable_jit"]:
        paths, priors = (
            paths[:1],
            [recjax.load_prior(GOLDEN / f"{name}.safetensors") for name in ("pyramid", "waves")],
        )
    for path in paths:
        for prior in priors:
            blob = recjax.compress(recjax.load(path), prior, effort=1)
            (out / f"{path.stem} {prior.name}.rec").write_bytes(blob)


def decode(folder: Path, environment: str) -> None:
    """Integers and pixels of all files, one archive for every environment that made some."""
    priors = _priors(folder) + [recjax.load_prior(path) for path in GOLDEN.glob("*.safetensors")]
    for made_by, source in _sources(folder).items():
        arrays = {}
        for path in sorted(source.glob("*.rec")):
            blob = path.read_bytes()
            arrays[f"{path.stem}/integers"] = integers(blob, priors)
            arrays[f"{path.stem}/values"] = recjax.decompress(blob, priors=priors).values
        np.savez(_archive(folder, made_by, environment), **arrays)


def integers(blob: bytes, priors: list[Prior]) -> Int[np.ndarray, "integers"]:
    """All that is in the index stream of a file."""
    header, payload = parse(blob)
    prior = next(prior for prior in priors if prior.digest.startswith(header.digest_prefix))
    patches = n_patches(header.sides(prior), prior.patch)
    if isinstance(prior, TransformPrior):
        return np.concatenate(
            [np.ravel(part) for part in jax.tree.leaves(read_stream(prior, patches, payload))]
        )
    sizes = np.full(sum(prior.blocks_in(patches)), header.log2_indices(prior.budget))
    return decode_indices(payload, sizes, header.exponent)


def difference(
    ours: UInt8[np.ndarray, "..."], theirs: UInt8[np.ndarray, "..."]
) -> tuple[int, float]:
    """The largest difference of two images in levels, and the share of values that differ.

    >>> difference(np.array([1, 2, 3, 4], np.uint8), np.array([1, 2, 5, 4], np.uint8))
    (2, 0.25)
    """
    levels = np.abs(ours.astype(int) - theirs)
    return int(levels.max()), float((levels > 0).mean())


def compare(folder: Path, made_by: str, decoder: str, reference: str) -> tuple[str, bool]:
    """A cell of the table, and whether it is sound.

    Args:
      made_by: the environment of the files, or "golden".
      decoder: the environment of the column.
      reference: the one that is right; for golden files only about the integers.
    """
    ours, theirs = _decoded(folder, made_by, reference), _decoded(folder, made_by, decoder)
    if not ours or ours.keys() != theirs.keys():
        return "-", False
    shares = []
    for name, right in ours.items():
        stem, kind = name.split("/")
        if kind == "integers":
            if not np.array_equal(right, theirs[name]):
                return "integers", False
            continue
        if made_by == "golden":
            right = recjax.load(GOLDEN / f"{stem}.png").values
        levels, share = difference(right, theirs[name])
        if levels > 1 or share > MOST_DIFFERENT:
            return f"{levels}:{share:.2%}", False
        shares.append(share)
    return f"{max(shares):.3%}" if max(shares) else "=", True


def main(folder: Path, pythons: dict[str, str], variants: list[str]) -> int:
    (folder / "images").mkdir(parents=True)
    (folder / "priors").mkdir()
    for name in PRIORS:
        shutil.copy(embedded_priors()[name], folder / "priors")
    for name, signal in images().items():
        recjax.save(signal, folder / "images" / f"{name}.png")
    environments = [
        Environment(python, variant, executable)
        for i, (python, executable) in enumerate(pythons.items())
        for variant in (variants if i == 0 else variants[:1])
    ]
    sound = True
    for task in ("encode", "decode"):
        for environment in environments:
            start = time.perf_counter()
            message = environment.run(task, folder)
            seconds = f"{time.perf_counter() - start:.0f} s"
            print(f"{environment.name}: {task}, {message or seconds}", flush=True)
            sound &= message is None
    return 0 if table(folder, [environment.name for environment in environments]) and sound else 1


def images() -> dict[str, recjax.Signal]:
    """A photograph and a small gray picture."""
    from matplotlib import cbook

    photo = recjax.load(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).values
    waves = np.sin(np.add(*np.mgrid[:19, :13]) / 6)[..., None] * [90, 90, 90] + 128
    gray = recjax.Signal(waves.astype(np.uint8), "image", {"gray": True})
    return {"gray": gray, "photo": recjax.Signal(photo[40:168, 180:340])}


def table(folder: Path, environments: list[str]) -> bool:
    """Prints the table; whether all of it is sound."""
    sound = True
    width = max(map(len, environments))
    numbers = "".join(f"{i:>9}" for i in range(1, len(environments) + 1))
    print(f"\n   {'encoder / decoder':<{width}}{numbers}  files as of 1")
    for i, made_by in enumerate([*environments, "golden"], 1):
        reference = environments[0] if made_by == "golden" else made_by
        cells = [compare(folder, made_by, decoder, reference) for decoder in environments]
        sound &= all(good for _, good in cells)
        ours, first = _files(folder, made_by), _files(folder, environments[0])
        same = f"{sum(first[name] == ours[name] for name in ours.keys() & first)} of {len(ours)}"
        print(
            f"{i:>2} {made_by:<{width}}" + "".join(f"{cell:>9}" for cell, _ in cells) + f"  {same}"
        )
    print("sound" if sound else "broken")
    return sound


def _files(folder, made_by):
    """The bytes of what an environment made, by name."""
    return {path.name: path.read_bytes() for path in (folder / "files" / made_by).glob("*.rec")}


def _sources(folder):
    """Folders of files by the environment that made them."""
    return {path.name: path for path in sorted((folder / "files").glob("*"))} | {"golden": GOLDEN}


def _priors(folder):
    return [recjax.load_prior(path) for path in sorted((folder / "priors").glob("*.safetensors"))]


def _archive(folder, made_by, decoder):
    return folder / f"{made_by} by {decoder}.npz"


def _decoded(folder, made_by, decoder):
    """Integers and pixels by the names of files, none if there are none."""
    path = _archive(folder, made_by, decoder)
    return dict(np.load(path)) if path.exists() else {}


if __name__ == "__main__":
    if sys.argv[1] in ("encode", "decode"):
        task, folder, environment, settings = sys.argv[1:]
        for name, value in json.loads(settings).items():
            jax.config.update(name, value)
        before = dict(jax.config.values)
        {"encode": encode, "decode": decode}[task](Path(folder), environment)
        sys.exit(None if jax.config.values == before else "settings of the program have changed")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for everything that is made; must be new")
    parser.add_argument(
        "pythons", nargs="+", metavar="PYTHON", help="executables with recjax inside"
    )
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    arguments = parser.parse_args()
    releases = {}
    for executable in arguments.pythons:
        script = "import sys, jax; print('%d.%d' % sys.version_info[:2], 'jax', jax.__version__)"
        release = subprocess.run(
            [executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout.strip()
        releases[release] = executable
    sys.exit(main(arguments.folder, releases, arguments.variants))
