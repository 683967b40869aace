"""Kodak: rate and quality of real files beside other codecs, measured and published.

    python -m experiments.kodak --data FOLDER --priors photo-low photo-medium photo-high photo-best

``--bpp 0.1 0.25`` adds files of equal size for all images, which is what COMBINER and RECOMBINER have: every image as
many blocks. ``FOLDER`` holds the images (the published curves are for the 24 of Kodak); a prior is the name of an
embedded one, or a file. Every image becomes a file of its own, which is decoded again. Rate is the mean of file sizes,
PSNR the mean over images, as in the papers. JPEG 2000, WebP and AVIF are files that Pillow writes, with one setting for
all images (that of JPEG 2000 is the size).
"""

import dataclasses
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tyro

import recjax
from experiments.exact import exact_samples
from experiments.outputs import save
from experiments.published import load_curve
from experiments.rivals import measured_curves, missing_codecs
from recjax.codec import Encoding, Prior, decompress, encode, encode_batch, load_prior
from recjax.codec.transform.efforts import EFFORTS as TRANSFORM_EFFORTS
from recjax.codec.transform.prior import TransformPrior
from recjax.modalities.files import list_signals
from recjax.modalities.image.pixels import psnr
from recjax.results.files import PSNR, RATE, Curve, Panel, Results
from recjax.results.rate_curves import bd_rate, psnr_at

PUBLISHED = ("COMBINER", "RECOMBINER", "BPG", "VTM", "C3")


@dataclasses.dataclass(frozen=True)
class Args:
    """Images with several priors, beside other codecs.

    Attributes:
        data: folder of images.
        priors: names of embedded priors, or files.
        bpp: sizes of files of equal size.
        effort: 1 to 9.
        limit: only the first so many images, by name.
        out: folder of the results.
    """

    data: Path
    priors: tuple[str, ...]
    bpp: tuple[float, ...] = ()
    effort: int = 5
    limit: int | None = None
    out: Path = Path("experiments/results")


def load_images(folder: Path, limit: int | None) -> dict[str, recjax.Signal]:
    """The PNG, JPEG and WebP images of a folder by name.

    Raises:
        ValueError: there are none, or one cannot be read.
    """
    paths = list_signals(folder)[:limit]
    if not paths:
        raise ValueError(f"the limit {limit} leaves no image")
    return {path.name: recjax.load(path) for path in paths}


def files(
    images: dict[str, recjax.Signal],
    write: Callable[[recjax.Signal], Encoding],
    priors: Sequence[Prior],
) -> list[dict]:
    """Size, quality and seconds of a file of every image; compilation for the shape of an image is apart."""
    rows, shapes = [], set()
    with tempfile.TemporaryDirectory() as folder:
        for name, signal in images.items():
            if signal.values.shape not in shapes:
                shapes.add(signal.values.shape)
                decompress(write(signal).blob, priors=priors)
            path = Path(folder) / f"{name}.rec"
            start = time.perf_counter()
            result = write(signal)
            path.write_bytes(result.blob)
            encoded = time.perf_counter()
            decoded = decompress(path.read_bytes(), priors=priors)
            stop = time.perf_counter()
            pixels = signal.values[..., 0].size
            rows.append(
                {
                    "image": name,
                    "bytes": path.stat().st_size,
                    "bpp": 8 * path.stat().st_size / pixels,
                    "kl_bpp": float(sum(result.kl_bits.values()) / pixels),
                    "psnr": psnr(decoded.values, signal.values),
                    "seconds": encoded - start,
                    "decode_seconds": stop - encoded,
                }
            )
    return rows


def exact(images: dict[str, recjax.Signal], prior: Prior, effort: int) -> dict[str, float]:
    """Exact posterior samples at their KL; means over images."""
    signals, rates, quality = list(images.values()), [], []
    for signal in signals:
        (decoded,), bits = exact_samples([signal], prior, TRANSFORM_EFFORTS[effort])
        rates.append(bits / signal.values[..., 0].size)
        quality.append(psnr(decoded.values, signal.values))
    return {"kl_bpp": float(np.mean(rates)), "psnr": float(np.mean(quality))}


def measure(
    images: dict[str, recjax.Signal],
    name: str,
    write: Callable[[recjax.Signal], Encoding],
    priors: Sequence[Prior] = (),
) -> dict:
    """`files`, and their means."""
    rows = files(images, write, priors)
    means = {
        key: float(np.mean([row[key] for row in rows]))
        for key in ("bpp", "kl_bpp", "psnr", "seconds", "decode_seconds")
    }
    result = {"name": name, **means, "images": rows}
    print(
        "{name}: {bpp:.4f} bpp, KL {kl_bpp:.4f} bpp, {psnr:.2f} dB, encoding {seconds:.2f} s, "
        "decoding {decode_seconds:.2f} s an image".format(**result),
        flush=True,
    )
    return result


def measure_prior(images: dict[str, recjax.Signal], prior: Prior, effort: int) -> dict:
    """Files and, of a transform, exact samples."""
    result = measure(
        images, prior.name, lambda signal: encode_batch([signal], prior, effort=effort)[0], (prior,)
    )
    result["digest"] = prior.digest.hex()[:12]
    if isinstance(prior, TransformPrior):  # that of a SIREN costs as much as its files
        result["exact"] = exact(images, prior, effort)
        print("  exact: KL {kl_bpp:.4f} bpp, {psnr:.2f} dB".format(**result["exact"]), flush=True)
    return result


def curve_of(label: str, results: list[dict]) -> Curve:
    """Means of files."""
    bpp, quality = zip(*sorted((result["bpp"], result["psnr"]) for result in results), strict=True)
    return Curve(label, bpp, quality)


def own_curves(measured: dict[str, Any]) -> list[Curve]:
    """Ours: the files at one price of a bit, those of equal size, and exact samples at their KL."""
    curves = [
        curve_of(f"recjax, {name} for all images", measured[key])
        for key, name in (("recjax", "one price"), ("equal_sizes", "equal sizes"))
        if measured[key]
    ]
    exact = sorted(
        (r["exact"]["kl_bpp"], r["exact"]["psnr"]) for r in measured["recjax"] if "exact" in r
    )
    if exact:
        bpp, quality = zip(*exact, strict=True)
        curves.append(Curve("recjax, exact samples at their KL", bpp, quality))
    return curves


def to_results(measured: dict[str, Any], description: str) -> Results:
    """What was measured as a results file.

    Args:
        measured: ``recjax`` and ``equal_sizes``, what `measure_prior` and `measure` gave for every prior and size;
            ``measured``, name and "(measured)" -> ``bpp`` and ``psnr`` of another codec; ``comparison``.
        description: how.
    """
    others = [
        Curve(name.removesuffix(" (measured)"), tuple(curve["bpp"]), tuple(curve["psnr"]))
        for name, curve in measured["measured"].items()
    ]
    published = [load_curve("kodak", name) for name in PUBLISHED]
    panel = Panel("Kodak", RATE, PSNR, (*own_curves(measured), *others, *published))
    return Results("kodak", description, "python -m experiments.kodak", (panel,), measured)


def compare(ours: Curve, others: dict[str, Curve]) -> dict[str, dict]:
    """For every codec PSNR at our rates, and the rate that we need more, in percent."""
    return {
        name: {
            "psnr_at_our_rates": [psnr_at(other, bpp) for bpp in ours.x],
            "bd_rate_percent": bd_rate(ours, other),
        }
        for name, other in others.items()
    }


def print_table(title: str, ours: Curve, comparison: dict[str, dict]) -> None:
    """PSNR in dB of every codec (rows) at our rates (columns)."""

    def line(name, values, last):
        cells = "".join(f"{'n/a' if value is None else f'{value:.2f}':>10}" for value in values)
        print(f"{name:<24}{cells}{last:>12}")

    print(f"{title:<24}{''.join(f'{bpp:>6.3f} bpp' for bpp in ours.x)}{'our BD-rate':>12}")
    line("recjax", ours.y, "")
    for name, row in comparison.items():
        bd = row["bd_rate_percent"]
        line(name, row["psnr_at_our_rates"], "n/a" if bd is None else f"{bd:+.1f} %")


def main(args: Args) -> None:
    priors = [load_prior(name) for name in args.priors]
    images = load_images(args.data, args.limit)
    results = [measure_prior(images, prior, args.effort) for prior in priors]
    equal = [
        measure(
            images,
            f"{bpp:g} bpp",
            lambda signal, bpp=bpp: encode(signal, bpp=bpp, effort=args.effort),
            priors,
        )
        for bpp in args.bpp
    ]
    if missing := missing_codecs():
        print(f"not measured, because this Pillow lacks them: {', '.join(missing)}")
    measured = {
        f"{curve.label} (measured)": curve for curve in measured_curves(list(images.values()))
    }
    published = {f"{name} (published)": load_curve("kodak", name) for name in PUBLISHED}
    comparison = {}
    for own, name in ((results, "one price"), (equal, "equal sizes")):
        if own:
            comparison[name] = compare(curve_of(name, own), measured | published)
            print_table(name, curve_of(name, own), comparison[name])
    found = {
        "recjax": results,
        "equal_sizes": equal,
        "measured": {name: {"bpp": curve.x, "psnr": curve.y} for name, curve in measured.items()},
        "comparison": comparison,
    }
    description = (
        f"{len(images)} images, effort {args.effort}; published curves are for all 24 of Kodak"
    )
    save(to_results(found, description), args.out, ".png")


if __name__ == "__main__":
    main(tyro.cli(Args))
