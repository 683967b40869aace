"""Pairs (Q, P) with what theory says about them, and the checks that samples and steps have to pass."""

import functools

import jax.numpy as jnp
import numpy as np
from reference_law import ReferenceLaw
from scipy import stats

N = 20_000  # samples a pair
SIGMAS = 5
LEAST_P = 1e-4

# By family: the parameters of target and proposal.
PAIRS = {
    "Normal": [
        ((1, 0.25), (0, 1)),
        ((2, 0.1), (0, 1)),
        ((0, 0.5), (0, 1)),
        ((0.5, 0.6), (0, 1)),
        ((0, 0.01), (0, 1)),
        ((0, 1), (0, 1)),
        ((-1, 0.8), (-3, 2.5)),
        ((100.05, 0.02), (100, 0.1)),
    ],
    "Laplace": [
        ((0, 0.1), (0, 1)),
        ((1, 1), (0, 1)),  # a ratio that is constant beyond the medians
        ((2, 0.6), (3, 2)),
    ],
    "Uniform": [
        ((0, 0.25), (0, 1)),
        ((0.3, 0.31), (0, 1)),
        ((-1, 1.5), (-5, 3)),
    ],
}


def frozen(family, a, b):
    """The same distribution in SciPy."""
    if family == "Uniform":
        return stats.uniform(a, b - a)
    return {"Normal": stats.norm, "Laplace": stats.laplace}[family](a, b)


@functools.cache
def law(family, i):
    return ReferenceLaw(*(frozen(family, *parameters) for parameters in PAIRS[family][i]))


def keys(count, word):
    return jnp.stack([jnp.arange(count, dtype=jnp.uint32), jnp.full(count, word, jnp.uint32)], axis=1)


def follows(sample, target):
    return stats.kstest(sample.astype(np.float64), target.cdf).pvalue > LEAST_P


def same_law(sample, other):
    return stats.ks_2samp(sample, other).pvalue > LEAST_P


def error(values):
    return values.std(ddof=1) / np.sqrt(values.size)


def mean_is(values, expected):
    return abs(values.mean() - expected) <= SIGMAS * error(values) + 1e-5 * expected


def same_mean(values, other):
    return abs(values.mean() - other.mean()) <= SIGMAS * np.hypot(error(values), error(other))
