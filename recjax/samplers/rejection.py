"""Rejection sampling."""

import dataclasses

from recjax.distributions.pair import Pair
from recjax.randomness import Stream
from recjax.samplers._search.candidate_rule import Chunk, Verdict, used_until
from recjax.samplers.global_coder import ExactCoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class RejectionSampler(ExactCoder):
    """Rejection sampling: the first candidate with r(X_k) > U_k max r (von Neumann, 1951).

    Exact. ``steps`` counts candidates up to the accepted one: geometric with mean 2^{D_inf}. The
    index is sent in a zeta code.

    Args:
        max_steps: cap on the candidates examined.

    >>> import jax, recjax
    >>> q, p = recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0)
    >>> coder, key = recjax.RejectionSampler(), jax.random.key(7)
    >>> code = coder.encode(key, q, p)
    >>> bool(coder.decode(key, code.index, p) == code.sample)
    True
    """

    def start(self, pair: Pair) -> tuple[()]:
        return ()

    def examine(self, pair: Pair, state: tuple[()], chunk: Chunk) -> Verdict:
        return first_accepted(pair, chunk)


def first_accepted(pair: Pair, chunk: Chunk) -> Verdict:
    """The verdict of rejection sampling, which needs no state.

    A candidate is accepted with probability r / max r: if a unit exponential, -ln U_k, exceeds
    ln (max r / r).
    """
    accepted = chunk.exponentials(Stream.ACCEPT) > pair.log_ratio_max() - chunk.log_ratio
    used, stopped = used_until(accepted)
    return Verdict((), used, stopped, chunk.index[used - 1])
