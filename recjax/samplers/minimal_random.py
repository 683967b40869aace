"""Minimal random coding."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from recjax.randomness import Stream
from recjax.samplers.base import checked_index
from recjax.samplers.global_coder import BudgetCoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class MinimalRandomCoder(BudgetCoder):
    """Minimal random coding: one of N = 2^budget candidates, drawn in proportion to r(X_k).

    Havasi et al., *Minimal random code learning*, ICLR 2019. The draw is the Gumbel-max of ln r; the index is close to
    uniform and costs ``budget_bits``. Approximate: see ``BudgetCoder``. ``steps`` is N.

    Args:
        budget_bits: log2 of the number of candidates, 0 to 30; at least the divergence plus a few bits.

    >>> import jax, recjax
    >>> q, p = recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0)
    >>> coder, key = recjax.MinimalRandomCoder(budget_bits=8), jax.random.key(7)
    >>> code = coder.encode(key, q, p)
    >>> float(coder.codelength(key, code.index, p))
    8.0
    """

    def start_noise(self):
        return ()

    def log_noise(self, noise, chunk):
        return noise, jnp.log(chunk.exponentials(Stream.ACCEPT))

    def codelength(
        self, key: Array, index: Any, proposal: Any, *, rate_bits: Any = None
    ) -> Float[Array, ""]:
        """``budget_bits``, whatever the index."""
        checked_index(index, self.limit)
        return jnp.full((), self.budget_bits, proposal.dtype)
