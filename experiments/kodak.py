"""Kodak: rate and quality of real files beside other codecs, measured and published.

    python -m experiments.kodak --data FOLDER --priors photo-low photo-medium photo-high photo-best

``--bpp 0.1 0.25`` adds files of equal size for all images, which is what COMBINER and RECOMBINER have: every image as
many blocks. ``FOLDER`` holds the images (the published curves are for the 24 of Kodak); a prior is the name of an
embedded one, or a file. Every image becomes a file of its own, which is decoded again. Rate is the mean of file sizes,
PSNR the mean over images, as in the papers. JPEG 2000, WebP and AVIF are files that Pillow writes, with one setting for
all images (that of JPEG 2000 is the size).
"""

import dataclasses
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tyro

import recjax
from experiments.exact import exact_samples
from experiments.published import load_curve
from experiments.rate_curves import Curve, bd_rate, psnr_at
from experiments.rivals import measured_curves, missing_codecs
from recjax.codec import Encoded, Prior, decompress, encode_at_rate, encode_batch, load_prior
from recjax.codec.effort import effort_of
from recjax.codec.transform_prior import TransformPrior
from recjax.modalities.image import psnr
from recjax.modalities.image_files import list_images

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
    paths = list_images(folder)[:limit]
    if not paths:
        raise ValueError(f"the limit {limit} leaves no image")
    return {path.name: recjax.load(path) for path in paths}


def files(
    images: dict[str, recjax.Signal], encode: Callable[[recjax.Signal], Encoded], priors: Sequence[Prior]
) -> list[dict]:
    """Size, quality and seconds of a file of every image; compilation for the shape of an image is apart."""
    rows, shapes = [], set()
    with tempfile.TemporaryDirectory() as folder:
        for name, signal in images.items():
            if signal.values.shape not in shapes:
                shapes.add(signal.values.shape)
                decompress(encode(signal).blob, priors=priors)
            path = Path(folder) / f"{name}.rec"
            start = time.perf_counter()
            result = encode(signal)
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
                    "kl_bpp": float(result.kl_bits / pixels),
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
        (decoded,), bits = exact_samples([signal], prior, effort_of(effort, transform=True))
        rates.append(bits / signal.values[..., 0].size)
        quality.append(psnr(decoded.values, signal.values))
    return {"kl_bpp": float(np.mean(rates)), "psnr": float(np.mean(quality))}


def measure(
    images: dict[str, recjax.Signal],
    name: str,
    encode: Callable[[recjax.Signal], Encoded],
    priors: Sequence[Prior] = (),
) -> dict:
    """`files`, and their means."""
    rows = files(images, encode, priors)
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
    result = measure(images, prior.name, lambda signal: encode_batch([signal], prior, effort=effort)[0], (prior,))
    result["digest"] = prior.digest.hex()[:12]
    if isinstance(prior, TransformPrior):  # that of a SIREN costs as much as its files
        result["exact"] = exact(images, prior, effort)
        print("  exact: KL {kl_bpp:.4f} bpp, {psnr:.2f} dB".format(**result["exact"]), flush=True)
    return result


def curve_of(results: list[dict]) -> Curve:
    points = sorted((result["bpp"], result["psnr"]) for result in results)
    return Curve([bpp for bpp, _ in points], [psnr for _, psnr in points])


def compare(ours: Curve, others: dict[str, Curve]) -> dict[str, dict]:
    """For every codec PSNR at our rates, and the rate that we need more, in percent."""
    return {
        name: {"psnr_at_our_rates": [psnr_at(curve, bpp) for bpp in ours.bpp], "bd_rate_percent": bd_rate(ours, curve)}
        for name, curve in others.items()
    }


def print_table(title: str, ours: Curve, comparison: dict[str, dict]) -> None:
    """PSNR in dB of every codec (rows) at our rates (columns)."""

    def line(name, values, last):
        cells = "".join(f"{'n/a' if value is None else f'{value:.2f}':>10}" for value in values)
        print(f"{name:<24}{cells}{last:>12}")

    print(f"{title:<24}{''.join(f'{bpp:>6.3f} bpp' for bpp in ours.bpp)}{'our BD-rate':>12}")
    line("recjax", ours.psnr, "")
    for name, row in comparison.items():
        bd = row["bd_rate_percent"]
        line(name, row["psnr_at_our_rates"], "n/a" if bd is None else f"{bd:+.1f} %")


def plot(results: list[dict], equal: list[dict], others: tuple[dict[str, Curve], dict[str, Curve]], out: Path) -> None:
    """PSNR against rate on a logarithmic axis; the others are measured and published."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 6), constrained_layout=True)
    for curves, style in zip(others, ("s-", "o--"), strict=True):
        for name, curve in curves.items():
            axes.plot(*curve, style, ms=3, lw=1, label=name)
    for own, style, label in ((results, "ko-", "one price"), (equal, "k^--", "equal sizes")):
        if own:
            axes.plot(*curve_of(own), style, ms=5, label=f"recjax, files, {label} for all images")
    ideal = sorted((r["exact"]["kl_bpp"], r["exact"]["psnr"]) for r in results if "exact" in r)
    if ideal:
        axes.plot(*zip(*ideal, strict=True), "k*", label="recjax, exact samples (at KL)")
    ticks = (0.05, 0.1, 0.2, 0.5, 1, 2)
    axes.set(xscale="log", xlim=(0.05, 2.5), ylim=(22, 41), xlabel="bits per pixel", ylabel="mean PSNR [dB]")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_title(f"{len(results[0]['images'])} images of Kodak; the other codecs: -- published, - measured")
    axes.legend(fontsize=8, loc="lower right")
    axes.grid(alpha=0.3)
    figure.savefig(out / "kodak.png", dpi=120)


def main(args: Args) -> None:
    priors = [load_prior(name) for name in args.priors]
    images = load_images(args.data, args.limit)
    results = [measure_prior(images, prior, args.effort) for prior in priors]
    equal = [
        measure(images, f"{bpp:g} bpp", lambda signal, bpp=bpp: encode_at_rate(signal, bpp, effort=args.effort), priors)
        for bpp in args.bpp
    ]
    if missing := missing_codecs():
        print(f"not measured, because this Pillow lacks them: {', '.join(missing)}")
    measured = {f"{name} (measured)": curve for name, curve in measured_curves(list(images.values())).items()}
    published = {f"{name} (published)": Curve(*load_curve("kodak", name)) for name in PUBLISHED}
    comparison = {}
    for own, name in ((results, "one price"), (equal, "equal sizes")):
        if own:
            comparison[name] = compare(curve_of(own), measured | published)
            print_table(name, curve_of(own), comparison[name])
    args.out.mkdir(parents=True, exist_ok=True)
    document = {
        "name": "kodak",
        "description": f"{len(images)} images, effort {args.effort}; published curves are for all 24 of Kodak",
        "source": "python -m experiments.kodak",
        "results": {
            "recjax": results,
            "equal_sizes": equal,
            "measured": {name: curve._asdict() for name, curve in measured.items()},
            "comparison": comparison,
        },
    }
    (args.out / "kodak.json").write_text(json.dumps(document, indent=1) + "\n")
    plot(results, equal, (measured, published), args.out)


if __name__ == "__main__":
    main(tyro.cli(Args))
