"""Mean estimation under differential privacy: error against epsilon, at the bits that every user really sends.

Each of n users has a vector x of norm 1 and sends Z with law N(x, sigma^2 I); the mean of all Z is the estimate, with
noise of variance sigma^2 / n in a coordinate, which makes it (epsilon, delta)-private for those who see the estimate
only, sigma being the least that does (Balle and Wang, *Improving the Gaussian mechanism*, ICML 2018; neighbours differ
in one user's vector, by 2 / n in the mean). ``PoissonPrivate`` sends exact samples of that law in blocks of
coordinates, so that its error is that of the uncompressed mechanism. Beside it: Z rounded with a shared dither of step
k sigma, which adds (k sigma)^2 / 12 in a coordinate, counted at the ideal length of an entropy code for
N(0, sigma^2 + 1 / d).

What the server sees of one user is private by the coder's own promise, which is weak here: ``local_epsilon`` in the
results is 2 alpha times the epsilon of one user's noise, at 2 delta.

Liu et al. (NeurIPS 2024) report a squared error of 0.0817 at epsilon 1 and 50 bits, and 0.1231 for the coordinate
subsampled Gaussian mechanism, with other numbers of users and dimensions: not comparable with this figure.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize, special, stats

import recjax
from experiments.figures.points import Points
from recjax import write_indices
from recjax.results.files import Axis, Curve, Panel, Results

DELTA = 1e-5
EPSILONS = (0.5, 1.0, 2.0, 4.0)
STEPS = (1.0, 2.0, 4.0, 8.0)
"""Steps of the quantiser in units of sigma."""
ALPHA = 2.0
NATS = 5.0
"""The most that ln max r of a block should be in the mean: a search examines about e^NATS candidates."""


def figure(full: bool, point: Points) -> Results:
    users, dimension, trials = (500, 256, 4) if full else (200, 64, 4)
    private, rounded = [], []
    for epsilon in EPSILONS:
        sigma = deviation(epsilon, 2 / users) * math.sqrt(users)
        private.append(
            point(f"private {epsilon}", lambda s=sigma: private_mean(s, users, dimension, trials))
        )
        rounded.append(
            [
                point(f"step {k} {epsilon}", lambda s=sigma, k=k: rounded_mean(s, k, dimension))
                for k in STEPS
            ]
        )
        private[-1]["local_epsilon"] = recjax.poisson_private_epsilon(local_epsilon(sigma), ALPHA)
    plain = [dimension * deviation(epsilon, 2 / users) ** 2 for epsilon in EPSILONS]
    source = "Gaussian mechanism, Balle and Wang, 2018"

    def rounded_curve(label, x, rows, scale):
        return Curve(
            label,
            x,
            tuple(row[scale] if scale == "bits" else row["error"] / users for row in rows),
            kind="theory",
        )

    errors = [Curve("no compression", EPSILONS, tuple(plain), kind="theory", source=source)]
    errors += [Curve.with_errors("PoissonPrivate", EPSILONS, *columns(private, "mse", "mse_error"))]
    bits = [
        Curve(f"PoissonPrivate, {label}", EPSILONS, columns(private, key)[0])
        for key, label in (("kl", "KL"), ("file", "file"))
    ]
    for i, k in enumerate(STEPS):
        rows = [of_epsilon[i] for of_epsilon in rounded]
        errors.append(rounded_curve(f"rounded to {k:g} sigma", EPSILONS, rows, "error"))
        bits.append(rounded_curve(f"rounded to {k:g} sigma, ideal", EPSILONS, rows, "bits"))
    one = EPSILONS.index(1.0)
    at_one = (
        Curve.with_errors(
            "PoissonPrivate",
            [private[one]["file"]],
            [private[one]["mse"]],
            [private[one]["mse_error"]],
        ),
        rounded_curve(
            "rounded, ideal", tuple(row["bits"] for row in rounded[one]), rounded[one], "error"
        ),
    )
    epsilon_axis, error_axis = Axis("epsilon", "log2"), Axis("squared error of the mean", "log")
    panels = (
        Panel("", epsilon_axis, error_axis, tuple(errors)),
        Panel("", epsilon_axis, Axis("bits of a user", "log"), tuple(bits)),
        Panel("epsilon = 1", Axis("bits of a user", "log"), error_axis, at_one),
    )
    description = (
        f"Private means of {users} unit vectors of {dimension} dimensions, "
        f"delta = {DELTA:g}, alpha = {ALPHA:g}"
    )
    details = {"private": private, "rounded": rounded}
    return Results(
        "private_mean", description, "python -m experiments.figures private_mean", panels, details
    )


def columns(rows: list[dict[str, float]], *keys: str) -> list[tuple[float, ...]]:
    return [tuple(row[key] for row in rows) for key in keys]


def deviation(epsilon: float, sensitivity: float) -> float:
    """The least standard deviation with which the Gaussian mechanism is (epsilon, DELTA)-private."""
    return sensitivity / optimize.brentq(lambda s: _delta(epsilon, s) - DELTA, 1e-3, 100)


def local_epsilon(sigma: float) -> float:
    """The epsilon at DELTA of one user's noise, for vectors that differ by 2."""
    return optimize.brentq(lambda epsilon: _delta(epsilon, 2 / sigma) - DELTA, 1e-3, 1e4)


def _delta(epsilon, shift):
    """delta of a shift by so many standard deviations."""
    log_second = epsilon + special.log_ndtr(-shift / 2 - epsilon / shift)
    return special.ndtr(shift / 2 - epsilon / shift) - np.exp(log_second)


def private_mean(sigma: float, users: int, dimension: int, trials: int) -> dict[str, float]:
    """Squared error of the mean, and bits a user."""
    # The wider the proposal, the lower the largest ratio: least at a variance of sigma^2 (1 + gap) for norm 1
    gap = 1 / math.sqrt(dimension * sigma**2)
    nats = 0.5 / (gap * sigma**2) + dimension / 2 * math.log1p(gap)
    blocks = 1 << max(math.ceil(math.log2(nats / NATS)), 0)
    width = dimension // blocks
    scale = np.full(width, sigma * math.sqrt(1 + gap), np.float32)
    coder, proposal = (
        recjax.PoissonPrivate(alpha=ALPHA),
        recjax.Normal(np.zeros(width, np.float32), scale),
    )
    shift = np.full(width, 1 / math.sqrt(dimension), np.float32)
    typical = recjax.kl_bits(recjax.Normal(shift, np.full(width, sigma, np.float32)), proposal)
    squares, files, kls, steps, open_ends = [], [], [], [], 0
    for trial in range(trials):
        x = np.random.default_rng(trial).normal(size=(users, dimension)).astype(np.float32)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        shared, private = (
            jax.random.split(jax.random.key(seed + trial), users * blocks) for seed in (0, 1 << 20)
        )
        pieces = x.reshape(-1, width)
        targets = recjax.Normal(pieces, np.full_like(pieces, sigma))
        code = coder.encode_batch(shared, targets, proposal, private_keys=private)
        rate = float(typical) + 1
        for keys, index in zip(
            shared.reshape(users, blocks),
            np.asarray(code.index).reshape(users, blocks),
            strict=True,
        ):
            files.append(8 * len(write_indices(coder, keys, index, rate_bits=rate)))
        z = np.asarray(code.sample).reshape(users, dimension)
        squares += list(np.square(z.mean(0) - x.mean(0)) * dimension)
        kls.append(float(jnp.mean(jax.vmap(recjax.kl_bits, (0, None))(targets, proposal))) * blocks)
        steps.append(float(np.median(code.steps)))
        open_ends += int(np.sum(np.asarray(code.status) != recjax.Status.DONE))
    return {
        "mse": float(np.mean(squares)),
        "mse_error": float(stats.sem(squares)),
        "file": float(np.mean(files)),
        "kl": float(np.mean(kls)),
        "blocks": blocks,
        "median_steps": float(np.mean(steps)),
        "perhaps_not_exact": open_ends,
        "sigma": sigma,
    }


def rounded_mean(sigma: float, k: float, dimension: int) -> dict[str, float]:
    """Squared error of one user's dithered vector, and the mean bits of its levels: an integral over the dither."""
    step, spread = k * sigma, math.sqrt(sigma**2 + 1 / dimension)
    dither, levels = (np.arange(64) + 0.5) / 64 - 0.5, np.arange(-4000, 4001)
    edges = (levels[:, None] + dither + np.array([-0.5, 0.5])[:, None, None]) * step / spread
    mass = np.diff(special.ndtr(edges), axis=0)[0]
    bits = dimension * special.entr(mass).sum() / math.log(2) / dither.size
    return {"bits": float(bits), "error": dimension * (sigma**2 + step**2 / 12)}
