"""CIFAR-10: rate and quality of real files, the gap to exact sampling, training progress.

    python -m experiments.cifar10 --data FOLDER --priors cifar10-*.safetensors

``FOLDER`` holds ``test_150.npz`` with ``images`` (uint8 [N, 32, 32, 3]); the priors are trained by
``recjax train siren`` or ``recjax train transform``. Every file is decoded again and PSNR is the mean over images, as
in the papers.
"Exact" replaces the block coder by exact samples of the posteriors, counted at their KL divergence (see
`experiments.exact`): for a SIREN with the same refinement and without any (the latter is COMBINER's "theoretically
optimal"), for a transform the posteriors that its analysis guesses.
"""

import dataclasses
import math
import time
from pathlib import Path

import numpy as np
import tyro

import recjax
from experiments.exact import exact_samples
from experiments.outputs import save
from experiments.published import load_curve
from recjax.codec import Prior, decompress_batch, encode_batch, load_prior
from recjax.codec.kinds import KINDS
from recjax.codec.siren.efforts import SirenEffort
from recjax.codec.siren.prior import SirenPrior
from recjax.modalities.image.pixels import psnr
from recjax.results.files import PSNR, RATE, Axis, Curve, Panel, Results


@dataclasses.dataclass(frozen=True)
class Args:
    """CIFAR-10 with several priors.

    Attributes:
        data: folder with test_150.npz.
        priors: trained priors.
        effort: 1 to 9.
        limit: images.
        out: folder of the results.
    """

    data: Path
    priors: tuple[Path, ...]
    effort: int = 8
    limit: int = 150
    out: Path = Path("experiments/results")


def n_pixels(signals: list[recjax.Signal]) -> int:
    """Of all images."""
    return sum(signal.values[..., 0].size for signal in signals)


def mean_and_error(values: list[float]) -> dict[str, float]:
    """Mean and its standard error."""
    return {
        "mean": float(np.mean(values)),
        "standard_error": float(np.std(values, ddof=1) / math.sqrt(len(values))),
    }


def exact(signals: list[recjax.Signal], prior: Prior, effort: SirenEffort) -> dict:
    """Exact posterior samples, counted at their KL; a large ``refine_steps`` costs as much as real coding."""
    decoded, bits = exact_samples(signals, prior, effort)
    return {
        "kl_bpp": bits / n_pixels(signals),
        "psnr": mean_and_error(
            [psnr(a.values, b.values) for a, b in zip(signals, decoded, strict=True)]
        ),
    }


def files(signals: list[recjax.Signal], prior: Prior, effort: SirenEffort) -> dict:
    """Encodes, decodes the files, and measures."""
    start = time.perf_counter()
    results = encode_batch(signals, prior, effort=effort)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    decoded = decompress_batch([result.blob for result in results], priors=(prior,))
    decode_seconds = time.perf_counter() - start
    pixels = n_pixels(signals)
    return {
        "index_bpp": sum(r.index_bits for r in results) / pixels,
        "file_bpp": sum(8 * len(r.blob) for r in results) / pixels,
        "kl_bpp": sum(sum(r.kl_bits.values()) for r in results) / pixels,
        "header_bytes": max(r.header_bits for r in results) / 8,
        "psnr": mean_and_error(
            [psnr(a.values, b.values) for a, b in zip(signals, decoded, strict=True)]
        ),
        "seconds_an_image": seconds / len(signals),
        "decode_seconds_an_image": decode_seconds / len(signals),
    }


def learning_curve(prior: Prior) -> tuple[list[float], list[float], list[float]]:
    """Gradient steps, PSNR of the mean squared error, and bits of KL a pixel, during training."""
    training = prior.metadata["training"]
    curve = training["curve"]
    if isinstance(prior, SirenPrior):
        bits = [p["kl_bits"] / prior.config.n_points for p in curve]
        return [p["step"] for p in curve], [p["psnr"] for p in curve], bits
    at = training["config"]["prices"].index(training["price"])
    curve = [p for p in curve if p["bpp"][at] is not None]  # those at which this price had a step
    return [p["step"] for p in curve], [p["psnr"][at] for p in curve], [p["bpp"][at] for p in curve]


def curve_of(label: str, points: list[tuple[float, dict[str, float]]]) -> Curve:
    """Rates, and PSNR with its standard error."""
    bpp, quality = zip(*sorted(points, key=lambda point: point[0]), strict=True)
    return Curve.with_errors(
        label, bpp, [q["mean"] for q in quality], [q["standard_error"] for q in quality]
    )


def to_results(priors: list[Prior], measured: list[dict], description: str) -> Results:
    """What `measure` gave for every prior as a results file, with the course of their training."""
    ours = [
        curve_of(
            "recjax, index bits of files",
            [(r["files"]["index_bpp"], r["files"]["psnr"]) for r in measured],
        ),
        curve_of("recjax, files", [(r["files"]["file_bpp"], r["files"]["psnr"]) for r in measured]),
        curve_of(
            "recjax, exact samples at their KL",
            [(r["exact"]["kl_bpp"], r["exact"]["psnr"]) for r in measured],
        ),
    ]
    published = [
        load_curve("cifar10", name) for name in ("COMBINER", "RECOMBINER", "COIN++", "BPG")
    ]
    quality, rates = [], []
    for prior in priors:
        steps, psnrs, bpp = map(tuple, learning_curve(prior))
        quality.append(Curve(prior.name, steps, psnrs))
        rates.append(Curve(prior.name, steps, bpp))
    progress = Axis("gradient steps")
    panels = (
        Panel("CIFAR-10", RATE, PSNR, (*ours, *published)),
        Panel(
            "CIFAR-10: training",
            progress,
            Axis("training PSNR of the mean squared error (dB)"),
            tuple(quality),
        ),
        Panel("CIFAR-10: training", progress, Axis("KL (bits per pixel)"), tuple(rates)),
    )
    return Results(
        "cifar10", description, "python -m experiments.cifar10", panels, {"priors": measured}
    )


def measure(signals: list[recjax.Signal], prior: Prior, level: int) -> dict:
    """Files, and exact sampling with the same refinement and without any."""
    effort = KINDS[prior.kind].effort(level)
    few = dataclasses.replace(effort, fit_steps=min(effort.fit_steps, 10))
    encode_batch(signals, prior, effort=few)  # compile
    result = {
        "prior": prior.name,
        "digest": prior.digest.hex()[:12],
        "files": files(signals, prior, effort),
        "exact": exact(signals, prior, effort),
    }
    if isinstance(prior, SirenPrior):  # a transform has no refinement
        result["exact_without_refinement"] = exact(
            signals, prior, dataclasses.replace(effort, refine_steps=0)
        )
    print(
        "{prior}: index {index_bpp:.3f} bpp, file {file_bpp:.3f} bpp, KL {kl_bpp:.3f} bpp, "
        "header {header_bytes:.0f} bytes, {mean:.2f} +- {standard_error:.2f} dB, {seconds_an_image:.2f} s an image, "
        "decoding {decode_seconds_an_image:.4f} s".format(
            **result, **result["files"], **result["files"]["psnr"]
        )
    )
    for name in ("exact", "exact_without_refinement"):
        if name in result:
            print(
                f"  {name}: KL {result[name]['kl_bpp']:.3f} bpp, {result[name]['psnr']['mean']:.2f} dB",
                flush=True,
            )
    return result


def main(args: Args) -> None:
    priors = [load_prior(path) for path in args.priors]
    images = np.load(args.data / "test_150.npz")["images"][: args.limit]
    signals = [recjax.Signal(image, "image", {"gray": False}) for image in images]
    results = [measure(signals, prior, args.effort) for prior in priors]
    description = f"{len(signals)} test images, effort {args.effort}"
    save(to_results(priors, results, description), args.out, ".png")


if __name__ == "__main__":
    main(tyro.cli(Args))
