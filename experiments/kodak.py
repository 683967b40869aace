"""Kodak: rate and quality of real files beside other codecs, measured and published.

    python -m experiments.kodak --data FOLDER --priors photo-low photo-medium photo-high photo-best

``FOLDER`` holds the images (the published curves are for the 24 of Kodak); a prior is the name of an embedded one, or a
file. Every image becomes a file of its own, which is decoded again. Rate is the mean of file sizes, PSNR the mean over
images, as in the papers. JPEG 2000, WebP and AVIF are files that Pillow writes, with one setting for all images.
"""

import dataclasses
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import tyro

import recjax
from experiments.exact import exact_samples
from experiments.published import load_curve
from experiments.rate_curves import Curve, bd_rate, psnr_at
from experiments.rivals import measured_curves, missing_codecs
from recjax.codec import Prior, decompress, encode_batch, load_prior
from recjax.codec.effort import effort_of
from recjax.codec.transform_prior import TransformPrior
from recjax.modalities.image import psnr

PUBLISHED = ("COMBINER", "RECOMBINER", "BPG", "VTM", "C3")


@dataclasses.dataclass(frozen=True)
class Args:
    """Images with several priors, beside other codecs.

    Attributes:
        data: folder of images.
        priors: names of embedded priors, or files.
        effort: 1 to 9.
        limit: only the first so many images, by name.
        out: folder of the results.
    """

    data: Path
    priors: tuple[str, ...]
    effort: int = 5
    limit: int | None = None
    out: Path = Path("experiments/results")


def load_images(folder: Path, limit: int | None) -> dict[str, recjax.Signal]:
    """The PNG, JPEG and WebP images of a folder by name.

    Raises:
        ValueError: there are none, or one cannot be read.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
    if not paths[:limit]:
        raise ValueError(f"{folder} holds no PNG, JPEG or WebP image, or the limit is none")
    return {path.name: recjax.load(path) for path in paths[:limit]}


def files(images: dict[str, recjax.Signal], prior: Prior, effort: int) -> list[dict]:
    """Size, quality and seconds of a file of every image; compilation for the shape of an image is apart."""
    rows, shapes = [], set()
    with tempfile.TemporaryDirectory() as folder:
        for name, signal in images.items():
            if signal.values.shape not in shapes:
                shapes.add(signal.values.shape)
                decompress(encode_batch([signal], prior, effort=effort)[0].blob, priors=(prior,))
            path = Path(folder) / f"{name}.rec"
            start = time.perf_counter()
            result = encode_batch([signal], prior, effort=effort)[0]
            path.write_bytes(result.blob)
            encoded = time.perf_counter()
            decoded = decompress(path.read_bytes(), priors=(prior,))
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
        (decoded,), bits = exact_samples([signal], prior, effort_of(effort))
        rates.append(bits / signal.values[..., 0].size)
        quality.append(psnr(decoded.values, signal.values))
    return {"kl_bpp": float(np.mean(rates)), "psnr": float(np.mean(quality))}


def measure(images: dict[str, recjax.Signal], prior: Prior, effort: int) -> dict:
    """Files and, of a transform, exact samples."""
    rows = files(images, prior, effort)
    means = {
        key: float(np.mean([row[key] for row in rows]))
        for key in ("bpp", "kl_bpp", "psnr", "seconds", "decode_seconds")
    }
    result = {"prior": prior.name, "digest": prior.digest.hex()[:12], **means, "images": rows}
    print(
        "{prior}: {bpp:.4f} bpp, KL {kl_bpp:.4f} bpp, {psnr:.2f} dB, encoding {seconds:.2f} s, "
        "decoding {decode_seconds:.2f} s an image".format(**result)
    )
    if isinstance(prior, TransformPrior):  # that of a SIREN costs as much as its files
        result["exact"] = exact(images, prior, effort)
        print("  exact: KL {kl_bpp:.4f} bpp, {psnr:.2f} dB".format(**result["exact"]), flush=True)
    return result


def compare(ours: Curve, others: dict[str, Curve]) -> dict[str, dict]:
    """For every codec PSNR at our rates, and the rate that we need more, in percent."""
    return {
        name: {"psnr_at_our_rates": [psnr_at(curve, bpp) for bpp in ours.bpp], "bd_rate_percent": bd_rate(ours, curve)}
        for name, curve in others.items()
    }


def print_table(ours: Curve, comparison: dict[str, dict]) -> None:
    """PSNR in dB of every codec (rows) at our rates (columns)."""

    def line(name, values, last):
        cells = "".join(f"{'n/a' if value is None else f'{value:.2f}':>10}" for value in values)
        print(f"{name:<24}{cells}{last:>12}")

    print(f"{'':<24}{''.join(f'{bpp:>6.3f} bpp' for bpp in ours.bpp)}{'our BD-rate':>12}")
    line("recjax", ours.psnr, "")
    for name, row in comparison.items():
        bd = row["bd_rate_percent"]
        line(name, row["psnr_at_our_rates"], "n/a" if bd is None else f"{bd:+.1f} %")


def plot(results: list[dict], measured: dict[str, Curve], published: dict[str, Curve], out: Path) -> None:
    """PSNR against rate on a logarithmic axis."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 6), constrained_layout=True)
    for name, curve in published.items():
        axes.plot(*curve, "o--", ms=3, lw=1, label=name)
    for name, curve in measured.items():
        axes.plot(*curve, "s-", ms=3, lw=1, label=name)
    axes.plot(*zip(*sorted((r["bpp"], r["psnr"]) for r in results), strict=True), "ko-", label="recjax, files")
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
    results = sorted((measure(images, prior, args.effort) for prior in priors), key=lambda result: result["bpp"])
    ours = Curve([r["bpp"] for r in results], [r["psnr"] for r in results])
    if missing := missing_codecs():
        print(f"not measured, because this Pillow lacks them: {', '.join(missing)}")
    measured = {f"{name} (measured)": curve for name, curve in measured_curves(list(images.values())).items()}
    published = {f"{name} (published)": Curve(*load_curve("kodak", name)) for name in PUBLISHED}
    comparison = compare(ours, measured | published)
    print_table(ours, comparison)
    args.out.mkdir(parents=True, exist_ok=True)
    document = {
        "name": "kodak",
        "description": f"{len(images)} images, effort {args.effort}; published curves are for all 24 of Kodak",
        "source": "python -m experiments.kodak",
        "results": {
            "recjax": results,
            "measured": {name: curve._asdict() for name, curve in measured.items()},
            "comparison": comparison,
        },
    }
    (args.out / "kodak.json").write_text(json.dumps(document, indent=1) + "\n")
    plot(results, measured, published, args.out)


if __name__ == "__main__":
    main(tyro.cli(Args))
