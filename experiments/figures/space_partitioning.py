"""Space partitioning: steps and bits of a message against the bins, and the divergences that it makes feasible.

Normal targets of 1 and 4 dimensions over standard normal proposals. A message takes log2 J bits for the bin, and for
the rank the zeta code at the rest of the rate. The paper (He, Flamich and Hernández-Lobato, NeurIPS 2024) draws bins
with the target's probabilities; `recjax.SpacePartitionedAStar` in proportion to the largest density ratio, which takes
the fewest steps for the same messages. A target may lie across the end of a bin, where the largest ratios of two bins
count: at 8 bits in 4 dimensions that makes seven times the steps of 4 bits.
"""

import functools
import math
from statistics import NormalDist

import jax
import numpy as np

import recjax
from experiments.figures.points import Points
from recjax.results.files import Axis, Curve, Panel, Results

SHIFT = 0.75
"""Means of the targets, in standard deviations of the proposal."""
MOST_STEPS = 1024
"""Mean steps beyond which a point is left out."""


def scale_of(kl_bits: float) -> float:
    """The scale of the target of one dimension with this divergence."""
    low, high = 1e-12, 1.0
    for _ in range(100):
        scale = math.sqrt(low * high)
        above = (SHIFT**2 + scale**2 - 1) / 2 - math.log(scale) > kl_bits * math.log(2)
        low, high = (scale, high) if above else (low, scale)
    return low


def expected_steps(kl_bits: float, bits: tuple[int, ...]) -> float:
    """1 + the mean over bins of the largest density ratio."""
    scale, normal = scale_of(kl_bits / len(bits)), NormalDist()
    shrink, product = 1 - scale**2, 1.0
    for b in bits:
        edges = [-math.inf, *(normal.inv_cdf(i / 2**b) for i in range(1, 2**b)), math.inf]
        x = np.clip(SHIFT / shrink, edges[:-1], edges[1:])
        exponent = SHIFT**2 / (2 * shrink) - shrink / (2 * scale**2) * (x - SHIFT / shrink) ** 2
        product *= float(np.mean(np.exp(exponent) / scale))
    return 1 + product


def measure(kl_bits: float, bits: tuple[int, ...], samples: int) -> list[float]:
    """Mean steps and their standard error, mean bits of a message, and of log2 J + log2 rank."""
    ones = np.ones(len(bits), np.float32)
    q, p = (
        recjax.Normal(SHIFT * ones, scale_of(kl_bits / len(bits)) * ones),
        recjax.Normal(0 * ones, ones),
    )
    coder = recjax.SpacePartitionedAStar(bits=bits)

    @jax.jit
    def run(keys, q, p):
        code = jax.vmap(coder.encode, (0, None, None))(keys, q, p)
        return code, jax.vmap(lambda index: coder.codelength(None, index, p, rate_bits=kl_bits))(
            code.index
        )

    code, lengths = run(jax.random.split(jax.random.key(0), samples), q, p)
    steps, ranks = np.asarray(code.steps, float), np.log2(np.asarray(code.index)[:, 1] + 1.0)
    return [
        steps.mean(),
        steps.std() / math.sqrt(samples),
        float(lengths.mean()),
        sum(bits) + ranks.mean(),
    ]


def figure(full: bool, point: Points) -> Results:
    """Steps and bits against log2 J, and steps against the divergence."""
    samples = 20_000 if full else 1_000
    cases = [(4, 1), (6, 1), (8, 1), (6, 4), (8, 4), (10, 4)] if full else [(4, 1), (6, 4)]

    def measured(kl, bits):
        return point(f"{kl} {bits}", functools.partial(measure, kl, bits, samples))

    work, coded = [], []
    for kl, dimensions in cases:
        sizes = tuple(range(0, kl + 1, 1 if full else 2))
        bits = [recjax.allot_bits([kl / dimensions] * dimensions, size) for size in sizes]
        steps, errors, messages, ranks = zip(*(measured(kl, b) for b in bits), strict=True)
        label, expected = f"{kl} bits, d = {dimensions}", tuple(expected_steps(kl, b) for b in bits)
        work.append(Curve.with_errors(label, sizes, steps, errors))
        work.append(
            Curve(
                f"{label}: theory",
                sizes,
                expected,
                kind="theory",
                source="mean of the largest ratios + 1",
            )
        )
        coded += [
            Curve(label, sizes, messages),
            Curve(f"{label}: log2 J + log2 rank", sizes, ranks),
        ]

    reach = []
    for label, share in (
        ("A*", 0),
        ("half of the divergence in bins", 0.5),
        ("all of it in bins", 1),
    ):
        cells = [
            (kl, recjax.allot_bits([kl / 4] * 4, int(share * kl)))
            for kl in (range(2, 29, 2) if full else (4, 8, 16))
        ]
        cells = [(kl, bits) for kl, bits in cells if expected_steps(kl, bits) <= MOST_STEPS]
        steps, errors, *_ = zip(*(measured(kl, bits) for kl, bits in cells), strict=True)
        reach.append(Curve.with_errors(label, [kl for kl, _ in cells], steps, errors))

    bins, axis = Axis("log2 J (bits)"), Axis("mean steps", "log2")
    return Results(
        "space-partitioning",
        f"A* with the proposal cut into J bins of equal mass; targets N({SHIFT}, s^2) in each dimension over N(0, 1)",
        "python -m experiments.figures space_partitioning" + " --full" * full,
        (
            Panel("work", bins, axis, tuple(work)),
            Panel("message", bins, Axis("bits"), tuple(coded)),
            Panel("reach, d = 4", Axis("divergence (bits)"), axis, tuple(reach)),
        ),
    )
