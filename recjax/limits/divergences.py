"""Divergences in bits, and the width function from which they are computed.

With r = dQ/dP, the width function w_P(h) = P[r >= h] is itself a probability density over levels
h. For H with this density, D_KL = log2 e + E[log2 H], and the channel simulation divergence D_CS is
the differential entropy of H (Goc and Flamich, *On channel simulation with causal rejection
samplers*, ISIT 2024).
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from recjax.distributions import Distribution, pair_of
from recjax.distributions.base import any_violation, concrete
from recjax.distributions.pair import check_pair, violations
from recjax.distributions.quadrature import gauss_legendre

_LN_2 = math.log(2)
_BOTTOM = -45.0  # levels with a smaller ln h are ignored


def kl_bits(q: Any, p: Distribution) -> Float[Array, ""]:
    """Relative entropy D_KL(Q || P) in bits, summed over the components.

    Args:
        q: target, a distribution or any pytree with a registered `recjax.Pair`.
        p: proposal.

    Raises:
        ValueError: event shapes differ, or Q is not absolutely continuous with respect to P. For
            traced values the result is NaN instead.

    >>> import recjax
    >>> round(float(recjax.kl_bits(recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0))), 4)
    1.1803
    """
    check_pair(q, p, bounded=False)
    return _kl(q, p)


def renyi_inf_bits(q: Any, p: Distribution) -> Float[Array, ""]:
    """Rényi divergence of infinite order D_inf(Q || P) in bits.

    It is log2 of the largest density ratio, summed over the components, and infinite if the ratio
    is unbounded. An exact sampler examines 2^D_inf candidates in the mean.

    Args:
        q: target, a distribution or any pytree with a registered `recjax.Pair`.
        p: proposal.

    Raises:
        ValueError: see `kl_bits`.

    >>> import recjax
    >>> round(float(recjax.renyi_inf_bits(recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0))), 4)
    1.9618
    """
    check_pair(q, p, bounded=False)
    return _renyi_inf(q, p)


def channel_simulation_bits(q: Any, p: Distribution) -> Float[Array, ""]:
    """Channel simulation divergence D_CS(Q || P) in bits.

    D_KL <= D_CS <= D_KL + log2(D_KL + 1) + 1. It is not a sum over components, and exists here for
    scalar pairs and for normal vectors whose scales all have one ratio to the proposal's. Computed
    in closed form or by quadrature over ln h.

    Args:
        q: target, a distribution or any pytree with a registered `recjax.Pair`.
        p: proposal.

    Raises:
        ValueError: see `kl_bits`; or the density ratio is unbounded, or the pair is neither scalar
            nor such a normal vector. For traced values the result is NaN where it depends on them.

    >>> import recjax
    >>> q, p = recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0)
    >>> round(float(recjax.channel_simulation_bits(q, p)), 4)
    1.7344
    """
    check_pair(q, p, bounded=True, widths=True)
    return _channel_simulation(q, p)


def width_function(
    q: Any, p: Distribution, h: Float[ArrayLike, "*levels"]
) -> tuple[Float[Array, "*levels"], Float[Array, "*levels"]]:
    """Width functions: the probabilities under P and under Q that the density ratio is at least h.

    They exist for the same pairs as `channel_simulation_bits`.

    Args:
        q: target, a distribution or any pytree with a registered `recjax.Pair`.
        p: proposal.
        h: levels of the density ratio, not negative.

    Returns:
        w_P(h) and w_Q(h).

    Raises:
        ValueError: see `channel_simulation_bits`; or a concrete h is negative.

    >>> import recjax
    >>> w_p, w_q = recjax.width_function(recjax.Uniform(0.0, 0.25), recjax.Uniform(0.0, 1.0), 2.0)
    >>> float(w_p), float(w_q)
    (0.25, 1.0)
    """
    levels = concrete(h)
    if levels is not None and not np.all(levels >= 0):
        raise ValueError("h must not be negative")
    check_pair(q, p, bounded=True, widths=True)
    return _widths(q, p, jnp.asarray(h, p.dtype))


@jax.jit
def _kl(q, p):
    pair = pair_of(q, p)
    nats = pair.kl()
    if nats is None:
        u, _, mass = _levels(pair)
        nats = 1 + jnp.sum(u * mass)
    return _or_nan(nats / _LN_2, pair, bounded=False)


@jax.jit
def _renyi_inf(q, p):
    pair = pair_of(q, p)
    return _or_nan(pair.log_ratio_max() / _LN_2, pair, bounded=False)


@jax.jit
def _channel_simulation(q, p):
    pair = pair_of(q, p)
    nats = pair.channel_simulation()
    if nats is None:
        _, log_w, mass = _levels(pair)
        # the mass is 1 but for rounding in exp(ln r_max), which a large divergence multiplies
        nats = jnp.sum(-log_w * mass) / jnp.sum(mass)
    return _or_nan(nats / _LN_2, pair, bounded=True, widths=True)


@jax.jit
def _widths(q, p, h):
    pair = pair_of(q, p)
    widths = jnp.vectorize(lambda log_h: jnp.stack(pair.widths(log_h)), signature="()->(2)")(
        jnp.log(h)
    )
    w_p, w_q = jnp.moveaxis(_or_nan(widths, pair, bounded=True, widths=True), -1, 0)
    return w_p, w_q


def _levels(pair):
    """Quadrature over levels h with density w_P(h).

    Most nodes lie where Q has most of ln r. The substitution u = top - t^2 removes the square root
    with which smooth densities reach their maximum.

    Returns:
        Nodes u = ln h, ln w_P at the nodes, and the probability of each node.
    """
    # positions of nodes are constants for gradients: a quadrature does not depend on them
    top = jax.lax.stop_gradient(pair.log_ratio_max())

    def quantile(mass):
        return _bisect(lambda u: pair.widths(u)[1] > mass, jnp.full_like(top, _BOTTOM), top)

    low, high, near = quantile(0.999), quantile(1e-9), jnp.maximum(top - 1, _BOTTOM)
    spans = ((_BOTTOM, low, 8), (low, high, 24), (high, top, 8), (near, top, 3))
    edges = [jnp.linspace(start, stop, n) for start, stop, n in spans]
    edges = jnp.sort(
        jnp.concatenate([*edges, jnp.clip(jax.lax.stop_gradient(pair.kinks()), _BOTTOM, top)])
    )
    t = jnp.sqrt(jnp.maximum(top - edges, 0))
    nodes, weights = gauss_legendre(16, top.dtype)
    length = t[:-1] - t[1:]
    t = (t[1:, None] + jnp.outer(length, nodes)).ravel()
    weights = jnp.outer(length, weights).ravel()
    u = pair.log_ratio_max() - t * t
    w = jax.vmap(pair.widths)(u)[0]
    log_w = jnp.log(jnp.where(w > 0, w, 1))
    return u, log_w, jnp.where(w > 0, weights * 2 * t * jnp.exp(u + log_w), 0)


def _bisect(above, low, high):
    """Bisects for the largest argument of a predicate that holds below it only."""

    def halve(_, ends):
        middle = 0.5 * (ends[0] + ends[1])
        yes = above(middle)
        return jnp.where(yes, middle, ends[0]), jnp.where(yes, ends[1], middle)

    low, high = jax.lax.fori_loop(0, 30, halve, (low, high))
    return jax.lax.stop_gradient(0.5 * (low + high))


def _or_nan(value, pair, bounded, widths=False):
    return jnp.where(any_violation(violations(pair, bounded, widths)), jnp.nan, value)
