"""Redundancy of blocks of n uses of a channel: it grows with log2(n) / 2 unless the channel is singular.

Exact for binary symmetric channels (sums of binomial terms), by quadrature for Gaussian channels, and measured with
ring toss on blocks that fit into a table.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

import recjax
from experiments.channel_rates import measure
from experiments.figures.points import Points
from recjax.results.files import Axis, Curve, Panel, Results

FLIP, ERASE = 0.11, 0.5
SHRINK = 0.5  # standard deviation of the posterior of the Gaussian channel: a bit each use
LENGTHS = (*range(1, 10), *(int(n) for n in np.geomspace(10, 1e5, 17)))


def symmetric_redundancy(n: int, flip: float = FLIP) -> float:
    """F_n - n I in bits of n uses of a binary symmetric channel.

    Given y, inputs at distance d have the ratio r_d = 2^n (1 - p)^(n - d) p^d, and those within d the probability W_d:
    F_n = -sum (r_d - r_{d+1}) W_d log2 W_d.

    >>> round(symmetric_redundancy(1), 4)
    0.2799
    """
    d = np.arange(n + 1)
    log_factorial = np.concatenate([[0], np.cumsum(np.log(np.arange(1, n + 1)))])
    log_mass = log_factorial[n] - log_factorial - log_factorial[::-1] - n * np.log(2)
    log_width = np.minimum(np.logaddexp.accumulate(log_mass), 0)[:-1]
    log_ratio = (n * np.log(2) + (n - d) * np.log1p(-flip) + d * np.log(flip))[:-1]
    drop = 1 - flip / (1 - flip)  # r_d - r_{d+1} in units of r_d
    functional = -drop * np.sum(np.exp(log_ratio + log_width) * log_width) / np.log(2)
    entropy = -flip * np.log2(flip) - (1 - flip) * np.log2(1 - flip)
    return float(functional - n * (1 - entropy))


def gaussian_redundancy(n: int, nodes: int = 16) -> float:
    """F_n - n I of n uses of a Gaussian channel: the mean of D_CS - D_KL of the posteriors over their distances."""
    squares = (1 - SHRINK**2) * stats.chi2(n).ppf((np.arange(nodes) + 0.5) / nodes)
    return float(np.mean(_gaps(n, jnp.asarray(np.sqrt(squares / n), jnp.float32))))


@functools.partial(jax.jit, static_argnums=0)
def _gaps(n, shifts):
    prior = recjax.Normal(jnp.zeros(n), jnp.ones(n))

    def gap(shift):
        posterior = recjax.Normal(jnp.full(n, shift), jnp.full(n, SHRINK))
        return recjax.channel_simulation_bits(posterior, prior) - recjax.kl_bits(posterior, prior)

    return jax.lax.map(gap, shifts)


def blocks(single: np.ndarray, n: int) -> recjax.Channel:
    """n uses of a channel with equally likely inputs and P[y | x] = ``single``, as one use of a larger one."""
    law = functools.reduce(np.kron, [single] * n)
    with np.errstate(divide="ignore"):
        rows, marginal = np.log(law), np.log(law.mean(0))
    shares = np.ones(len(law), int)
    return recjax.Channel(
        shares,
        recjax.Categorical(rows.astype(np.float32)),
        recjax.Categorical(marginal.astype(np.float32)),
    )


def symmetric() -> np.ndarray:
    return np.array([[1 - FLIP, FLIP], [FLIP, 1 - FLIP]])


def erasing() -> np.ndarray:
    return np.array([[1 - ERASE, ERASE, 0], [0, ERASE, 1 - ERASE]])


def rate_of(single: np.ndarray, n: int, count: int, rate_bits: float) -> dict[str, float]:
    return measure(recjax.RingToss(), blocks(single, n), count, rate_bits)


def slope(lengths, values) -> float:
    """Of a line through values against log2 n."""
    return float(np.polyfit(np.log2(lengths), values, 1)[0])


def figure(full: bool, point: Points) -> Results:
    """Redundancies against the length of blocks."""
    count = 20_000 if full else 1000
    channels = {
        "binary symmetric": (symmetric(), (1, 2, 3, 4, 5, 6, 7) if full else (1, 3, 5)),
        "binary erasure": (erasing(), (1, 2, 3, 4, 5) if full else (1, 2, 4)),
    }
    exact = [point(f"exact {n}", lambda n=n: symmetric_redundancy(n)) for n in LENGTHS]
    dimensions = (1, 2, 4, 8, 16, 32, 64, *((128, 256) if full else ()))
    gaussian = [point(f"gaussian {n}", lambda n=n: gaussian_redundancy(n)) for n in dimensions]
    measured, details = [], {}
    for name, (single, lengths) in channels.items():
        information = float(recjax.mutual_information_bits(blocks(single, 1)))
        found = [
            point(
                f"{name} {n}",
                lambda n=n, single=single, rate=n * information: rate_of(single, n, count, rate),
            )
            for n in lengths
        ]
        gaps = [f["rate"] - n * information for f, n in zip(found, lengths, strict=True)]
        measured.append(
            Curve.with_errors(f"{name}, ring toss", lengths, gaps, [f["error"] for f in found])
        )
        details[f"{name}, ring toss"] = found
    large = [i for i, n in enumerate(LENGTHS) if n >= 1000]
    details |= {
        "slope, binary symmetric, n >= 1000": slope(
            [LENGTHS[i] for i in large], [exact[i] for i in large]
        ),
        "slope, Gaussian, n >= 16": slope(dimensions[4:], gaussian[4:]),
    }
    half = tuple(0.5 * np.log2(LENGTHS))
    source = "Flamich, Sriramu and Wagner, arXiv 2501.14053; thesis, theorem 3.1.6"
    theory = (
        Curve(
            f"F - nI, binary symmetric, p = {FLIP}",
            LENGTHS,
            tuple(exact),
            kind="theory",
            source="sums of binomials",
        ),
        Curve(
            "F - nI, Gaussian, I = 1",
            dimensions,
            tuple(gaussian),
            kind="theory",
            source="quadrature",
        ),
        Curve(
            "F - nI, binary erasure",
            LENGTHS,
            (0.0,) * len(LENGTHS),
            kind="theory",
            source="singular: D_CS = D_KL",
        ),
        Curve("log2(n) / 2", LENGTHS, tuple(map(float, half)), kind="theory", source=source),
    )
    axes = Axis("uses n", "log2"), Axis("redundancy (bits)")
    bounds = tuple(
        Curve(
            f"F - nI + log2 e, {name}",
            tuple(range(1, 6)),
            y,
            kind="theory",
            source="arXiv 2604.23076",
        )
        for name, y in {
            "binary symmetric": tuple(symmetric_redundancy(n) + np.log2(np.e) for n in range(1, 6)),
            "binary erasure": tuple(itertools.repeat(float(np.log2(np.e)), 5)),
        }.items()
    )
    panels = (
        Panel("functional information", *axes, theory),
        Panel("rates of files", Axis("uses n"), axes[1], (*measured, *bounds)),
    )
    about = f"Blocks of n uses of a channel as one; rates are those of files of {count} blocks."
    command = "python -m experiments.figures asymptotics" + (" --full" if full else "")
    return Results("asymptotics", about, command, panels, details)
