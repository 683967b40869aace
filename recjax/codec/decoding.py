"""``.rec`` bytes to signals."""

import dataclasses
import functools
import math
import sys
from collections.abc import Iterable, Sequence

import jax
import numpy as np

from recjax import randomness
from recjax.cache import enable_compilation_cache
from recjax.codec.container import parse, verify
from recjax.codec.header import Header
from recjax.codec.kinds import KINDS
from recjax.codec.prior import Prior
from recjax.codec.prior_files import embedded_with
from recjax.codec.segments import segments
from recjax.errors import FormatError, check_range
from recjax.modalities import Grid, Signal


def decompress(
    blob: bytes, *, priors: Iterable[Prior] = (), max_cells: int | None = None
) -> Signal:
    """The signal in a ``.rec`` file.

    Args:
        blob: the file.
        priors: priors besides the embedded ones; the file names its prior by digest.
        max_cells: signals of more cells (pixels) are refused; by default the modality's bound. A
            plain image of any size has a file of some hundred bytes, so that a short file may ask
            for much work; this bounds it.

    Raises:
        FormatError: the file is damaged, of a newer version, its prior is not at hand, or its
            signal is too large.
        ValueError: ``blob`` is not bytes, ``priors`` are not priors, or ``max_cells`` is not a
            positive whole number.
    """
    return decompress_batch([blob], priors=priors, max_cells=max_cells)[0]


def decompress_batch(
    blobs: Sequence[bytes], *, priors: Iterable[Prior] = (), max_cells: int | None = None
) -> list[Signal]:
    """Decompresses many files at once; see `decompress`."""
    given = list(priors) if isinstance(priors, Iterable) else [priors]
    if isinstance(priors, Prior) or not all(isinstance(prior, Prior) for prior in given):
        raise ValueError("priors must be a sequence of what load_prior returns")
    if max_cells is not None:
        check_range("max_cells", max_cells, 1, sys.maxsize)
    enable_compilation_cache()
    embedded = functools.cache(embedded_with)  # once for all files of a prior
    files = [_open(blob, given, embedded, max_cells) for blob in blobs]
    parts = [
        (i, prior, *part)
        for i, (prior, header, payload) in enumerate(files)
        for part in segments(header, payload, prior.digest)
    ]
    decoded = _decoded([part[1:] for part in parts])
    grids: list[list[Grid]] = [[] for _ in files]
    for (i, *_), grid in zip(parts, decoded, strict=True):
        grids[i].append(grid)
    return [
        header.modality.from_grid(_joined(header, of_file))
        for (_, header, _), of_file in zip(files, grids, strict=True)
    ]


def _decoded(parts: list[tuple[Prior, Header, bytes]]) -> list[Grid]:
    """The segments of files; those that one program decodes together."""
    groups: dict[tuple, list[int]] = {}
    for i, (prior, header, _) in enumerate(parts):
        groups.setdefault((prior.digest, header.version, header.extra_bits), []).append(i)
    out: dict[int, Grid] = {}
    for members in groups.values():
        prior = parts[members[0]][0]
        with jax.enable_x64(False):  # the same pixels whatever the program computes with
            grids = KINDS[prior.kind].decode(prior, [parts[i][1:] for i in members])
        out.update(zip(members, grids, strict=True))
    return [out[i] for i in range(len(parts))]


def _joined(header: Header, grids: list[Grid]) -> Grid:
    """A signal from its segments."""
    values = [grid.values for grid in grids]
    values = values[0] if len(values) == 1 else np.concatenate(values)
    return dataclasses.replace(grids[0], values=values, meta=header.meta)


def _open(blob, priors, embedded, max_cells):
    if not isinstance(blob, bytes | bytearray | memoryview):
        raise ValueError(f"blob must be the bytes of a .rec file, got {type(blob).__name__}")
    blob = bytes(blob)
    header, _ = parse(blob)
    prefix = header.digest_prefix
    matching = [*(prior for prior in priors if prior.digest.startswith(prefix)), *embedded(prefix)]
    if not matching:
        raise FormatError(
            f"the prior {prefix.hex()}... of this file is not known: "
            f"it is neither embedded nor given"
        )
    if header.scheme != randomness.SCHEME:
        raise FormatError(
            f"randomness scheme {header.scheme} is not known "
            f"(this release knows {randomness.SCHEME})"
        )
    prior, payload = _verified(blob, matching)
    if header.modality.name != prior.modality:
        raise FormatError(f"a prior for {prior.modality} cannot decode {header.modality.name}")
    if max_cells is not None and math.prod(header.sides(prior)) > max_cells:
        raise FormatError(f"the {prior.modality} has more than {max_cells} {header.modality.unit}s")
    try:
        header.block_coder(prior)
    except ValueError as error:
        raise FormatError(str(error)) from None
    return prior, header, payload


def _verified(blob, priors):
    """The prior among those of one digest prefix that the checksum fits, and the index stream."""
    for prior in priors[:-1]:
        try:
            return prior, verify(blob, prior.digest)[1]
        except FormatError:
            continue
    return priors[-1], verify(blob, priors[-1].digest)[1]
