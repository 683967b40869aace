"""The channel simulation divergence D_CS beside D_KL, and the width functions behind both.

Source: Goc and Flamich, *On channel simulation with causal rejection samplers*, ISIT 2024. Targets: Laplace, scales
e^0 to e^-10 over scale 1, where D_CS - D_KL tends to gamma log2 e; N(1, I / 4) over N(0, I) in 1 to 32 dimensions,
where the difference follows log2(D_KL + 1) / 2. Third panel: w_P(h) = P[r >= h] and w_Q(h) = Q[r >= h] of N(1, 1/16)
over N(0, 1), and w_Q - h w_P, the probability under the density w_P of exceeding h.

All is computed, nothing sampled. The published curves are of the same closed forms and are not digitised here; the
limit of the Laplace family is met within 1e-4 bits at b = e^-10.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

import recjax
from experiments.figures.points import Points
from recjax.limits import (
    channel_simulation_bits,
    channel_simulation_bounds_bits,
    hockey_stick,
    kl_bits,
    width_function,
)
from recjax.results.files import Axis, Curve, Panel, Results

EULER = 0.5772156649015329
_SOURCE = "Goc and Flamich, ISIT 2024, arXiv 2401.16579"


def laplace(log_scales: np.ndarray) -> list[list[float]]:
    """D_KL and D_CS in bits of L(0, b) over L(0, 1), for ln b."""
    p = recjax.Laplace(0.0, 1.0)
    targets = recjax.Laplace(
        jnp.zeros(log_scales.size), jnp.asarray(np.exp(log_scales), jnp.float32)
    )
    return [
        jax.vmap(divergence, (0, None))(targets, p).tolist()
        for divergence in (kl_bits, channel_simulation_bits)
    ]


def normal(d: int) -> list[float]:
    """D_KL and D_CS in bits of N(1, I / 4) over N(0, I) in d dimensions."""
    q, p = recjax.Normal(jnp.ones(d), 0.5), recjax.Normal(jnp.zeros(d), 1.0)
    return [float(divergence(q, p)) for divergence in (kl_bits, channel_simulation_bits)]


def widths(levels: np.ndarray) -> list[list[float]]:
    """w_P, w_Q and w_Q - h w_P of N(1, 1/16) over N(0, 1)."""
    q, p = recjax.Normal(1.0, 0.25), recjax.Normal(0.0, 1.0)
    h = jnp.asarray(levels, jnp.float32)
    return [
        np.asarray(values).tolist() for values in (*width_function(q, p, h), hockey_stick(q, p, h))
    ]


def figure(full: bool, point: Points) -> Results:
    log_scales = -np.linspace(0, 10, 41 if full else 11)
    dimensions = range(1, 33) if full else (1, 2, 5, 10, 20, 32)
    levels = 7 * np.linspace(0, 1, 141 if full else 71) ** 3  # denser where w_P is steep
    kl, d_cs = point("Laplace", lambda: laplace(log_scales))
    vectors = np.array([point(f"normal, {d}", lambda d=d: normal(d)) for d in dimensions])
    w_p, w_q, survival = point("widths", lambda: widths(levels))
    gap = Axis("D_CS - D_KL (bits)")
    return Results(
        "channel_simulation_divergence",
        "D_CS exceeds D_KL by little: bounded for Laplace targets, half a logarithm for normal vectors.",
        "python -m experiments.figures channel_simulation_divergence",
        (
            Panel(
                "Laplace targets of scale b",
                Axis("-ln b"),
                gap,
                (
                    _curve("D_CS - D_KL", -log_scales, np.subtract(d_cs, kl)),
                    _theory("gamma log2 e", -log_scales[[0, -1]], np.full(2, EULER / math.log(2))),
                ),
            ),
            Panel(
                "N(1, I / 4) over N(0, I)",
                Axis("D_KL (bits)"),
                gap,
                (
                    _curve("D_CS - D_KL", vectors[:, 0], vectors[:, 1] - vectors[:, 0]),
                    _theory("log2(D_KL + 1) / 2", vectors[:, 0], 0.5 * np.log2(vectors[:, 0] + 1)),
                    _theory(
                        "upper bound",
                        vectors[:, 0],
                        np.asarray(channel_simulation_bounds_bits(vectors[:, 0])[1])
                        - vectors[:, 0],
                    ),
                ),
            ),
            Panel(
                "Width functions of N(1, 1/16) over N(0, 1)",
                Axis("h"),
                Axis("probability"),
                (
                    _curve("w_P", levels, w_p),
                    _curve("w_Q", levels, w_q),
                    _curve("w_Q - h w_P", levels, survival),
                ),
            ),
        ),
    )


def _curve(label, x, y):
    return Curve(label, tuple(np.asarray(x).tolist()), tuple(np.asarray(y).tolist()))


def _theory(label, x, y):
    return Curve(label, tuple(x.tolist()), tuple(y.tolist()), kind="theory", source=_SOURCE)
