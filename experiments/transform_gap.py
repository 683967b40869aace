"""The gap between coders of a transform's posteriors and ideal relative entropy coding, at equal rate.

    python -m experiments.transform_gap --data FOLDER --prior photo-high

As :mod:`experiments.coding_gap`, for transforms: "exact" draws exact samples of the posteriors and counts them at their
KL divergence, at three prices of a bit, which gives every image a curve; the gap of a coder is what its file lacks to
the curve at the rate of its stream, classes and all. All coders see the same posteriors of the top level.
"""

import dataclasses
import math
from pathlib import Path

import jax
import numpy as np
import tyro

import recjax
from experiments.coding_gap import SingleBlocks, gap_panels
from experiments.exact import sample_fit
from experiments.kodak import load_images
from experiments.level_coders import Chains, LevelCoder, Lone, Partitioned
from experiments.outputs import save
from recjax.codec import load_prior
from recjax.codec.effort import effort_of
from recjax.codec.pyramid import image_of
from recjax.codec.transform_encoding import code_levels
from recjax.codec.transform_fit import Fit, fit_transform
from recjax.codec.transform_prior import TransformPrior
from recjax.codec.transform_stream import part_bits
from recjax.modalities.image import psnr
from recjax.results import Results
from recjax.samplers.trellis_coder import TrellisCoder


@dataclasses.dataclass(frozen=True)
class Args:
    """The gap to exact coding with one prior.

    Attributes:
        data: folder of images.
        prior: name or file of a transform.
        effort: 1 to 9, for gradient steps.
        limit: images.
        out: folder of the results.
    """

    data: Path
    prior: str
    effort: int = 5
    limit: int | None = None
    out: Path = Path("experiments/results")


def exact_curve(signal: recjax.Signal, prior: TransformPrior, steps: int) -> tuple[list[float], list[float]]:
    """Bits a pixel and PSNR of exact samples."""
    bpp, quality, key = [], [], jax.random.key(0)
    for price in (1.4, 1.0, 0.7):
        fit = fit_transform([signal], prior, steps=steps, price=price, key=key)
        decoded, bits = sample_fit(signal, prior, fit, key)
        bpp.append(bits / signal.values[..., 0].size)
        quality.append(psnr(signal.values, decoded.values))
    return bpp, quality


def gap(signal: recjax.Signal, prior: TransformPrior, fit: Fit, coder: LevelCoder, curve) -> tuple[float, float, float]:
    """Rate of the stream, PSNR, and what it lacks in dB."""
    own = dataclasses.replace(prior, budget=coder.budget)
    (coded,) = code_levels(own, fit, jax.random.key(0), coder.code)
    bits = part_bits(own, coded.parts) | {"blocks": coder.bits(np.concatenate(coded.parts.indices))}
    decoded = image_of(own, coded.grids, signal.values.shape, gray=False)
    bpp, quality = sum(bits.values()) / signal.values[..., 0].size, psnr(signal.values, decoded.values)
    slope = (curve[1][-1] - curve[1][0]) / math.log(curve[0][-1] / curve[0][0])
    return bpp, quality, curve[1][1] + slope * math.log(bpp / curve[0][1]) - quality


def to_results(rows: list[dict], prior: str, description: str) -> Results:
    """The rows of coders with a prior of this name as a results file."""
    panels = gap_panels(f"coders of {prior}", rows, "bpp")
    return Results("transform_gap", description, "python -m experiments.transform_gap", panels, {"coders": rows})


def main(args: Args) -> None:
    prior, steps = load_prior(args.prior), effort_of(args.effort, transform=True).fit_steps
    if not isinstance(prior, TransformPrior):
        raise ValueError(f"{args.prior} is no transform: experiments.coding_gap is for it")
    b = prior.budget
    coders = {
        "ordered random coding, t = 0": Lone(SingleBlocks(budget=b)),
        "ordered random coding, t = 2": Lone(SingleBlocks(budget=b, extra_bits=2)),
        "best candidate": Lone(SingleBlocks(budget=b, best=True)),
        "trellis, t = 0": Chains(TrellisCoder(budget=b)),
        "trellis, t = 1": Chains(TrellisCoder(budget=b, extra_bits=1)),
    }
    signals = list(load_images(args.data, args.limit).values())
    measured = {name: [] for name in coders}
    for signal in signals:
        curve = exact_curve(signal, prior, steps)
        fit = fit_transform([signal], prior, steps=steps, price=1.0, key=jax.random.key(0))
        for name, coder in coders.items():
            measured[name].append(gap(signal, prior, fit, coder, curve))
    rows, first = [], np.mean([own[2] for own in next(iter(measured.values()))])
    for name, points in measured.items():
        bpp, quality, gaps = np.array(points).T
        row = {
            "variant": name,
            "bpp": float(bpp.mean()),
            "psnr": float(quality.mean()),
            "gap_db": float(gaps.mean()),
            "gap_standard_error": float(gaps.std(ddof=1) / math.sqrt(len(gaps))) if len(gaps) > 1 else None,
            "closed": float(1 - gaps.mean() / first),
        }
        rows.append(row)
        print("{variant}: {bpp:.4f} bpp, {psnr:.2f} dB, gap {gap_db:.2f} dB, {closed:.0%} closed".format(**row))
    description = f"{len(signals)} images, effort {args.effort}, prior {prior.name} {prior.digest.hex()[:12]}"
    save(to_results(rows, prior.name, description), args.out, name=f"transform_gap-{prior.name}")


if __name__ == "__main__":
    main(tyro.cli(Args))
