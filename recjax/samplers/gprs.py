"""Greedy Poisson rejection sampling."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from recjax.distributions.pair import Pair
from recjax.distributions.quadrature import gauss_legendre
from recjax.randomness import Stream
from recjax.samplers.arrivals import arrival_times, time_value, zero_time
from recjax.samplers.driver import Verdict
from recjax.samplers.global_coder import ExactCoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class GPRS(ExactCoder):
    """Global greedy Poisson rejection sampling: the first arrival with T_k < sigma(r(X_k)).

    The stretch function sigma(h) is the integral of 1 / (w_Q - eta w_P) over eta in [0, h]; T_k are the arrival times
    of a unit-rate Poisson process (Flamich, *Greedy Poisson rejection sampling*, NeurIPS 2023, algorithm 3). Exact,
    for scalar pairs with width functions. ``steps`` counts candidates up to the accepted one: its mean is 2^{D_inf}.

    sigma grows, so a candidate is worth a look only if its ratio exceeds that of every rejected one; sigma at such a
    record, about ln(steps) of them, is its value at the last record plus one integral.

    Args:
        max_steps: cap on the candidates examined.

    >>> import jax, recjax
    >>> q, p = recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0)
    >>> coder, key = recjax.GPRS(), jax.random.key(7)
    >>> code = coder.encode(key, q, p)
    >>> int(code.steps) == int(code.index) + 1
    True
    """

    def start(self, pair):
        dtype = pair.proposal.dtype
        return zero_time(), jnp.full((), -jnp.inf, dtype), jnp.zeros((), dtype)

    def examine(self, pair, carry, chunk):
        start, log_h, stretched = carry
        times = arrival_times(start, chunk.exponentials(Stream.ARRIVAL))
        record = chunk.log_ratio > log_h
        found = record.any()
        used = jnp.where(found, jnp.argmax(record) + 1, record.size)
        last = used - 1
        time = times[0][last], times[1][last]
        t = time_value(time, log_h.dtype)
        ratio = chunk.log_ratio[last]
        reached = stretched + stretch_between(pair, log_h, ratio)
        # sigma(h) >= h, and sigma is infinite at the maximum
        accepted = (reached > t) | (ratio >= jnp.log(t)) | (ratio >= pair.log_ratio_max())
        carry = time, jnp.where(found, ratio, log_h), jnp.where(found, reached, stretched)
        return Verdict(carry, used, found & accepted, chunk.index[last])


def stretch_between(pair: Pair, log_low: Float[Array, ""], log_high: Float[Array, ""]) -> Float[Array, ""]:
    """sigma(high) - sigma(low) for low < high < max r, relative error about 1e-6.

    Integrates over g = h / sqrt(1 - h / max r), in which sigma is nearly linear at both ends.
    """
    top = pair.log_ratio_max()
    low, high = (jnp.exp(log_h - 0.5 * jnp.log(-jnp.expm1(log_h - top))) for log_h in (log_low, log_high))
    nodes, weights = gauss_legendre(16, top.dtype)

    def derivative(g):
        g = jnp.maximum(g, jnp.finfo(g.dtype).tiny)
        half = 0.5 * jnp.exp(jnp.log(g) - top)
        ratio = 1 / (half + jnp.sqrt(1 + half * half))  # h / g
        gap = ratio * ratio  # 1 - h / max r
        log_h = jnp.where(gap < 0.5, top + jnp.log1p(-gap), jnp.log(g * ratio))
        return ratio * 2 * gap / (1 + gap) / pair.survival(log_h)

    # cubic spacing: sigma bends on the scale of g itself
    values = jax.vmap(derivative)(low + (high - low) * nodes**3)
    return (high - low) * jnp.sum(weights * 3 * nodes**2 * values)
