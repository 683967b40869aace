"""Rate, distortion and perfect realism of a Gaussian source, coded one number and a few numbers at a time.

The output has to be distributed as the source, N(0, 1). With common randomness the least squared error is then that of
jointly normal (X, Y) of correlation rho: R = -log2(1 - rho^2) / 2, D = 2 - 2 rho (Blau and Michaeli, *Rethinking lossy
compression: the rate-distortion-perception tradeoff*, ICML 2019; Theis and Wagner, *A coding theorem for the
rate-distortion-perception function*, 2021). A relative entropy coder simulates that channel exactly: N(rho X, 1 -
rho^2) over N(0, 1). A decoder that makes a quantised source look real by sampling its posterior pays twice the
rate-distortion function 2^-2R.

Codes of single numbers cost 2 to 3 bits more than the information of the channel, of several numbers together less
a number: the files are still above both curves, which are limits for long vectors. Files hold all indices of a point.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

import recjax
from experiments.figures.points import Points
from recjax import Coder, write_indices
from recjax.results.files import Axis, Curve, Panel, Results

SCALARS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Information in bits of a number, for codes of single numbers."""
VECTORS = (0.25, 0.5, 0.75, 1.0)
"""The same for codes of vectors, which examine 2^D_inf candidates."""
DIMENSIONS = 4


def figure(full: bool, point: Points) -> Results:
    n = 1 << (17 if full else 14)
    scalars = [
        point(f"scalar {r}", lambda r=r: measure(recjax.BranchAndBoundGPRS(), r, n, ()))
        for r in SCALARS
    ]
    shape = (DIMENSIONS,)
    vectors = [
        point(f"vector {r}", lambda r=r: measure(recjax.AStar(), r, n // 8, shape)) for r in VECTORS
    ]
    rate = np.linspace(0.1, 8, 80)
    least = 2.0 ** (-2 * rate)
    theory = (
        (
            "perfect realism, common randomness",
            2 - 2 * np.sqrt(1 - least),
            "Theis and Wagner, 2021",
        ),
        ("posterior samples after a quantiser", 2 * least, "twice the rate-distortion function"),
        ("no realism: rate-distortion function", least, "Shannon, 1959"),
    )
    curves = [
        Curve(label, tuple(rate), tuple(mse), kind="theory", source=source)
        for label, mse, source in theory
    ]
    for name, rows in (("single numbers", scalars), (f"{DIMENSIONS} numbers", vectors)):
        for where, at in (("KL", "kl"), ("file", "file")):
            values = ([row[key] for row in rows] for key in (at, "mse", "error"))
            curves.append(Curve.with_errors(f"{name}, bits of the {where}", *values))
    panels = (
        Panel("", Axis("rate (bits per number)"), Axis("mean squared error", "log"), tuple(curves)),
        Panel(
            "Output and N(0, 1)",
            Axis("information (bits per number)"),
            Axis("p-value of a Kolmogorov-Smirnov test"),
            (
                Curve("single numbers", SCALARS, tuple(row["p_value"] for row in scalars)),
                Curve(f"{DIMENSIONS} numbers", VECTORS, tuple(row["p_value"] for row in vectors)),
            ),
        ),
    )
    description = (
        f"A normal source coded with perfect realism, {n} numbers a point (half as many in vectors)"
    )
    details = {"scalars": scalars, "vectors": vectors}
    return Results(
        "perception", description, "python -m experiments.figures perception", panels, details
    )


def measure(coder: Coder, rate: float, count: int, shape: tuple[int, ...]) -> dict[str, float]:
    """``count`` events of a shape at ``rate`` bits of information a number: bits and squared error a number."""
    rho = math.sqrt(1 - 2.0 ** (-2 * rate))
    x = np.random.default_rng(0).normal(size=(count, *shape)).astype(np.float32)
    targets = recjax.Normal(rho * x, np.full_like(x, math.sqrt(1 - rho**2)))
    proposal = recjax.Normal(np.zeros(shape, np.float32), np.ones(shape, np.float32))
    keys = jax.random.split(jax.random.key(round(1000 * rate)), count)
    code = coder.encode_batch(keys, targets, proposal)
    size = math.prod(shape)
    data = write_indices(coder, keys, code.index, rate_bits=rate * size)
    kl = jax.vmap(recjax.kl_bits, (0, None))(targets, proposal)
    y = np.asarray(code.sample)
    squares = np.square(x - y).reshape(count, -1).mean(1)
    mse, error = float(squares.mean()), float(squares.std(ddof=1) / math.sqrt(count))
    return {
        "information": rate,
        "kl": float(jnp.mean(kl)) / size,
        "file": 8 * len(data) / x.size,
        "mse": mse,
        "error": error,
        "errors_from_theory": (mse - (2 - 2 * rho)) / error,
        "p_value": float(stats.kstest(y.ravel().astype(float), stats.norm.cdf).pvalue),
        "mean_steps": float(np.mean(code.steps)),
        "not_exact": int(np.sum(np.asarray(code.status) != recjax.Status.DONE)),
    }
