"""``recjax eval``."""

import io
import math
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from tyro.conf import Positional

from recjax.atomic import check_output
from recjax.commands.compress import check_effort
from recjax.commands.shared import Quality, chosen_prior, progress_bar
from recjax.modalities import Signal
from recjax.modalities.files import list_signals, load
from recjax.modalities.image.pixels import psnr
from recjax.results.files import PSNR, RATE, Curve, Panel, Results, save_results

BATCH_PIXELS = 2**19
"""Images are compressed together up to this many pixels."""

_CODECS = {
    "jpeg": [{"format": "JPEG", "optimize": True, "subsampling": sampling} for sampling in (0, 2)],
    "webp": [{"format": "WEBP", "method": 6}],
}
_NAMES = {"jpeg": "JPEG", "webp": "WebP"}


def eval(
    folder: Positional[Path],
    *,
    prior: str | None = None,
    quality: Quality = "high",
    effort: int = 5,
    limit: int | None = None,
    json: Path | None = None,
    title: str | None = None,
    force: bool = False,
) -> None:
    """Measure rate and PSNR of every image in a folder, beside JPEG and WebP of at most equal size.

    Args:
        folder: PNG, JPEG and WebP files.
        prior: name or path of a prior, instead of --quality.
        quality: which of the embedded priors.
        effort: 1 (fast) to 9 (slow, better).
        limit: only the first so many images, by name.
        json: also write the results to this file, for recjax plot.
        title: of the plot, by default the folder's name; recjax plot draws files of one title over each other.
        force: replace the file of --json if it exists.
    """
    check_effort(effort)
    if json is not None:
        check_output(json, force=force)
    if not folder.is_dir():
        raise ValueError(
            f"{folder} is not a folder" if folder.exists() else f"there is no folder {folder}"
        )
    if limit is not None and limit < 1:
        raise ValueError(f"--limit must be at least 1, got {limit}")
    signals = {path.name: load(path) for path in list_signals(folder)[:limit]}

    loaded = chosen_prior(prior, quality)
    print(
        f"{'image':<24}{'bytes':>8}{'bpp':>8}{'dB':>8}{'JPEG dB':>9}{'WebP dB':>9}{'s':>8}",
        flush=True,
    )
    rows = []
    for batch in _batches(signals):
        for row in _measure(batch, loaded, effort):
            rows.append(row)
            print(_line(row), flush=True)
    means = {
        key: statistics.fmean(values)
        if (values := [row[key] for row in rows if row[key] is not None])
        else None
        for key in ("bytes", "bpp", "psnr", "jpeg_psnr", "webp_psnr", "seconds")
    }
    print(_line({"image": "mean", **means}))
    for codec in _CODECS:
        if missing := sum(row[f"{codec}_psnr"] is None for row in rows):
            print(
                f"{_NAMES[codec]} has no file as small as ours for {missing} of {len(rows)} images (mean: the rest)"
            )
    if json is not None:
        save_results(
            to_results(rows, means, title or folder.resolve().name, loaded.name, effort),
            json,
            force=force,
        )


def to_results(
    rows: list[dict[str, Any]], means: dict[str, Any], title: str, prior: str, effort: int
) -> Results:
    """What was measured as a results file: a point of ours, and one of each codec that has files for all images.

    The curve is named after the family of the prior, whose name ends with the rate, so that `recjax plot` makes one
    curve of several files. The PSNR of images that are equal, which is infinite, is null in the details and no point.
    """
    curves, family = [], prior.rpartition("-")[0] or prior
    if math.isfinite(means["psnr"]):
        error = (
            statistics.stdev([row["psnr"] for row in rows]) / math.sqrt(len(rows))
            if len(rows) > 1
            else 0.0
        )
        label = f"recjax {family}, effort {effort}"
        curves.append(Curve.with_errors(label, [means["bpp"]], [means["psnr"]], [error]))
    for codec in _CODECS:
        quality = [row[f"{codec}_psnr"] for row in rows]
        if None not in quality and all(map(math.isfinite, quality)):
            rate = statistics.fmean(
                row["bpp"] * row[f"{codec}_bytes"] / row["bytes"] for row in rows
            )
            curves.append(
                Curve(
                    f"{_NAMES[codec]} of at most equal size", (rate,), (statistics.fmean(quality),)
                )
            )
    description = (
        f"{len(rows)} images, effort {effort}; JPEG and WebP: best file not larger than ours"
    )
    details = {"mean": _nulls(means), "images": [_nulls(row) for row in rows]}
    panel = Panel(title, RATE, PSNR, tuple(curves))
    return Results(f"{title} {prior}", description, "recjax eval", (panel,), details)


def _nulls(row):
    return {name: None if value == math.inf else value for name, value in row.items()}


class Rival(NamedTuple):
    """A file of another codec."""

    psnr: float
    data: bytes


def best_at_size(values: UInt8[np.ndarray, "H W 3"], codec: str, limit: int) -> Rival | None:
    """The best file of ``"jpeg"`` or ``"webp"`` with at most ``limit`` bytes, or None if there is none.

    For each chroma subsampling the quality is bisected for the largest file that fits; nothing is interpolated.
    """
    image, found = Image.fromarray(values), []
    for options in _CODECS[codec]:
        low, high = -1, 100  # low fits (or is below the first quality), high + 1 does not
        while low < high:
            middle = (low + high + 1) // 2
            buffer = io.BytesIO()
            image.save(buffer, quality=middle, **options)
            if len(buffer.getvalue()) > limit:
                high = middle - 1
                continue
            low = middle
            decoded = np.array(Image.open(buffer).convert("RGB"))
            found.append(Rival(psnr(decoded, values), buffer.getvalue()))
    return max(found, default=None)


def _batches(signals: dict[str, Signal]) -> Iterator[dict[str, Signal]]:
    """Runs of images of one shape, of at most `BATCH_PIXELS` (or one image)."""
    batch: dict[str, Signal] = {}
    for name, signal in signals.items():
        shapes = {each.values.shape for each in batch.values()} | {signal.values.shape}
        if batch and (
            len(shapes) > 1 or (len(batch) + 1) * signal.values[..., 0].size > BATCH_PIXELS
        ):
            yield batch
            batch = {}
        batch[name] = signal
    yield batch


def _measure(batch: dict[str, Signal], prior, effort: int) -> Iterator[dict[str, Any]]:
    from recjax.codec import decompress_batch, encode_batch

    start = time.perf_counter()
    with progress_bar("compress") as progress:
        results = encode_batch(list(batch.values()), prior, effort=effort, progress=progress)
    seconds = (time.perf_counter() - start) / len(batch)
    decoded = decompress_batch([result.blob for result in results], priors=(prior,))
    for (name, signal), result, back in zip(batch.items(), results, decoded):
        size = len(result.blob)
        row = {
            "image": name,
            "bytes": size,
            "bpp": 8 * size / signal.values[..., 0].size,
            "psnr": psnr(back.values, signal.values),
            "kl_bits": sum(result.kl_bits.values()),
            "index_bits": float(result.index_bits),
            "header_bits": int(result.header_bits),
            "seconds": seconds,
        }
        for codec in _CODECS:
            best = best_at_size(signal.values, codec, size)
            row[f"{codec}_bytes"] = len(best.data) if best else None
            row[f"{codec}_psnr"] = best.psnr if best else None
        yield row


def _line(row: dict[str, Any]) -> str:
    jpeg, webp = (
        f"{row[key]:.2f}" if row[key] is not None else "-" for key in ("jpeg_psnr", "webp_psnr")
    )
    return (
        f"{row['image']:<24}{row['bytes']:>8.0f}{row['bpp']:>8.3f}{row['psnr']:>8.2f}{jpeg:>9}{webp:>9}"
        f"{row['seconds']:>8.1f}"
    )
