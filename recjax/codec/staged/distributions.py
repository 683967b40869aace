"""Distributions of magnitudes that the network of contexts chooses from: a family of two
parameters, and tables of frequencies.

A magnitude is at least n with the probability 1 / (1 + ((n - 1/2) / a)^b): a log-logistic
distribution, whose tails are heavy.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float, Int32

from recjax.bits.zipf import PRECISION
from recjax.codec.staged.contexts import SCALES, SHAPES
from recjax.codec.staged.prior import LEAST
from recjax.codec.staged.symbols import EDGES, ESCAPE

SCALE_STEP = 1 / 6
"""Nats of the parameter a between two scales."""
FIRST_SCALE = -8.0
SHAPE_STEP = math.log(1.3)
"""Logarithm of the ratio of the parameters b of two shapes, which begin at 1."""


def log_survival(n: Any, scale: Any, shape: Any, xp: Any) -> Any:
    """Logarithm of the probability that a magnitude is at least n, for n from 1 on.

    Args:
        n: numbers.
        scale: number of the scale, which need not be whole.
        shape: number of the shape.
        xp: the module of arrays: NumPy, or that of JAX.
    """
    power = xp.exp(SHAPE_STEP * shape)
    return -xp.logaddexp(0.0, power * (xp.log(n - 0.5) - FIRST_SCALE - SCALE_STEP * scale))


def frequencies(
    probabilities: Float[np.ndarray, "tables symbols"],
) -> Int32[np.ndarray, "tables symbols"]:
    """Whole frequencies in proportion, at least `LEAST` each, which sum to 2^24."""
    spare = (1 << PRECISION) - LEAST * probabilities.shape[1]
    shares = probabilities / probabilities.sum(1, keepdims=True)
    out = LEAST + np.floor(shares * spare).astype(np.int32)
    out[np.arange(len(out)), out.argmax(1)] += (1 << PRECISION) - out.sum(1)
    return out


def family() -> tuple[Float[np.ndarray, "distributions symbols"], Float[np.ndarray, "scales n"]]:
    """Probabilities of the symbols in every distribution, and of the intervals at every scale."""
    # the middle of what is rounded down to a number
    scale = np.repeat(np.arange(SCALES) + 0.5, SHAPES)[:, None]
    shape = np.tile(np.arange(SHAPES) + 0.5, SCALES)[:, None]
    n = np.arange(1.0, ESCAPE + 1)[None]
    survival = np.exp(log_survival(n, scale, shape, np))
    symbols = -np.diff(np.concatenate([np.ones((len(scale), 1)), survival], 1), axis=1)
    symbols = np.concatenate([symbols, survival[:, -1:]], axis=1)
    edges = EDGES[None].astype(float)
    scale = np.arange(SCALES)[:, None] + 0.5
    tails = -np.diff(np.exp(log_survival(edges, scale, SHAPES / 2, np)), axis=1)
    return np.maximum(symbols, 1e-12), np.maximum(tails, 1e-12)
