"""Rejection sampling."""

import dataclasses

import jax.numpy as jnp

from recjax.randomness import Stream
from recjax.samplers._search.candidate_search import Verdict
from recjax.samplers.global_coder import ExactCoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class RejectionSampler(ExactCoder):
    """Rejection sampling: the first candidate with r(X_k) > U_k max r (von Neumann, 1951).

    Exact. ``steps`` counts candidates up to the accepted one: geometric with mean 2^{D_inf}.

    Args:
        max_steps: cap on the candidates examined.

    >>> import jax, recjax
    >>> q, p = recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0)
    >>> coder, key = recjax.RejectionSampler(), jax.random.key(7)
    >>> code = coder.encode(key, q, p)
    >>> bool(coder.decode(key, code.index, p) == code.sample)
    True
    """

    def start(self, pair):
        return ()

    def examine(self, pair, carry, chunk):
        accepted = chunk.exponentials(Stream.ACCEPT) > pair.log_ratio_max() - chunk.log_ratio
        stopped = accepted.any()
        used = jnp.where(stopped, jnp.argmax(accepted) + 1, accepted.size)
        return Verdict(carry, used, stopped, chunk.index[used - 1])
