"""``recjax info``."""

import json as json_module
import math
import sys
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from recjax.codec.container import header_bits, parse, verify
from recjax.commands.shared import naming, read_rec
from recjax.modalities.grid import n_patches


def info(rec: Positional[Path], *, json: bool = False, prior: str | None = None) -> None:
    """Show what a .rec file holds, bit by bit; of a file whose prior is not at hand, what the header says.

    Args:
        rec: the .rec file.
        json: print JSON.
        prior: name or path of the prior, if it is not an embedded one.
    """
    blob = read_rec(rec)
    with naming(rec):
        facts = describe(blob, _find_prior(blob, prior))
    if json:
        print(json_module.dumps(facts, indent=2))
    else:
        print("\n".join(f"{name:<16} {value}" for name, value in facts.items()))
    if not facts["known_prior"]:
        print(
            f"recjax: {rec}: the rest takes its prior, which is not embedded (--prior PATH)",
            file=sys.stderr,
        )


def describe(blob: bytes, prior) -> dict[str, Any]:
    """The accounting of a file; the part that needs the prior is left out if that is None.

    Raises:
        FormatError: if the file is damaged.
    """
    header, payload = parse(blob) if prior is None else verify(blob, prior.digest)
    facts: dict[str, Any] = {
        "bytes": len(blob),
        "scheme": header.scheme,
        "modality": header.modality.name,
        "shape": list(header.shape) if header.shape else None,
        **header.modality.describe(header.flag, b""),
        "extra_bits": header.extra_bits,
        "exponent": header.exponent / 64,
        "prior": header.digest_prefix.hex(),
        "header_bits": header_bits(header, payload),
        "payload_bits": 8 * len(payload),
    }
    if prior is None:
        return facts | {"known_prior": False}
    from recjax.codec.kinds import KINDS

    shape = header.sides(prior)
    groups = KINDS[prior.kind].account(prior, header, payload)
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
    }


def _find_prior(blob: bytes, prior: str | None):
    from recjax.codec import embedded_with, load_prior

    if prior is not None:
        return load_prior(prior)
    return next(iter(embedded_with(parse(blob)[0].digest_prefix)), None)
