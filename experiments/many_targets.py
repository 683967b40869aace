"""Many targets coded at once, and what figures say about their codes."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from recjax import Code, Coder, Status
from recjax.distributions import Distribution
from recjax.results.files import Curve

Summary = dict[str, list[float]]
"""By case: mean, standard error of the mean, quartiles."""


def gaussian(kl_bits: float, d_inf_bits: float) -> tuple[float, float]:
    """Mean and scale of the normal distribution with these divergences from N(0, 1), d_inf_bits above kl_bits.

    >>> m, s = gaussian(1.18034, 1.9618)
    >>> round(m, 3), round(s, 3)
    (1.0, 0.5)
    """
    low, high = 0.0, 1 - 2.0**-d_inf_bits  # of 1 - s, with which the divergence grows
    for _ in range(100):
        middle = 0.5 * (low + high)
        s = 1 - middle
        square = 2 * (1 - s * s) * (d_inf_bits * math.log(2) + math.log(s))
        kl = (0.5 * (s * s + square - 1) - math.log(s)) / math.log(2)
        low, high = (low, middle) if kl > kl_bits else (middle, high)
    return math.sqrt(square), s


def each(n: int, targets: Any) -> Any:
    """Every target [cases, ...] n times: [cases, n, ...]."""
    return jax.tree.map(lambda x: jnp.broadcast_to(x[:, None], (len(x), n, *x.shape[1:])), targets)


def case_keys(targets: Any, seed: int) -> Array:
    """A key for every one of targets [cases, n]."""
    return jax.random.split(jax.random.key(seed), jax.tree.leaves(targets)[0].shape[:2])


def code_cases(
    coder: Coder, targets: Any, proposal: Distribution, seed: int, capped: bool = False
) -> Code:
    """Codes in one batch.

    Args:
        targets: a distribution whose parameters have leading axes [cases, n].
        seed: of the keys, as in ``case_keys``.
        capped: whether searches may end at the coder's cap on steps.

    Returns:
        NumPy arrays with leading axes [cases, n].

    Raises:
        RuntimeError: a search did not run to its end.
    """
    keys = case_keys(targets, seed)
    codes = coder.encode_batch(
        keys.reshape(-1), jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), targets), proposal
    )
    codes = jax.tree.map(lambda x: np.asarray(x).reshape(*keys.shape, *x.shape[1:]), codes)
    allowed = (Status.DONE, Status.MAX_STEPS) if capped else (Status.DONE,)
    if not np.isin(codes.status, allowed).all():
        raise RuntimeError(
            f"{coder}: searches ended with status {np.unique(codes.status).tolist()}"
        )
    return codes


def codelengths(
    coder: Coder, keys: Array, index: Any, proposal: Distribution, rates: Any
) -> Float[np.ndarray, "..."]:
    """Bits [cases, n] of indices of ``code_cases``, tuned for one rate a case."""

    def bits(key, index, rate):
        return coder.codelength(key, index, proposal, rate_bits=rate)

    over_samples = jax.vmap(bits, (0, 0, None))
    return np.asarray(
        jax.jit(jax.vmap(over_samples))(keys, index, jnp.asarray(rates, proposal.dtype))
    )


def log2_heap(heap: UInt32[np.ndarray, "... 4"]) -> Float[np.ndarray, "..."]:
    """log2 of heap indices; a node's depth less one is the whole number below it.

    >>> log2_heap(np.uint32([[0, 0, 0, 1], [0, 1, 0, 0]])).tolist()
    [0.0, 64.0]
    """
    return np.log2(heap.astype(np.float64) @ 2.0 ** np.array([96, 64, 32, 0]))


def summary(values: Any) -> Summary:
    """Of values [cases, n]."""
    values = np.asarray(values, np.float64)
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75), axis=1).tolist()
    error = (values.std(axis=1, ddof=1) / math.sqrt(values.shape[1])).tolist()
    return {
        "mean": values.mean(axis=1).tolist(),
        "error": error,
        "low": low,
        "median": median,
        "high": high,
    }


def mean_curve(label: str, x: Any, values: Summary) -> Curve:
    return Curve.with_errors(label, x, values["mean"], values["error"])


def median_curve(label: str, x: Any, values: Summary) -> Curve:
    return Curve(
        label,
        tuple(x),
        tuple(values["median"]),
        tuple(values["low"]),
        tuple(values["high"]),
        "quartiles",
    )
