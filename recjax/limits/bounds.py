"""Published bounds on the rate and the work of samplers, as functions of divergences in bits.

The functions are plain arithmetic on scalars or arrays, for use under `jax.jit`. K is the 1-based
index that a sampler sends.
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
    """Bound on the mean rate of GPRS with a zeta code: I + log2(I + 2) + 3 bits.

    Args:
        mutual_information: I in bits, the mean of D_KL over targets.

    Source: Flamich, *Greedy Poisson rejection sampling*, NeurIPS 2023.

    >>> float(gprs_rate_bound_bits(2.0))
    7.0
    """
    return mutual_information + jnp.log2(mutual_information + 2) + 3


def gprs_log_index_bound_bits(kl: Float[ArrayLike, "*n"]) -> Float[ArrayLike, "*n"]:
    """Bound on E[log2 K] of GPRS: D_KL + 1 bits.

    Source: Flamich, *Greedy Poisson rejection sampling*, NeurIPS 2023.

    >>> gprs_log_index_bound_bits(2.0)
    3.0
    """
    return kl + 1


def a_star_log_index_bound_bits(kl: Float[ArrayLike, "*n"]) -> Float[ArrayLike, "*n"]:
    """Bound on E[log2 K] of A* coding (Poisson functional representation).

    It is D_KL + log2(e) / e + 1 bits.

    Source: Li and El Gamal, *Strong functional representation lemma and applications to coding
    theorems*, IEEE Transactions on Information Theory 64, 2018.

    >>> round(a_star_log_index_bound_bits(2.0), 4)
    3.5307
    """
    return kl + _LOG2_E / math.e + 1


def greedy_rejection_entropy_bound_bits(
    channel_simulation: Float[ArrayLike, "*n"],
) -> Float[ArrayLike, "*n"]:
    """Bound on the entropy H[K] of greedy rejection sampling: D_CS + log2(e + 1) bits.

    Source: Goc and Flamich, *On channel simulation with causal rejection samplers*, ISIT 2024.

    >>> round(greedy_rejection_entropy_bound_bits(2.0), 4)
    3.8946
    """
    return channel_simulation + math.log2(math.e + 1)


def channel_simulation_bounds_bits(
    kl: Float[ArrayLike, "*n"],
) -> tuple[Float[ArrayLike, "*n"], Float[ArrayLike, "*n"]]:
    """Bounds on the channel simulation divergence D_CS, given D_KL in bits.

    Returns:
        Both ends of D_KL <= D_CS <= D_KL + log2(D_KL + 1) + 1.

    Source: Goc and Flamich, *On channel simulation with causal rejection samplers*, ISIT 2024.

    >>> [float(end) for end in channel_simulation_bounds_bits(3.0)]
    [3.0, 6.0]
    """
    return kl, kl + jnp.log2(kl + 1) + 1


def expected_steps(renyi_inf: Float[ArrayLike, "*n"]) -> Float[ArrayLike, "*n"]:
    """Mean number of candidates of exact global samplers: 2^D_inf.

    Rejection sampling, greedy rejection sampling and global GPRS attain it, and no exact causal
    sampler needs fewer in the mean.

    Source: Goc and Flamich, *On channel simulation with causal rejection samplers*, ISIT 2024.

    >>> float(expected_steps(3.0))
    8.0
    """
    return jnp.exp2(renyi_inf)


def branch_and_bound_steps_bound(kl: Float[ArrayLike, "*n"]) -> Float[ArrayLike, "*n"]:
    """Bound on the mean steps of branch-and-bound GPRS for unimodal ratios.

    It is (D_KL + 2 + (1 + gamma) log2 e) / (log2 e - 1) with D_KL in bits and Euler's constant
    gamma = 0.5772...: about 2.26 D_KL + 9.66, however large D_inf is.

    Source: Flamich, *Data Compression with Relative Entropy Coding*, theorem 5.2.5; *Greedy Poisson
    rejection sampling*, NeurIPS 2023.

    >>> round(branch_and_bound_steps_bound(0.0), 4)
    9.6578
    """
    return (kl + 2 + (1 + _EULER) * _LOG2_E) / (_LOG2_E - 1)


def greedy_rejection_coder_steps_bound(kl: Float[ArrayLike, "*n"]) -> Float[ArrayLike, "*n"]:
    """Growth of the mean steps of greedy rejection coding with space partitioning: 4.82 D_KL.

    This is the slope for large D_KL in bits; the bound also has an additive constant.

    Source: Flamich, Markou and Hernández-Lobato, *Faster relative entropy coding with greedy
    rejection coding*, NeurIPS 2023.

    >>> round(greedy_rejection_coder_steps_bound(10.0), 4)
    48.2
    """
    return 4.82 * kl


def budget_bits_for_total_variation(
    kl: Float[ArrayLike, "*n"],
    total_variation: Float[ArrayLike, "*n"],
    renyi_inf: Float[ArrayLike, "*n"] | float = math.inf,
) -> Float[ArrayLike, "*n"]:
    """Budget, in bits, with which `recjax.BudgetedAStar` reaches a total variation distance.

    It is log2 of the smaller of two sufficient numbers N of candidates; round it up. By Markov's
    inequality for log2 K, N = 2^((D_KL + log2(e) / e + 1) / eps) suffices for a distance of at most
    eps (Flamich and Wells, *Some notes on the sample complexity of approximate channel simulation*,
    2024). For a bounded density ratio, so does N = 2^{D_inf} ln(1 / eps), which is mostly smaller:
    K is a mixture of geometric variables with means of at most 2^{D_inf}.

    Args:
        kl: D_KL in bits.
        total_variation: eps, in (0, 1].
        renyi_inf: D_inf in bits, if it is known.

    Raises:
        ValueError: a concrete divergence is negative, or eps is not in (0, 1].

    >>> round(float(budget_bits_for_total_variation(2.0, 0.5)), 4)
    7.0615
    >>> round(float(budget_bits_for_total_variation(2.0, 0.01, renyi_inf=3.0)), 4)
    5.2033
    """
    values = concrete((kl, total_variation, renyi_inf))
    if values is not None:
        if not all((divergence >= 0).all() for divergence in (values[0], values[2])):
            raise ValueError("kl and renyi_inf must not be negative")
        if not ((values[1] > 0) & (values[1] <= 1)).all():
            raise ValueError("total_variation must be in (0, 1]")
    markov = a_star_log_index_bound_bits(kl) / total_variation
    # by logarithms: 2^D_inf itself could be beyond the range of floats
    geometric = jnp.maximum(renyi_inf + jnp.log2(-jnp.log(total_variation)), 0)
    # fmin ignores NaN: inf - inf, for eps = 1 and an unknown D_inf
    return jnp.fmin(markov, geometric)


def hockey_stick(
    q: Any, p: Distribution, h: Float[ArrayLike, "*levels"]
) -> Float[Array, "*levels"]:
    """Hockey-stick divergence E_P[(r - h)^+] = w_Q(h) - h w_P(h).

    It falls from 1 at h = 0 to 0 at the largest ratio. At h = 1 it is the total variation distance.

    Args:
        q: target.
        p: proposal.
        h: levels of the density ratio, not negative.

    Raises:
        ValueError: h is negative, or the pair is refused by `channel_simulation_bits`. For traced
            values the result is NaN instead.

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
