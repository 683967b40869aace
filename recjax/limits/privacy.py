"""What the Poisson private representation promises, and what it costs.

Source: Liu, Chen, Özgür and Li, *Universal exact compression of differentially private mechanisms*, NeurIPS 2024.
"""

import math

import numpy as np
from jaxtyping import ArrayLike, Float

from recjax.distributions.base import concrete


def poisson_private_epsilon(
    mechanism_epsilon: Float[ArrayLike, "*n"], alpha: float
) -> Float[ArrayLike, "*n"]:
    """2 alpha epsilon, in nats: the privacy of index and shared randomness of ``PoissonPrivate`` together.

    For a mechanism Q_x that is epsilon-differentially private, q_x(z) <= e^epsilon q_x'(z) for neighbours x, x'. Given
    candidates z_k and even their times t_k, the probability of k is w_k / (w_1 + w_2 + ...) with
    w_k = (t_k / r_x(z_k))^-alpha, of which both parts change by at most a factor e^(alpha epsilon). The sum may end
    anywhere, so that lists of any length keep the promise. Published beside it, not proven here: (epsilon,
    delta)-private mechanisms become (2 alpha epsilon, 2 delta)-private, and epsilon may be a multiple of a metric.

    Args:
        mechanism_epsilon: epsilon of the mechanism, positive.
        alpha: that of the coder, more than 1; math.inf stands for ``AStar``, which promises nothing.

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


def poisson_private_log_index_bound_bits(
    kl: Float[ArrayLike, "*n"], alpha: float
) -> Float[ArrayLike, "*n"]:
    """E[log2 K] <= D_KL + log2(3.56) / min((alpha - 1) / 2, 1) for ``PoissonPrivate``.

    The second part falls from infinity at alpha = 1 to 1.83 bits at alpha = 3 and beyond. As published; measured means
    were 1.6 to 3.8 bits below it at alpha = 2 and 4, 9 bits at 1.3.

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
