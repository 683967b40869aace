"""Privacy and rate of the Poisson private representation.

Source: Liu, Chen, Özgür and Li, *Universal exact compression of differentially private mechanisms*,
NeurIPS 2024.
"""

import math

import numpy as np
from jaxtyping import ArrayLike, Float

from recjax.distributions.base import concrete


def poisson_private_epsilon(
    mechanism_epsilon: Float[ArrayLike, "*n"], alpha: float
) -> Float[ArrayLike, "*n"]:
    """Differential privacy of `recjax.PoissonPrivate`: 2 alpha epsilon, in nats.

    It covers the index and the shared randomness together. A mechanism Q_x is epsilon-private if
    q_x(z) <= e^epsilon q_x'(z) for neighbours x, x'. Given candidates z_k and even their times t_k,
    index k has the probability w_k / (w_1 + w_2 + ...) with w_k = (t_k / r_x(z_k))^-alpha, whose
    numerator and denominator each change by at most a factor e^(alpha epsilon). The sum may end
    anywhere: lists of any length are private. It is also published, and not proven here, that
    (epsilon, delta)-private mechanisms become (2 alpha epsilon, 2 delta)-private, and that epsilon
    may be a multiple of a metric.

    Args:
        mechanism_epsilon: epsilon of the mechanism in nats, positive.
        alpha: parameter of the coder, greater than 1; math.inf stands for `recjax.AStar`, which is
            not private.

    Raises:
        ValueError: a concrete epsilon is not positive, or alpha is not greater than 1.

    >>> poisson_private_epsilon(0.5, alpha=2.0)
    2.0
    """
    _check_alpha(alpha)
    known = concrete(mechanism_epsilon)
    if known is not None and not np.all(known > 0):
        raise ValueError("mechanism_epsilon must be positive")
    return 2 * alpha * mechanism_epsilon


def poisson_private_normal_epsilon(
    distance: float, alpha: float, *, delta: float, chunks: int = 1
) -> float:
    """Differential privacy of `recjax.PoissonPrivate` on normal noise in chunks, in nats.

    A vector is coded in chunks, and secrets of two neighbours differ by at most ``distance``
    standard deviations in Euclidean norm. Index, shared randomness and all chunks together are
    (epsilon, delta)-private with

        epsilon = 2 alpha (D^2 / 2 + D sqrt(2 C ln(2 C / delta)))

    for the distance D and C chunks. A normal mechanism at distance s is (s^2 / 2 + s sqrt(2 ln(1 /
    delta)), delta)-private (Bun and Steinke, *Concentrated differential privacy*, TCC 2016); the
    coder makes that twice alpha and 2 delta (published, not proven here: see
    `poisson_private_epsilon`); and by basic composition the numbers of the chunks add up. Given the
    sum of s^2 over chunks, D^2, the sum of s is largest where all are equal: sqrt(C) D.

    It is a bound for a sender that nobody trusts, and a large number for most uses. Who sees only
    the mean of many samples has the smaller epsilon of the mechanism in the centre.

    Args:
        distance: the largest Euclidean distance of two neighbours, in standard deviations.
        alpha: parameter of the coder, greater than 1.
        delta: the total delta, between 0 and 1.
        chunks: number of chunks.

    Raises:
        ValueError: an argument is out of its range.

    >>> round(poisson_private_normal_epsilon(0.1, alpha=2.0, delta=1e-5, chunks=20), 2)
    9.88
    """
    _check_alpha(alpha)
    if not 0 < distance < math.inf:
        raise ValueError(f"distance must be positive and finite, got {distance!r}")
    if not 0 < delta < 1:
        raise ValueError(f"delta must be between 0 and 1, got {delta!r}")
    if not chunks >= 1:
        raise ValueError(f"chunks must be at least 1, got {chunks!r}")
    tail = math.sqrt(2 * chunks * math.log(2 * chunks / delta))
    return alpha * (distance**2 + 2 * distance * tail)


def poisson_private_log_index_bound_bits(
    kl: Float[ArrayLike, "*n"], alpha: float
) -> Float[ArrayLike, "*n"]:
    """Bound on E[log2 K] of `recjax.PoissonPrivate`.

    It is D_KL + log2(3.56) / min((alpha - 1) / 2, 1) bits. The second term falls from infinity at
    alpha = 1 to 1.83 bits at alpha = 3 and beyond. Measured means were 1.6 to 3.8 bits below the
    bound at alpha = 2 and 4, and 9 bits below it at alpha = 1.3.

    Args:
        kl: D_KL in bits.
        alpha: parameter of the coder, greater than 1.

    Raises:
        ValueError: alpha is not greater than 1.

    >>> round(poisson_private_log_index_bound_bits(2.0, alpha=2.0), 4)
    5.6638
    """
    _check_alpha(alpha)
    return kl + math.log2(3.56) / min((alpha - 1) / 2, 1)


def _check_alpha(alpha):
    if not alpha > 1:
        raise ValueError(f"alpha must be greater than 1, got {alpha!r}")
