"""The gap between coders of the posteriors and ideal relative entropy coding, at equal rate.

    python -m experiments.coding_gap --data FOLDER --prior cifar10.safetensors

"Exact" draws exact samples of the posteriors and counts them at their KL divergence, with the same prior, fit and
refinement (see `experiments.exact`); at three budgets it gives a curve, and the gap of a coder is what its PSNR lacks
to the curve at the rate of its index stream. All coders see the same images and the same fit before the first block.
"""

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro

import recjax
from experiments.exact import ExactSampler
from experiments.outputs import save
from recjax.bits.zipf import best_exponent, codelength_bits
from recjax.blocks.ordered_random import BlockCoder
from recjax.blocks.trellis import TrellisCoder
from recjax.codec import Prior, load_prior
from recjax.codec.siren.batch import render
from recjax.codec.siren.efforts import EFFORTS as SIREN_EFFORTS
from recjax.codec.siren.efforts import SirenEffort
from recjax.codec.siren.encoding import code_signals, flat_indices
from recjax.codec.siren.partition import partition
from recjax.modalities import Grid
from recjax.modalities.image import IMAGE
from recjax.modalities.image.pixels import psnr
from recjax.results.files import PSNR, RATE, Axis, Curve, Panel, Results


@dataclasses.dataclass(frozen=True)
class Args:
    """The gap to exact coding with one prior.

    Attributes:
        data: folder with test_150.npz.
        prior: trained prior.
        effort: 1 to 9, for gradient steps.
        limit: images.
        out: folder of the results.
    """

    data: Path
    prior: Path
    effort: int = 7
    limit: int = 64
    out: Path = Path("experiments/results")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SingleBlocks(BlockCoder):
    """Blocks that stand alone.

    Attributes:
        best: whether the candidate with the largest log-ratio is taken, instead of a sample of the posterior.
    """

    best: bool = False
    lookahead = 0

    def table(self, key, d, dtype=np.float32):
        table = super().table(key, d, dtype)
        return table.at[:, -1].set(0) if self.best else table

    def encode(self, table, key, ids, mu, sigma, width, previous):
        return super().encode(table, key, ids[:, 0], mu[:, 0], sigma[:, 0], width[:, 0])


def repartitioned(prior: Prior, bits: float) -> Prior:
    """The prior with blocks that had so many bits of KL each in training, on average; the budget stays."""
    groups = []
    for group in prior.groups:
        # the average KL of a latent whose prior has been fitted to the posteriors
        order, widths = partition(-group.log_std[group.order] / math.log(2), bits, seed=0)
        groups.append(dataclasses.replace(group, order=group.order[order], widths=widths))
    return dataclasses.replace(prior, groups=tuple(groups))


def measure(signals: list[recjax.Signal], prior: Prior, effort: SirenEffort, coder: Any) -> dict:
    """Rate in bits a pixel (that of the index stream, or the KL if nothing is sent), PSNR of every image, time."""
    start = time.perf_counter()
    grids = [IMAGE.to_grid(signal) for signal in signals]
    batch, z, indices, kl_bits = code_signals(grids, prior, effort, jax.random.key(0), coder)
    seconds = time.perf_counter() - start
    values = render(prior, batch, z, [grid.sides for grid in grids])
    decoded = [IMAGE.from_grid(Grid(part)) for part in values]
    if isinstance(coder, ExactSampler):
        bits = sum(part.sum() for part in kl_bits)
    else:
        log2_size = (
            coder.budget if isinstance(coder, TrellisCoder) else coder.budget + coder.extra_bits
        )
        streams = [flat_indices(image) for image in batch.split(indices)]
        sizes = np.full(len(streams[0]), log2_size)
        bits = sum(
            codelength_bits(stream, sizes, best_exponent(stream, sizes)).sum() for stream in streams
        )
    return {
        "bpp": float(bits / len(signals) / prior.config.n_points),
        "psnr": np.array([psnr(a.values, b.values) for a, b in zip(signals, decoded, strict=True)]),
        "seconds_an_image": seconds / len(signals),
    }


def gap_panels(title: str, rows: list[dict], rate: str) -> tuple[Panel, Panel]:
    """Of coders, each a point: PSNR, and what it lacks to exact samples, at the rate under this key."""
    quality = [Curve(row["variant"], (row[rate],), (row["psnr"],)) for row in rows]
    gaps = [
        Curve.with_errors(
            row["variant"], [row[rate]], [row["gap_db"]], [row["gap_standard_error"] or 0.0]
        )
        for row in rows
    ]
    return Panel(title, RATE, PSNR, tuple(quality)), Panel(
        title, RATE, Axis("gap to exact samples (dB)"), tuple(gaps)
    )


def to_results(exact: list[dict], rows: list[dict], description: str) -> Results:
    """Points of exact samples and the rows of coders as a results file."""
    quality, gaps = gap_panels("CIFAR-10: coders of one SIREN", rows, "index_bpp")
    ideal = Curve(
        "exact samples at their KL", tuple(e["bpp"] for e in exact), tuple(e["psnr"] for e in exact)
    )
    panels = (dataclasses.replace(quality, curves=(ideal, *quality.curves)), gaps)
    details = {"exact": exact, "coders": rows}
    return Results("coding_gap", description, "python -m experiments.coding_gap", panels, details)


def main(args: Args) -> None:
    prior, effort = load_prior(args.prior), SIREN_EFFORTS[args.effort]
    images = np.load(args.data / "test_150.npz")["images"][: args.limit]
    signals = [recjax.Signal(image, "image", {"gray": False}) for image in images]
    b = prior.budget
    budgets = (b - b // 8, b, b + b // 8)
    exact = [
        measure(signals, dataclasses.replace(prior, budget=k), effort, ExactSampler(k))
        for k in budgets
    ]
    for k, point in zip(budgets, exact, strict=True):
        print(f"exact, {k} bits: {point['bpp']:.3f} bpp, {point['psnr'].mean():.2f} dB", flush=True)
    wide = dataclasses.replace(repartitioned(prior, b + 4), budget=b + 4)
    coders = {
        f"ordered random coding, t = 0, {b} bits": (prior, SingleBlocks(budget=b)),
        f"ordered random coding, t = 2, {b} bits": (prior, SingleBlocks(budget=b, extra_bits=2)),
        f"best candidate, {b} bits": (prior, SingleBlocks(budget=b, best=True)),
        f"best candidate, {b + 4} bits": (wide, SingleBlocks(budget=b + 4, best=True)),
        "trellis, t = 0, looking 2 blocks ahead": (prior, TrellisCoder(budget=b, lookahead=2)),
        "trellis, t = 0, 4 ahead": (prior, TrellisCoder(budget=b, lookahead=4)),
        "trellis, t = 0, 6 ahead": (prior, TrellisCoder(budget=b, lookahead=6)),
        "trellis, t = 2, 6 ahead": (prior, TrellisCoder(budget=b, extra_bits=2, lookahead=6)),
    }
    rows = []
    for name, (own, coder) in coders.items():
        result = measure(signals, own, effort, coder)
        curve = [
            np.interp(result["bpp"], [e["bpp"] for e in exact], psnrs)
            for psnrs in zip(*(e["psnr"] for e in exact))
        ]
        gaps = np.array(curve) - result["psnr"]
        rows.append(
            {
                "variant": name,
                "index_bpp": result["bpp"],
                "psnr": float(result["psnr"].mean()),
                "gap_db": float(gaps.mean()),
                "gap_standard_error": float(gaps.std(ddof=1) / math.sqrt(len(gaps))),
                "seconds_an_image": result["seconds_an_image"],
            }
        )
        rows[-1]["closed"] = 1 - rows[-1]["gap_db"] / rows[0]["gap_db"]
        print(
            "{variant}: {index_bpp:.3f} bpp, {psnr:.2f} dB, gap {gap_db:.2f} +- {gap_standard_error:.2f} dB, "
            "{closed:.0%} closed, {seconds_an_image:.2f} s an image".format(**rows[-1]),
            flush=True,
        )
    points = [{"bpp": e["bpp"], "psnr": float(e["psnr"].mean())} for e in exact]
    description = f"{len(signals)} CIFAR-10 test images, effort {args.effort}, prior {prior.digest.hex()[:12]}"
    save(to_results(points, rows, description), args.out)


if __name__ == "__main__":
    main(tyro.cli(Args))
