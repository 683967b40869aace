"""Limits of channels with finitely many inputs: information, and bounds on rates."""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from recjax.distributions import Categorical, Channel

_LOG2_E = math.log2(math.e)
_NODES = 1 << 15  # quantiles of the proposal at which continuous outputs are evaluated
_SLAB = 1 << 9  # nodes per step: bounds the memory


def mutual_information_bits(channel: Channel) -> Float[Array, ""]:
    """Mutual information I(x; y) of a channel with scalar outputs, in bits.

    It is a sum over categories, or over 2^15 quantiles of the proposal.

    Raises:
        ValueError: the outputs are vectors.

    >>> import recjax
    >>> flips = recjax.Categorical(jnp.log(jnp.array([[0.89, 0.11], [0.11, 0.89]])))
    >>> channel = Channel([1, 1], flips, recjax.Categorical(jnp.zeros(2)))
    >>> round(float(mutual_information_bits(channel)), 3)
    0.5
    """
    _check(channel)
    return _mean(_information, channel)


def functional_information_bits(channel: Channel) -> Float[Array, ""]:
    """Functional information F = E_y[D_CS(P_{x|y} || P_x)] of a channel, in bits.

    No code has H[y|z] < F, for any shared randomness z (Flamich, *Data Compression with Relative
    Entropy Coding*, theorem 3.1.4). I <= F <= I + log2(I + 1) + 1, and F = I for singular channels.
    Outputs must be scalars, and are integrated over as in `mutual_information_bits`.

    Raises:
        ValueError: the outputs are vectors.

    >>> import recjax
    >>> flips = recjax.Categorical(jnp.log(jnp.array([[0.89, 0.11], [0.11, 0.89]])))
    >>> channel = Channel([1, 1], flips, recjax.Categorical(jnp.zeros(2)))
    >>> # levels of r: 1.78 and 0.22; widths at these levels: 1/2 and 1
    >>> round(float(functional_information_bits(channel)), 4)
    0.78
    """
    _check(channel)
    return _mean(_functional, channel)


def ring_toss_rate_bound_bits(
    functional_information: Float[ArrayLike, "*n"],
) -> Float[ArrayLike, "*n"]:
    """Bound on the mean rate of ring toss coding: F + log2 e bits.

    Source: *Rejection sampling is optimal for relative entropy coding*, arXiv 2604.23076.

    >>> round(ring_toss_rate_bound_bits(2.0), 4)
    3.4427
    """
    return functional_information + _LOG2_E


def channel_rate_bound_bits(mutual_information: Float[ArrayLike, "*n"]) -> Float[ArrayLike, "*n"]:
    """Bound on the mean rate of ring toss coding for any channel.

    I + log2(I + 1) + 1 + log2 e bits. It follows from `ring_toss_rate_bound_bits` and
    F <= I + log2(I + 1) + 1.

    >>> round(float(channel_rate_bound_bits(3.0)), 4)
    7.4427
    """
    return mutual_information + jnp.log2(mutual_information + 1) + 1 + _LOG2_E


def _check(channel):
    if channel.proposal.event_size != 1:
        raise ValueError(f"channel: its outputs must be scalars, not {channel.event_shape}")


@functools.partial(jax.jit, static_argnums=0)
def _mean(value, channel):
    """Mean over the proposal of a function of the inputs' ratios r and probabilities."""
    share = channel.shares.astype(channel.dtype) / channel.total
    proposal = channel.proposal

    def at(y):
        return value(jnp.exp(channel.log_ratios(y.reshape(proposal.event_shape))), share)

    if isinstance(proposal, Categorical):
        outputs = jnp.arange(proposal.logits.shape[-1], dtype=jnp.int32)
        return jnp.sum(jax.lax.map(at, outputs) * jnp.exp(proposal.log_probs()).reshape(-1))
    u = (jnp.arange(_NODES, dtype=proposal.dtype) + 0.5) / _NODES
    y = jax.vmap(lambda u: proposal.icdf(jnp.broadcast_to(u, proposal.event_shape)))(u)
    return jnp.mean(jax.lax.map(at, y, batch_size=_SLAB))


def _information(ratios, share):
    """Mean over inputs of r log2(r / mean(r)), for one output."""
    mean = jnp.sum(share * ratios)
    return jnp.sum(share * _x_log_x(ratios)) - _x_log_x(mean)


def _functional(ratios, share):
    """Integral of -w log2 w over levels of r, for one output; the mean of r need not be 1."""
    # w, the probability of the inputs with a ratio of at least the level, is a step function
    order = jnp.argsort(-ratios)
    ratios, width = ratios[order], jnp.minimum(jnp.cumsum(share[order]), 1)
    return -jnp.sum(-jnp.diff(ratios, append=0) * _x_log_x(width))


def _x_log_x(x):
    return jnp.where(x > 0, x * jnp.log2(jnp.where(x > 0, x, 1)), 0)
