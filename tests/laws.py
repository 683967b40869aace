"""Pairs (Q, P) with what theory says about them, coded samples of each, and the checks that these have to pass."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from reference_law import ReferenceLaw
from scipy import stats

import recjax
from recjax.samplers.tree_coder import TreeCoder

N = 20_000  # samples a pair
SIGMAS = 5
LEAST_P = 1e-4

P5, Q5 = (0.4, 0.1, 0.2, 0.05, 0.25), (0.1, 0.3, 0.0, 0.0, 0.6)

# By family of targets: the parameters of target and proposal.
PAIRS = {
    "Normal": [
        ((1, 0.25), (0, 1)),
        ((0, 0.5), (0, 1)),
        ((0.5, 0.6), (0, 1)),
        ((0, 1), (0, 1)),
        ((0.1, 0.95), (0, 1)),  # 0.01 bits
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
        ((-1, 1.5), (-5, 3)),
    ],
    "Triangular": [((1, 2.5), (0, 4)), ((-2.9, -0.5), (-3, 1))],
    "UniformMixture": [(((2, 0.5, 3), (2.5, 1.5, 3.25), (3, 5, 2)), (0, 4))],
    "Categorical": [((Q5,), (P5,)), ((P5,), ((0.02, 0.6, 0.1, 0.2, 0.08),))],
}
# Ratios up to about 100.
LONG = {
    "Normal": [((2, 0.1), (0, 1)), ((0, 0.01), (0, 1))],
    "Uniform": [((0.3, 0.31), (0, 1))],
    "Triangular": [((-2.9, -2.7), (-3, 1))],
    "UniformMixture": [(((0.1, -0.5, 0.9), (0.11, -0.48, 0.91), (1, 3, 2)), (-1, 2))],
}
# Divergences of 12 bits, for coders over trees.
DEEP = {
    "Normal": [((1, 2.0**-12), (0, 1))],
    "Laplace": [((-1, 2.0**-12), (0, 1))],
    "Uniform": [((0.3, 0.3 + 2.0**-12), (0, 1))],
    "Triangular": [((1, 1 + 2.0**-9.7), (0, 4))],
}
PROPOSALS = {
    "Triangular": "Uniform",
    "UniformMixture": "Uniform",
}  # where it is not the target's own family


def cases(*tables):
    return [(family, q, p) for table in tables for family, pairs in table.items() for q, p in pairs]


def case_id(case):
    return "-".join(str(part) for part in case).replace(" ", "")


def make(family, parameters):
    arrays = [np.asarray(x, np.float32) for x in parameters]
    if family == "Categorical":
        with np.errstate(divide="ignore"):
            arrays = [np.log(arrays[0])]
    return getattr(recjax, family)(*arrays)


def frozen(family, parameters):
    """The same distribution in SciPy; categories as intervals of length 1 around them."""
    if family == "Categorical":
        weights = np.array(parameters[0])
        return stats.rv_histogram((weights, np.arange(weights.size + 1) - 0.5), density=False)
    if family == "UniformMixture":
        low, high, weights = np.array(parameters)[:, np.argsort(parameters[0])]
        masses = np.stack([weights, np.zeros_like(weights)], 1).ravel()[:-1]
        return stats.rv_histogram((masses, np.stack([low, high], 1).ravel()), density=False)
    a, b = parameters
    if family == "Triangular":
        return stats.triang(0.5, a, b - a)
    if family == "Uniform":
        return stats.uniform(a, b - a)
    return {"Normal": stats.norm, "Laplace": stats.laplace}[family](a, b)


@functools.cache
def law(family, target, proposal):
    return ReferenceLaw(frozen(family, target), frozen(PROPOSALS.get(family, family), proposal))


def codes(coder, family, target, proposal, batch=False):
    """Codes of N examples, as NumPy arrays; with ``batch``, and for coders over trees, by ``encode_batch``.

    Computed once for all tests of a process, so that files which look at equal pairs share them.
    """
    # few searches are much longer than the others
    long = (target, proposal) in LONG.get(family, []) or family == "Laplace"
    lanes = batch or long or isinstance(coder, TreeCoder)
    return _codes(coder, family, target, proposal, lanes)


@functools.cache
def _codes(coder, family, target, proposal, lanes):
    q, p = make(family, target), make(PROPOSALS.get(family, family), proposal)
    if lanes:
        q = jax.tree.map(lambda x: jnp.broadcast_to(x, (N, *x.shape)), q)
        return jax.tree.map(np.asarray, coder.encode_batch(keys(N, 300), q, p))
    return jax.tree.map(np.asarray, _encoder(coder)(keys(N, 300), q, p))


@functools.cache
def _encoder(coder):
    """One program for all pairs of a family: it compiles faster than the many of ``encode_batch``."""
    return jax.jit(jax.vmap(coder.encode, (0, None, None)))


def keys(count, word):
    return jnp.stack(
        [jnp.arange(count, dtype=jnp.uint32), jnp.full(count, word, jnp.uint32)], axis=1
    )


def follows(sample, target):
    """Whether samples are a draw from a law of SciPy; whole numbers by chi-square, others by Kolmogorov-Smirnov."""
    if not np.issubdtype(sample.dtype, np.integer):
        return stats.kstest(sample.astype(np.float64), target.cdf).pvalue > LEAST_P
    low, high = (int(end + 0.5) for end in target.support())
    ends = np.arange(low, high + 1) - 0.5
    expected, counts = sample.size * np.diff(target.cdf(ends)), np.histogram(sample, ends)[0]
    some = expected > 0
    all_possible = counts[some].sum() == sample.size
    return all_possible and stats.chisquare(counts[some], expected[some]).pvalue > LEAST_P


def same_law(sample, other):
    return stats.ks_2samp(sample, other).pvalue > LEAST_P


def error(values):
    return values.std(ddof=1) / np.sqrt(values.size)


def mean_is(values, expected):
    return abs(values.mean() - expected) <= SIGMAS * error(values) + 1e-5 * expected


def same_mean(values, other):
    return abs(values.mean() - other.mean()) <= SIGMAS * np.hypot(error(values), error(other))
