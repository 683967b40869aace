"""Minimal random coding."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from recjax.randomness import Stream
from recjax.samplers._search.candidate_rule import Chunk
from recjax.samplers._streams.numbers import UniformCode
from recjax.samplers.global_coder import BudgetCoder
from recjax.samplers.index_code import IndexCode


@dataclasses.dataclass(frozen=True, kw_only=True)
class MinimalRandomCoder(BudgetCoder):
    """Minimal random coding: one of N = 2^budget candidates, drawn in proportion to r(X_k).

    The draw is the Gumbel-max of ln r (Havasi et al., *Minimal random code learning*, ICLR 2019).
    Approximate: see ``BudgetCoder``. ``steps`` is N. The index is close to uniform and takes
    ``budget_bits``.

    Args:
        budget_bits: log2 of the number of candidates, 0 to 30; at least the divergence plus a few
            bits.

    >>> import jax, recjax
    >>> q, p = recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0)
    >>> coder, key = recjax.MinimalRandomCoder(budget_bits=8), jax.random.key(7)
    >>> code = coder.encode(key, q, p)
    >>> float(coder.codelength(key, code.index, p))
    8.0
    """

    def start_noise(self) -> tuple[()]:
        return ()

    def log_noise(self, noise: tuple[()], chunk: Chunk) -> tuple[tuple[()], Float[Array, "n"]]:
        return noise, jnp.log(chunk.exponentials(Stream.ACCEPT))

    def index_code(self, proposal: Any, rate_bits: Any) -> IndexCode:
        """The same length for all indices; the rate does not enter."""
        return UniformCode(last=self.limit - 1, proposal=proposal, budget_bits=self.budget_bits)
