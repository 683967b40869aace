"""``recjax info``."""

import json as json_module
import math
import sys
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from recjax.codec.container import header_bits, parse, verify
from recjax.codec.header import Header
from recjax.codec.prior import Prior
from recjax.codec.segments import segments
from recjax.commands.shared import naming, read_rec, rec_files, report, table
from recjax.modalities.grid import n_patches


def info(rec: Positional[Path], *, json: bool = False, prior: str | None = None) -> None:
    """Show what a .rec file holds, bit by bit.

    Without the prior of the file, this is what the header says. The page "Command line" of the
    documentation explains every field.

    Args:
        rec: the .rec file, a folder of them, or - for standard input.
        json: print JSON; of a folder an object with one entry per file.
        prior: name or path of the prior, if it is not an embedded one.
    """
    if not rec.is_dir():
        facts = _facts(rec, prior)
        print(json_module.dumps(facts, indent=2) if json else "\n".join(table(facts)))
        return
    found, failures, paths = {}, [], rec_files(rec)
    for path in paths:
        try:
            found[path.name] = _facts(path, prior)
        except ValueError as error:
            failures.append(str(error))
    print(json_module.dumps(found, indent=2) if json else "\n".join(table(found)))
    report(failures, len(paths))


def _facts(path: Path, prior: str | None) -> dict[str, Any]:
    blob = read_rec(path)
    with naming(path):
        facts = describe(blob, _find_prior(blob, prior))
    if not facts["known_prior"]:
        print(
            f"recjax: {path}: the rest takes its prior, which is not embedded (--prior PATH)",
            file=sys.stderr,
        )
    return facts


def describe(blob: bytes, prior) -> dict[str, Any]:
    """The accounting of a file; the part that needs the prior is left out if that is None.

    Raises:
        FormatError: if the file is damaged.
    """
    header, payload = parse(blob) if prior is None else verify(blob, prior.digest)
    facts: dict[str, Any] = {
        "bytes": len(blob),
        "version": header.version,
        "scheme": header.scheme,
        "modality": header.modality.name,
        "shape": list(header.shape) if header.shape else None,
        **header.modality.describe(header.flag, header.meta),
        "extra_bits": header.extra_bits,
        "exponent": header.exponent / 64,
        "prior": header.digest_prefix.hex(),
        "header_bits": header_bits(header, payload),
        "payload_bits": 8 * len(payload),
    }
    if header.segment:
        facts["segments"] = header.segments
    if prior is None:
        return facts | {"known_prior": False}
    from recjax.codec.kinds import KINDS

    shape, groups = header.sides(prior), {}
    for part, stream in segments(header, payload, prior.digest):
        for name, numbers in KINDS[prior.kind].account(prior, part, stream).items():
            known = groups.setdefault(name, dict.fromkeys(numbers, 0))
            groups[name] = {key: known[key] + number for key, number in numbers.items()}
    stream_bits = sum(group["index_bits"] for group in groups.values())
    blocks = sum(group["blocks"] for group in groups.values())
    return facts | {
        "shape": list(shape),
        "prior": prior.name,
        "known_prior": True,
        "patches": math.prod(n_patches(shape, prior.patch)),
        "blocks": blocks,
        "groups": groups,
        "index_bits": round(stream_bits, 2),
        "rounding_bits": round(8 * len(payload) - stream_bits, 2),
        "nominal_kl_bits": round(float(blocks * prior.budget), 2),
        "bpp": round(8 * len(blob) / math.prod(shape), 4),
        **_time(header, prior, len(blob)),
    }


def _time(header: Header, prior: Prior, size: int) -> dict[str, float]:
    """Duration of a signal in time, and the rate of a file of ``size`` bytes."""
    seconds = header.seconds(prior)
    if seconds is None:
        return {}
    return {"seconds": round(seconds, 4), "kbps": round(8 * size / seconds / 1000, 4)}


def _find_prior(blob: bytes, prior: str | None):
    from recjax.codec import embedded_with, load_prior

    if prior is not None:
        return load_prior(prior)
    return next(iter(embedded_with(parse(blob)[0].digest_prefix)), None)
