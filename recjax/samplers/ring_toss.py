"""Rejection sampling with the ring-toss code."""

import dataclasses
from typing import Any, ClassVar

from jaxtyping import Array

from recjax.distributions.pair import Pair
from recjax.samplers._search.candidate_rule import Chunk, Verdict
from recjax.samplers._streams.ring_toss import RingTossCode, checked_channel
from recjax.samplers.base import Code
from recjax.samplers.global_coder import ExactCoder
from recjax.samplers.index_code import IndexCode
from recjax.samplers.rejection import first_accepted


@dataclasses.dataclass(frozen=True, kw_only=True)
class RingToss(ExactCoder):
    """Rejection sampling with one bound for all inputs of a channel, and a code made for it.

    The proposal is a ``Channel``, and M its bound. Candidate y_i with the shared uniform u_i ends
    the search for the inputs with r_x(y_i) >= M u_i, which have the probability
    w_i = w_{y_i}(M u_i). The receiver knows w_i too, so that index k takes
    -log2 (w_k (1 - w_0) ... (1 - w_{k-1})) bits: in the mean over inputs at most F + log2 e with F
    the functional information, whatever the proposal is; thus at most I + log2(I + 1) + 2.45, and
    at most I + 1.45 for singular channels. Exact. ``steps`` counts candidates up to the accepted
    one: geometric with mean M.

    Source: *Rejection sampling is optimal for relative entropy coding*, arXiv 2604.23076.

    Args:
        max_steps: cap on the candidates examined.

    >>> import jax, jax.numpy as jnp, recjax
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

    def start(self, pair: Pair) -> tuple[()]:
        return ()

    def examine(self, pair: Pair, state: tuple[()], chunk: Chunk) -> Verdict:
        return first_accepted(pair, chunk)

    def index_code(self, proposal: Any, rate_bits: Any) -> IndexCode:
        """The probability that the search ends at the index; the rate does not enter."""
        return RingTossCode(self.limit - 1, checked_channel(proposal))
