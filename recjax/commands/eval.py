"""``recjax eval``."""

import math
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from recjax.atomic import check_output
from recjax.commands.compress import check_effort
from recjax.commands.shared import progress_bar
from recjax.modalities import Modality, Signal, modality_of_name
from recjax.modalities.files import list_signals, load
from recjax.results.files import Axis, Curve, Panel, Results, save_results

BATCH_VALUES = 3 * 2**19
"""Signals are compressed together up to this many values."""


def eval(
    folder: Positional[Path],
    *,
    prior: str | None = None,
    quality: str | None = None,
    effort: int = 5,
    limit: int | None = None,
    json: Path | None = None,
    title: str | None = None,
    force: bool = False,
) -> None:
    """Measure rate and quality of every file in a folder, beside other codecs at most equal size.

    Images have JPEG and WebP as rivals, and PSNR as the measure of quality.

    Args:
        folder: files of one modality, such as PNG, JPEG and WebP images.
        prior: name or path of a prior, instead of --quality.
        quality: low, medium, high or best, or its number from 1; by default high.
        effort: 1 (fast) to 9 (slow, better).
        limit: only the first so many files, by name.
        json: also write the results to this file, for recjax plot.
        title: of the plot, by default the folder's name; recjax plot draws files of one title over
            each other.
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
    if prior is not None and quality is not None:
        raise ValueError("--quality is the choice of a prior: give --quality or --prior, not both")
    signals = {path.name: load(path) for path in list_signals(folder)[:limit]}
    names = sorted({signal.modality for signal in signals.values()})
    if len(names) > 1:
        raise ValueError(f"{folder} holds files of several modalities: {', '.join(names)}")
    modality = modality_of_name(names[0])
    price = modality.price_of_quality(quality) if prior is None else 1.0
    prior = modality.prior_of_quality(quality) if prior is None else prior

    from recjax.codec import load_prior

    loaded = load_prior(prior)
    print(_headings(modality), flush=True)
    rows = []
    for batch in _batches(signals):
        for row in _measure(batch, modality, loaded, effort, price):
            rows.append(row)
            print(_line(row, modality), flush=True)
    columns = [
        name
        for name in rows[0]
        if name not in (modality.name, "kl_bits", "index_bits", "header_bits")
    ]
    means = {
        key: statistics.fmean(values)
        if (values := [row[key] for row in rows if row[key] is not None])
        else None
        for key in columns
    }
    print(_line({modality.name: "mean", **means}, modality))
    for rival in modality.rivals:
        if missing := sum(row[f"{rival.name}_bytes"] is None for row in rows):
            print(
                f"{rival.label} has no file as small as ours for {missing} of {len(rows)} files "
                "(mean: the rest)"
            )
    if json is not None:
        name = title or folder.resolve().name
        results = to_results(rows, means, name, loaded.name, effort, modality)
        save_results(results, json, force=force)


def to_results(
    rows: list[dict[str, Any]],
    means: dict[str, Any],
    title: str,
    prior: str,
    effort: int,
    modality: Modality,
) -> Results:
    """The measurements as a results file: our point, and one of each rival with files for all.

    The curve is named after the family of the prior, whose name ends with the rate, so that `recjax
    plot` makes one curve of several files. An infinite score, that of equal signals, is null in the
    details and no point.
    """
    curves, family, key = [], prior.rpartition("-")[0] or prior, _key(modality)
    if math.isfinite(means[key]):
        scores = [row[key] for row in rows]
        error = statistics.stdev(scores) / math.sqrt(len(rows)) if len(rows) > 1 else 0.0
        label = f"recjax {family}, effort {effort}"
        curves.append(Curve.with_errors(label, [means["bpp"]], [means[key]], [error]))
    for rival in modality.rivals:
        scores = [row[f"{rival.name}_{key}"] for row in rows]
        if None not in scores and all(map(math.isfinite, scores)):
            rate = statistics.fmean(
                row["bpp"] * row[f"{rival.name}_bytes"] / row["bytes"] for row in rows
            )
            label = f"{rival.label} of at most equal size"
            curves.append(Curve(label, (rate,), (statistics.fmean(scores),)))
    rivals = " and ".join(rival.label for rival in modality.rivals)
    beside = f"; {rivals}: best file not larger than ours" if rivals else ""
    details = {"mean": _nulls(means), f"{modality.name}s": [_nulls(row) for row in rows]}
    axes = Axis(modality.rate_label, "log"), Axis(modality.score.label)
    return Results(
        f"{title} {prior}",
        f"{len(rows)} {modality.name}s, effort {effort}{beside}",
        "recjax eval",
        (Panel(title, *axes, tuple(curves)),),
        details,
    )


def _key(modality: Modality) -> str:
    """The score's name in results files."""
    return modality.score.name.lower()


def _nulls(row):
    return {name: None if value in (math.inf, -math.inf) else value for name, value in row.items()}


def _batches(signals: dict[str, Signal]) -> Iterator[dict[str, Signal]]:
    """Runs of signals of one shape, of at most `BATCH_VALUES` (or one signal)."""
    batch: dict[str, Signal] = {}
    for name, signal in signals.items():
        shapes = {each.values.shape for each in batch.values()} | {signal.values.shape}
        if batch and (len(shapes) > 1 or (len(batch) + 1) * signal.values.size > BATCH_VALUES):
            yield batch
            batch = {}
        batch[name] = signal
    yield batch


def _measure(
    batch: dict[str, Signal], modality: Modality, prior, effort: int, price: float
) -> Iterator[dict[str, Any]]:
    from recjax.codec import encode_batch
    from recjax.codec.encoding import decode_together

    start = time.perf_counter()
    with progress_bar("compress") as progress:
        results = encode_batch(
            list(batch.values()), prior, effort=effort, price=price, progress=progress
        )
    seconds = (time.perf_counter() - start) / len(batch)
    decode_together(results)
    for (name, signal), result in zip(batch.items(), results):
        row = {
            modality.name: name,
            "bytes": len(result.blob),
            "bpp": result.rate,
            _key(modality): result.score,
            **{
                score.name.lower(): score.measure(signal, result.decoded)
                for score in modality.more_scores
            },
            "kl_bits": sum(result.kl_bits.values()),
            "index_bits": float(result.index_bits),
            "header_bits": int(result.header_bits),
            "seconds": seconds,
        }
        for rival in modality.rivals:
            score, size = rival.best(signal, len(result.blob)) or (None, None)
            row[f"{rival.name}_bytes"] = size
            row[f"{rival.name}_{_key(modality)}"] = score
        yield row


def _headings(modality: Modality) -> str:
    unit = modality.score.unit
    rivals = "".join(f"{f'{rival.label} {unit}':>9}" for rival in modality.rivals)
    return f"{modality.name:<24}{'bytes':>8}{'bpp':>8}{unit:>8}{rivals}{'s':>8}"


def _line(row: dict[str, Any], modality: Modality) -> str:
    key = _key(modality)
    scores = [row[f"{rival.name}_{key}"] for rival in modality.rivals]
    rivals = "".join(f"{'-' if score is None else f'{score:.2f}':>9}" for score in scores)
    return (
        f"{row[modality.name]:<24}{row['bytes']:>8.0f}{row['bpp']:>8.3f}{row[key]:>8.2f}{rivals}"
        f"{row['seconds']:>8.1f}"
    )
