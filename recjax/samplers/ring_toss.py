"""Rejection sampling with the ring-toss code."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

from recjax import randomness
from recjax.distributions.channel import Channel
from recjax.randomness import Stream
from recjax.samplers.base import Code, checked_index
from recjax.samplers.rejection import RejectionSampler

_CHUNK = 64
_DOUBT = 4e-6  # nats, absolute and relative, by which devices may differ
_ULPS = 8  # units in the last place by which their samples may


@dataclasses.dataclass(frozen=True, kw_only=True)
class RingToss(RejectionSampler):
    """Rejection sampling with one bound for all inputs of a channel, its index coded by who would have stopped there.

    The proposal is a ``Channel``, and M its bound. Candidate y_i with the shared uniform u_i ends the search for the
    inputs with r_x(y_i) >= M u_i, which have the probability w_i = w_{y_i}(M u_i). The receiver knows w_i too, so
    that index k takes -log2 (w_k (1 - w_0) ... (1 - w_{k-1})) bits: in the mean over inputs at most F + log2 e with F
    the functional information, whatever the proposal is; thus I + log2(I + 1) + 2.45 at most, and I + 1.45 for
    singular channels. Exact. ``steps`` counts candidates up to the accepted one: geometric with mean M.

    Source: *Rejection sampling is optimal for relative entropy coding*, arXiv 2604.23076.

    Args:
        max_steps: cap on the candidates examined.

    >>> import jax, recjax
    >>> inputs = recjax.Normal(jnp.array([-1.0, 0.0, 1.0]), jnp.full(3, 0.5))
    >>> channel = recjax.Channel([1, 2, 1], inputs, recjax.Normal(0.0, 1.0))
    >>> coder, key = recjax.RingToss(), jax.random.key(7)
    >>> code = coder.encode(key, recjax.Normal(1.0, 0.5), channel)
    >>> bool(coder.decode(key, code.index, channel) == code.sample)
    True
    """

    widths: ClassVar[bool] = True

    def search(self, key: Array, target: Any, proposal: Any) -> Code:
        return super().search(key, target, checked_channel(proposal))

    def search_lanes(self, keys: Array, targets: Any, proposals: Any) -> Code:
        return super().search_lanes(keys, targets, checked_channel(proposals))

    def codelength(
        self, key: Array, index: Any, proposal: Any, *, rate_bits: Any = None
    ) -> Float[Array, ""]:
        """-log2 of the probability of ``index`` given the shared randomness; ``rate_bits`` is not used."""
        return _codelength(key, checked_index(index, self.limit), checked_channel(proposal))


def checked_channel(proposal: Any) -> Channel:
    """A ValueError unless a proposal is a ``Channel``."""
    if not isinstance(proposal, Channel):
        raise ValueError(f"proposal: ring toss needs a Channel, got a {type(proposal).__name__}")
    return proposal


def tosses(
    key: Array, index: UInt32[Array, "n"], channel: Channel, doubts: bool = False
) -> tuple[Int[Array, "n"], Bool[Array, "n"]]:
    """For candidates, w_i out of ``channel.total``, and whether another device may find another number.

    Args:
        doubts: whether the second is wanted; else it is False.
    """
    candidate, accept = (
        randomness.stream_key(key, stream) for stream in (Stream.CANDIDATE, Stream.ACCEPT)
    )

    def one(i):
        y = channel.sample_from_bits(randomness.coordinate_bits(candidate, i, channel.event_size))
        gap = randomness.exponential(randomness.coordinate_bits(accept, i, 1)[0], channel.dtype)
        found = channel.acceptance(y, gap)
        if not doubts:
            return found, jnp.zeros((), bool)
        step = 1 + _DOUBT
        others = [
            channel.acceptance(x, g)
            for x in _beside(y)
            for g in (gap * step + _DOUBT, gap / step - _DOUBT)
        ]
        return found, jnp.any(jnp.stack(others) != found)

    return jax.vmap(one)(index)


def _beside(y):
    if jnp.issubdtype(y.dtype, jnp.integer):
        return [y]
    shift = _ULPS * jnp.finfo(y.dtype).eps * jnp.abs(y)
    return [y - shift, y + shift]


@jax.jit
def _codelength(key, index, channel):
    least = 1 / channel.total

    def step(state):
        start, bits = state
        places = start + jnp.arange(_CHUNK, dtype=jnp.uint32)
        count, _ = tosses(key, places, channel)
        share = jnp.clip(count.astype(channel.dtype) / channel.total, least, 1 - least)
        each = jnp.where(
            places < index, -jnp.log1p(-share), jnp.where(places == index, -jnp.log(share), 0)
        )
        return start + _CHUNK, bits + jnp.sum(each) / jnp.log(jnp.asarray(2, share.dtype))

    start = jnp.zeros_like(index), (index & 0).astype(channel.dtype)
    return jax.lax.while_loop(lambda state: state[0] <= index, step, start)[1]
