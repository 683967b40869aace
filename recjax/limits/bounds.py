"""Published bounds on the rate and the work of samplers, as functions of divergences in bits.

Plain arithmetic on scalars or arrays, for use under ``jax.jit``. K is the 1-based index that a sampler sends.
"""

import math
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from recjax.distributions import Distribution, pair_of
from recjax.distributions.base import any_violation, concrete
from recjax.distributions.pair import check_pair, violations

_LOG2_E = math.log2(math.e)
_EULER = 0.5772156649015329


def gprs_rate_bound_bits(mutual_information: Float[ArrayLike, "*n"]) -> Float[ArrayLike, "*n"]:
    """I + log2(I + 2) + 3: bits of GPRS with a zeta code, in the mean over targets with information I in bits.

    Source: Flamich, *Greedy Poisson rejection sampling*, NeurIPS 2023.

    >>> float(gprs_rate_bound_bits(2.0))
    7.0
    """
    return mutual_information + jnp.log2(mutual_information + 2) + 3


def gprs_log_index_bound_bits(kl: Float[ArrayLike, "*n"]) -> Float[ArrayLike, "*n"]:
    """E[log2 K] <= D_KL + 1 for GPRS. Source: as for ``gprs_rate_bound_bits``.

    >>> gprs_log_index_bound_bits(2.0)
    3.0
    """
    return kl + 1


def a_star_log_index_bound_bits(kl: Float[ArrayLike, "*n"]) -> Float[ArrayLike, "*n"]:
    """E[log2 K] <= D_KL + log2(e) / e + 1 for A* coding, the Poisson functional representation.

    Source: Li and El Gamal, *Strong functional representation lemma*, IEEE Trans. Inf. Theory 64, 2018.

    >>> round(a_star_log_index_bound_bits(2.0), 4)
    3.5307
    """
    return kl + _LOG2_E / math.e + 1


def greedy_rejection_entropy_bound_bits(
    channel_simulation: Float[ArrayLike, "*n"],
) -> Float[ArrayLike, "*n"]:
    """H[K] <= D_CS + log2(e + 1) for greedy rejection sampling.

    Source: Goc and Flamich, *On channel simulation with causal rejection samplers*, ISIT 2024.

    >>> round(greedy_rejection_entropy_bound_bits(2.0), 4)
    3.8946
    """
    return channel_simulation + math.log2(math.e + 1)


def channel_simulation_bounds_bits(
    kl: Float[ArrayLike, "*n"],
) -> tuple[Float[ArrayLike, "*n"], Float[ArrayLike, "*n"]]:
    """D_KL <= D_CS <= D_KL + log2(D_KL + 1) + 1: both ends.

    Source: as for ``greedy_rejection_entropy_bound_bits``.

    >>> [float(end) for end in channel_simulation_bounds_bits(3.0)]
    [3.0, 6.0]
    """
    return kl, kl + jnp.log2(kl + 1) + 1


def expected_steps(renyi_inf: Float[ArrayLike, "*n"]) -> Float[ArrayLike, "*n"]:
    """2^D_inf: the mean number of candidates of rejection sampling, greedy rejection sampling and global GPRS.

    No exact causal sampler needs fewer in the mean (source: as for ``greedy_rejection_entropy_bound_bits``).

    >>> float(expected_steps(3.0))
    8.0
    """
    return jnp.exp2(renyi_inf)


def branch_and_bound_steps_bound(kl: Float[ArrayLike, "*n"]) -> Float[ArrayLike, "*n"]:
    """(D_KL + 2 + (1 + gamma) log2 e) / (log2 e - 1): the mean steps of branch-and-bound GPRS on unimodal ratios.

    D_KL in bits, gamma = 0.5772... Euler's constant: about 2.26 D_KL + 9.66, whatever D_inf is. Source: Flamich, *Data
    Compression with Relative Entropy Coding*, theorem 5.2.5; *Greedy Poisson rejection sampling*, NeurIPS 2023.

    >>> round(branch_and_bound_steps_bound(0.0), 4)
    9.6578
    """
    return (kl + 2 + (1 + _EULER) * _LOG2_E) / (_LOG2_E - 1)


def greedy_rejection_coder_steps_bound(kl: Float[ArrayLike, "*n"]) -> Float[ArrayLike, "*n"]:
    """4.82 D_KL: the published growth of the mean steps of the greedy rejection coder with space partitioning.

    The slope for large D_KL; an additive constant belongs to it. Source: Flamich, Markou and Hernández-Lobato, *Faster
    relative entropy coding with greedy rejection coding*, NeurIPS 2023.

    >>> round(greedy_rejection_coder_steps_bound(10.0), 4)
    48.2
    """
    return 4.82 * kl


def budget_bits_for_total_variation(
    kl: Float[ArrayLike, "*n"],
    total_variation: Float[ArrayLike, "*n"],
    renyi_inf: Float[ArrayLike, "*n"] | float = math.inf,
) -> Float[ArrayLike, "*n"]:
    """log2 of the candidates with which `recjax.BudgetedAStar` is as close to its target as wanted.

    N >= 2^((D_KL + log2(e) / e + 1) / eps) candidates give a total variation of at most eps, by Markov's inequality
    for log2 K (Flamich and Wells, *Some notes on the sample complexity of approximate channel simulation*, 2024). For
    a bounded density ratio so do N >= 2^{D_inf} ln(1 / eps), mostly fewer: K is a mixture of geometric variables with
    means of at most 2^{D_inf}. The lesser of both; round up for a budget.

    Args:
        kl: D_KL in bits.
        total_variation: eps, in (0, 1].
        renyi_inf: D_inf in bits, where it is known.

    Raises:
        ValueError: a concrete divergence is negative, or eps is not in (0, 1].

    >>> round(float(budget_bits_for_total_variation(2.0, 0.5)), 4), round(
    ...     float(budget_bits_for_total_variation(2.0, 0.01, 3.0)), 4
    ... )
    (7.0615, 5.2033)
    """
    values = concrete((kl, total_variation, renyi_inf))
    if values is not None:
        if not all((divergence >= 0).all() for divergence in (values[0], values[2])):
            raise ValueError("kl and renyi_inf must not be negative")
        if not ((values[1] > 0) & (values[1] <= 1)).all():
            raise ValueError("total_variation must be in (0, 1]")
    markov = a_star_log_index_bound_bits(kl) / total_variation
    # 2^D_inf itself could be beyond the range of floats
    geometric = jnp.maximum(renyi_inf + jnp.log2(-jnp.log(total_variation)), 0)
    return jnp.fmin(markov, geometric)  # inf - inf, for eps = 1 and an unknown D_inf, is no bound


def hockey_stick(
    q: Any, p: Distribution, h: Float[ArrayLike, "*levels"]
) -> Float[Array, "*levels"]:
    """The hockey-stick divergence E_P[(r - h)^+] = w_Q(h) - h w_P(h), from 1 at h = 0 to 0 at the largest ratio.

    At h = 1 it is the total variation distance. Also the probability that the width density exceeds h.

    Raises:
        ValueError: h is negative, or as for ``channel_simulation_bits``; on traced values the result is NaN.

    >>> import recjax
    >>> float(hockey_stick(recjax.Uniform(0.0, 0.25), recjax.Uniform(0.0, 1.0), 1.0))
    0.75
    """
    levels = concrete(h)
    if levels is not None and not (levels >= 0).all():
        raise ValueError("h must not be negative")
    check_pair(q, p, bounded=True, widths=True)
    pair = pair_of(q, p)
    values = jnp.vectorize(pair.survival)(jnp.log(jnp.asarray(h, p.dtype)))
    return jnp.where(any_violation(violations(pair, bounded=True, widths=True)), jnp.nan, values)
