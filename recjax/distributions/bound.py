"""The test of a pair's bound: a density ratio above it shows that the pair is wrong."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from recjax.distributions.pair import Pair

BOUND_SLACK = 1e-4
"""Nats by which rounding may raise a log-ratio above a bound of it."""

_ULPS = 64  # and units in the last place of the bound, and of a component's terms


def above_bound(pair: Pair, log_ratio: Float[Array, "*n"]) -> Bool[Array, "*n"]:
    """Whether log-ratios exceed the bound of a pair by more than rounding.

    The terms of a sum over d components are of the order of d and of the bound, and so is the
    rounding of the sum.

    >>> import recjax
    >>> from recjax.distributions.pair import pair_of
    >>> pair = pair_of(recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0))  # at most 1.3598
    >>> above_bound(pair, jnp.array([1.3599, 1.37])).tolist()
    [False, True]
    """
    top, eps = pair.log_ratio_max(), float(jnp.finfo(log_ratio.dtype).eps)
    slack = BOUND_SLACK + _ULPS * eps * (jnp.abs(top) + max(pair.proposal.event_size, 1))
    # an infinite bound has an infinite slack
    return log_ratio > top + slack
