"""Reading prior files, those inside the package included."""

import functools
import hashlib
import json
import os
from pathlib import Path

import safetensors
import safetensors.numpy

from recjax.codec.kinds import KINDS
from recjax.codec.prior import FORMAT, Prior
from recjax.modalities import modality_of_name

MAX_BYTES = 1 << 28
EMBEDDED = Path(__file__).parents[1] / "priors"
"""Folder of the priors inside the package."""


def embedded_priors() -> dict[str, Path]:
    """Names and files of the priors inside the package."""
    return {path.stem: path for path in sorted(EMBEDDED.glob("*.safetensors"))}


def load_prior(name_or_path: str | os.PathLike[str]) -> Prior:
    """An embedded prior by name, or any prior by path.

    Raises:
      ValueError: there is no such prior, or the file is damaged or not a prior.

    >>> load_prior("photo-high").patch
    (64, 64)
    """
    embedded = embedded_priors()
    path = embedded.get(str(name_or_path), Path(name_or_path))
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"prior {path} is larger than {MAX_BYTES >> 20} MiB")
        if path.is_char_device() or path.is_fifo():  # which may never end
            raise ValueError(f"prior {path} is not a file")
        blob = path.read_bytes()
    except OSError as error:
        names = ", ".join(embedded) or "none"
        reason = error.strerror or error
        raise ValueError(
            f"prior {name_or_path} cannot be read: {reason} (embedded priors: {names})"
        ) from None
    try:
        return _parse(blob, path.stem)
    except (
        safetensors.SafetensorError,
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
        RecursionError,
    ) as error:
        raise ValueError(
            f"prior {name_or_path} is damaged or not a recjax prior: {error}"
        ) from None


def embedded_with(digest_prefix: bytes) -> list[Prior]:
    """The embedded priors whose digests begin so; the others are not parsed, which takes long."""
    files = embedded_priors()
    return [load_prior(name) for name in files if _digest(files[name]).startswith(digest_prefix)]


def embedded_of_kind(modality: str, kind: str) -> list[Prior]:
    """The embedded priors of a modality and kind, in order of rate."""
    loaded = []
    for name, path in embedded_priors().items():
        header = _header(path.read_bytes())
        if header["modality"] == modality and header.get("kind", "siren") == kind:
            loaded.append(load_prior(name))
    return sorted(loaded, key=lambda prior: -prior.beta)  # a bit that costs more is used less


@functools.cache
def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


@functools.lru_cache(maxsize=8)
def _parse(blob: bytes, name: str) -> Prior:
    header = _header(blob)
    if header["format"] not in range(1, FORMAT + 1):
        raise ValueError(
            f"format {header['format']} is not known (this release reads 1 to {FORMAT})"
        )
    modality = modality_of_name(header["modality"])
    if not isinstance(header["metadata"], dict):
        raise ValueError("the metadata are not a table")
    budget, beta = header["budget"], float(header["beta"])
    if not (isinstance(budget, int) and 4 <= budget <= 20 and 0 < beta < 1):
        raise ValueError(f"budget {budget} or beta {beta} is out of range")
    kind = header.get("kind", "siren")
    if kind not in KINDS:
        raise ValueError(f"kind {kind} is not known (this release knows {', '.join(KINDS)})")
    common = {
        "name": name,
        "digest": hashlib.sha256(blob).digest(),
        "beta": beta,
        "budget": budget,
        "modality": modality.name,
        "metadata": header["metadata"],
    }
    prior = KINDS[kind].parse(header, safetensors.numpy.load(blob), len(blob), common)
    if len(prior.patch) != modality.rank or prior.channels not in {None, *modality.channels}:
        raise ValueError(
            f"a network of {len(prior.patch)} axes and {prior.channels} channels is not one for "
            f"{modality.name}"
        )
    return prior


def _header(blob):
    length = int.from_bytes(blob[:8], "little")
    try:
        return json.loads(json.loads(blob[8 : 8 + length])["__metadata__"]["recjax"])
    except (KeyError, TypeError, ValueError, RecursionError):
        raise ValueError("it does not begin with the description of a prior") from None
