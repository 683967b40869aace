"""CIFAR-10: rate and quality of real files, the gap to exact sampling, training progress.

    python -m experiments.cifar10 --data FOLDER --prior cifar10.safetensors

``FOLDER`` holds ``test_150.npz`` with ``images`` (uint8 [N, 32, 32, 3]); the prior is trained by
``recjax train-prior``. Every file is decoded again and PSNR is the mean over images, as in the papers.
"Exact" replaces the block coder by exact samples of the posteriors, counted at their KL divergence: what a
relative entropy coder without overhead or bias would reach, with the same refinement and without any (the
latter is COMBINER's "theoretically optimal").
"""

import dataclasses
import json
import math
import time
from pathlib import Path

import jax
import numpy as np
import tyro

import recjax
from experiments.published import load_curve
from recjax.codec import Prior, decompress_batch, encode_batch, load_prior
from recjax.codec.effort import Effort, effort_of
from recjax.codec.encoding import code_signals
from recjax.codec.patches import render
from recjax.modalities.image import psnr


@dataclasses.dataclass(frozen=True)
class Args:
    """CIFAR-10 with one prior.

    Attributes:
        data: folder with test_150.npz.
        prior: trained prior.
        effort: 1 to 9.
        extra_bits: register bits beyond the budget, t, to compare.
        limit: images.
        out: folder of the results.
    """

    data: Path
    prior: Path
    effort: int = 8
    extra_bits: tuple[int, ...] = (0,)
    limit: int = 150
    out: Path = Path("experiments/results")


def mean_and_error(values: list[float]) -> dict[str, float]:
    """Mean and its standard error."""
    return {"mean": float(np.mean(values)), "standard_error": float(np.std(values, ddof=1) / math.sqrt(len(values)))}


@dataclasses.dataclass(frozen=True)
class ExactSampler:
    """Stands in for the block coder: samples the posterior itself and sends nothing."""

    budget: int
    lookahead = 0

    def table(self, key: jax.Array, d: int) -> jax.Array:
        return jax.numpy.zeros(())

    def encode(self, table, key, ids, mean, std, width, previous):
        ids, mean, std = ids[:, 0], mean[:, 0], std[:, 0]
        keys = jax.vmap(lambda pair: jax.random.fold_in(jax.random.fold_in(jax.random.key(7), pair[0]), pair[1]))
        # rows of different images have equal ids, but noise of their own
        noise = jax.random.normal(keys(ids[:1])[0], mean.shape)
        return jax.numpy.zeros(len(mean), jax.numpy.int32), mean + std * noise


def exact(signals: list[recjax.Signal], prior: Prior, effort: Effort) -> dict:
    """Exact posterior samples, counted at their KL; a large ``refine_steps`` costs as much as real coding."""
    batch, z, _, kl_bits = code_signals(signals, prior, effort, jax.random.key(0), ExactSampler(prior.budget))
    decoded = render(prior, batch, z, [(signal.values.shape, False) for signal in signals])
    return {
        "kl_bpp": float(sum(part.sum() for part in kl_bits) / len(signals) / prior.config.n_points),
        "psnr": mean_and_error([psnr(a.values, b.values) for a, b in zip(signals, decoded, strict=True)]),
    }


def files(signals: list[recjax.Signal], prior: Prior, effort: Effort, extra_bits: int) -> dict:
    """Encodes, decodes the files, and measures."""
    start = time.perf_counter()
    results = encode_batch(signals, prior, effort=effort, extra_bits=extra_bits)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    decoded = decompress_batch([result.blob for result in results], priors=(prior,))
    decode_seconds = time.perf_counter() - start
    pixels = prior.config.n_points
    return {
        "extra_bits": extra_bits,
        "index_bpp": float(np.mean([r.index_bits for r in results]) / pixels),
        "file_bpp": float(np.mean([8 * len(r.blob) for r in results]) / pixels),
        "kl_bpp": float(np.mean([r.kl_bits for r in results]) / pixels),
        "header_bytes": max(r.header_bits for r in results) / 8,
        "psnr": mean_and_error([psnr(a.values, b.values) for a, b in zip(signals, decoded, strict=True)]),
        "seconds_an_image": seconds / len(signals),
        "decode_seconds_an_image": decode_seconds / len(signals),
    }


def plot(prior: Prior, results: dict, out: Path) -> None:
    """PSNR against training steps, and the measured points beside the published curves."""
    import matplotlib.pyplot as plt

    curve = prior.metadata["training"]["curve"]
    steps = [point["step"] for point in curve]
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.8), constrained_layout=True)
    left.plot(steps, [point["psnr"] for point in curve], color="tab:blue")
    left.set(xlabel="gradient steps", ylabel="training PSNR of the mean squared error [dB]", title="Training")
    rate = left.twinx()
    rate.plot(steps, [point["kl_bits"] / prior.config.n_points for point in curve], color="tab:orange", lw=1)
    rate.set_ylabel("KL [bits per pixel]", color="tab:orange")
    for name in ("COMBINER", "RECOMBINER", "COIN++", "BPG"):
        right.plot(*load_curve("cifar10", name), "o-", ms=3, lw=1, label=f"{name} (published)")
    for point in results["files"]:
        right.errorbar(
            point["index_bpp"], point["psnr"]["mean"], point["psnr"]["standard_error"],
            fmt="s", capsize=3, label=f"recjax files, t = {point['extra_bits']}",
        )  # fmt: skip
    for marker, name in (("k*", "exact"), ("kx", "exact_without_refinement")):
        label = f"recjax, {name.replace('_', ' ')} (at KL)"
        right.plot(results[name]["kl_bpp"], results[name]["psnr"]["mean"], marker, label=label)
    right.set(xlabel="bits per pixel", ylabel="mean PSNR [dB]", title="CIFAR-10", xlim=(0, 3), ylim=(22, 34))
    right.legend(fontsize=8)
    right.grid(alpha=0.3)
    figure.savefig(out / "cifar10.png", dpi=120)


def main(args: Args) -> None:
    prior = load_prior(args.prior)
    images = np.load(args.data / "test_150.npz")["images"][: args.limit]
    signals = [recjax.Signal(image, "image", {"gray": False}) for image in images]
    effort = effort_of(args.effort, guessed=isinstance(prior.config, TransformConfig))
    encode_batch(signals, prior, effort=dataclasses.replace(effort, fit_steps=10, refine_steps=10))  # compile
    results = {"files": [files(signals, prior, effort, t) for t in args.extra_bits]}
    results["exact"] = exact(signals, prior, effort)
    results["exact_without_refinement"] = exact(signals, prior, dataclasses.replace(effort, refine_steps=0))
    for point in results["files"]:
        print(
            f"t={point['extra_bits']}: index {point['index_bpp']:.3f} bpp, file {point['file_bpp']:.3f} bpp, "
            f"KL {point['kl_bpp']:.3f} bpp, header {point['header_bytes']:.0f} bytes, "
            f"{point['psnr']['mean']:.2f} +- {point['psnr']['standard_error']:.2f} dB, "
            f"{point['seconds_an_image']:.2f} s an image, decoding {1e3 * point['decode_seconds_an_image']:.1f} ms"
        )
    for name in ("exact", "exact_without_refinement"):
        print(f"{name}: KL {results[name]['kl_bpp']:.3f} bpp, {results[name]['psnr']['mean']:.2f} dB")
    args.out.mkdir(parents=True, exist_ok=True)
    document = {
        "name": "cifar10",
        "description": f"{len(signals)} test images, effort {args.effort}, prior {prior.digest.hex()[:12]}",
        "source": "python -m experiments.cifar10",
        "results": results,
    }
    (args.out / "cifar10.json").write_text(json.dumps(document, indent=1) + "\n")
    plot(prior, results, args.out)


if __name__ == "__main__":
    main(tyro.cli(Args))
