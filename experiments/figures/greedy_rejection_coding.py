"""Steps and code lengths of greedy rejection coding beside A* coding.

Source: Flamich, Markou and Hernandez-Lobato, *Faster relative entropy coding with greedy rejection coding*, NeurIPS
2023. Targets are normal over N(0, 1). Steps: D_KL = 3 bits, D_inf = 4 to 53 bits. Code length: D_KL = 0 to 10 bits,
D_inf = D_KL + 2 bits.

The published steps of A* coding count simulated nodes: 2 n + 1 for n expanded ones, and so do ours here. What is
published as code length is the depth of the sample's node less one; the last panel has what the sample really takes.

Ours over published: steps of GRCS and GRCD 0.99 to 1.03, of AS* and AD* 0.99 up to D_inf = 14 bits; depths from
D_KL = 2 bits on 0.98 to 1.04. Deviation: for larger D_inf A* coding needs fewer steps than published, 31 instead of 74
(AS*) and 42 instead of 104 (AD*) at 53 bits. There the ratio is largest beyond the last of the 2^64 quantiles of the
proposal (9.2 standard deviations), and ours bounds the ratio only where candidates can be.
"""

import functools
import math

import numpy as np

import recjax
from experiments.figures.points import Points
from experiments.many_targets import (
    case_keys,
    code_cases,
    codelengths,
    each,
    gaussian,
    log2_heap,
    mean_curve,
    summary,
)
from experiments.published import load_panel
from recjax.results.files import Axis, Curve, Panel, Results

CODERS = {
    "AS*": recjax.AStarCoder(),
    "AD*": recjax.AStarCoder(split="dyadic"),
    "GRCS": recjax.GreedyRejectionCoder(),
    "GRCD": recjax.GreedyRejectionCoder(split="dyadic"),
}
D_INF = (4.0, 13.8, 23.6, 33.4, 43.2, 53.0)
KL = (0.001, 2.0, 4.0, 6.0, 8.0, 10.0)
_P = recjax.Normal(0.0, 1.0)


def steps(label: str, n: int):
    """Steps at D_KL = 3 bits for every D_inf, counted as published."""
    found = code_cases(CODERS[label], _targets(n, [(3.0, d) for d in D_INF]), _P, seed=1).steps
    return summary(2 * found + 1 if label.endswith("*") else found)


def lengths(label: str, n: int):
    """Depths less one and bits, for every D_KL."""
    targets = _targets(n, [(kl, kl + 2) for kl in KL])
    index = code_cases(CODERS[label], targets, _P, seed=2).index
    bits = codelengths(CODERS[label], case_keys(targets, seed=2), index, _P, KL)
    return [summary(np.floor(log2_heap(index))), summary(bits)]


def figure(full: bool, point: Points) -> Results:
    n = 20_000 if full else 4000
    found = {
        label: point(f"{label}: steps", functools.partial(steps, label, n)) for label in CODERS
    }
    coded = {
        label: point(f"{label}: bits", functools.partial(lengths, label, n)) for label in CODERS
    }
    titles = "Steps at D_KL = 3 bits", "Code length at D_inf = D_KL + 2 bits"
    published = [tuple(load_panel("greedy_rejection_coding", title).values()) for title in titles]
    ours = (
        tuple(mean_curve(label, D_INF, values) for label, values in found.items()),
        tuple(mean_curve(label, KL, values) for label, (values, _) in coded.items()),
        tuple(mean_curve(label, KL, values) for label, (_, values) in coded.items()),
    )
    divergence = Axis("D_KL (bits)")
    growth = tuple(kl + 2 * math.log2(kl + 1) for kl in KL)
    limits = (
        Curve("D_KL", KL, KL, kind="theory"),
        Curve(
            "D_KL + 2 log2(D_KL + 1)",
            KL,
            growth,
            kind="theory",
            source="the paper's bound, up to a constant",
        ),
    )
    panels = (
        Panel(titles[0], Axis("D_inf (bits)"), Axis("mean steps", "log2"), ours[0] + published[0]),
        Panel(
            titles[1],
            divergence,
            Axis("mean depth - 1 (bits)"),
            ours[1] + published[1] + limits[:1],
        ),
        Panel(
            "Bits of the code of a node",
            divergence,
            Axis("mean code length (bits)"),
            ours[2] + limits,
        ),
    )
    return Results(
        "greedy_rejection_coding",
        "Greedy rejection coding needs as many steps whatever D_inf is; codes of all are of about D_KL bits.",
        f"python -m experiments.figures greedy_rejection_coding, {n} samples a point",
        panels,
    )


def _targets(n, divergences):
    m, s = np.asarray([gaussian(*pair) for pair in divergences], np.float32).T
    return each(n, recjax.Normal(m, s))
