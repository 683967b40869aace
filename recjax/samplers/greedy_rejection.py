"""Greedy rejection sampling."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from recjax import words
from recjax.distributions.pair import Pair
from recjax.randomness import Stream
from recjax.samplers._search.candidate_rule import Chunk, Verdict, used_until
from recjax.samplers.global_coder import ExactCoder
from recjax.words import Word

_ONE = 1 << 31  # the high word of 1: numbers of [0, 1] are multiples of 2^-63 in 64 bits


class GreedyState(NamedTuple):
    """The level before the next candidate, relative to max r."""

    gap: Word  # 1 - L_k / max r
    mass: Float[Array, ""]  # S_k / max r


@dataclasses.dataclass(frozen=True, kw_only=True)
class GreedyRejectionSampler(ExactCoder):
    """Global greedy rejection: X_k is accepted with probability (r(X_k) - L_k) / S_k.

    The probability is clipped to [0, 1]. Each candidate takes as much of the target's mass as it
    can: S_k = E_P[(r - L_k)^+] is what the first k have left, and L_{k+1} = L_k + S_k from L_0 = 0
    (Harsha et al., *The communication complexity of correlation*, 2010; Flamich and Theis,
    *Adaptive greedy rejection sampling*, ISIT 2023). Exact, for scalar pairs with width functions.
    ``steps`` counts candidates up to the accepted one: its mean is 2^{D_inf}. The index is sent in
    a zeta code.

    Args:
        max_steps: cap on the candidates examined.

    >>> import jax, recjax
    >>> q, p = recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0)
    >>> coder, key = recjax.GreedyRejectionSampler(), jax.random.key(7)
    >>> code = coder.encode(key, q, p)
    >>> int(code.steps) == int(code.index) + 1
    True
    """

    widths: ClassVar[bool] = True

    def start(self, pair: Pair) -> GreedyState:
        return GreedyState((jnp.uint32(_ONE), jnp.uint32(0)), jnp.exp(-pair.log_ratio_max()))

    def examine(self, pair: Pair, state: GreedyState, chunk: Chunk) -> Verdict:
        top = pair.log_ratio_max()
        # the levels of the chunk, which do not depend on its candidates
        state, (gap, mass) = jax.lax.scan(
            lambda state, _: _next_level(pair, state), state, length=chunk.index.size
        )
        # The barrier keeps the difference below from being fused with the exponential, which would
        # change its last bits.
        below = jax.lax.optimization_barrier(jnp.expm1(chunk.log_ratio - top))
        excess = jnp.maximum(gap + below, 0)
        chance = jnp.log(excess) - jnp.log(mass)
        # S_k <= max r - L_k: the maximum is always accepted, all the more when rounding has used up
        # the gap
        accepted = (chunk.exponentials(Stream.ACCEPT) > -chance) | (chunk.log_ratio >= top)
        used, stopped = used_until(accepted)
        return Verdict(state, used, stopped, chunk.index[used - 1])


def _next_level(
    pair: Pair, state: GreedyState
) -> tuple[GreedyState, tuple[Float[Array, ""], Float[Array, ""]]]:
    """The state after one more candidate, and the gap and mass before it as numbers."""
    gap, mass = state
    top = pair.log_ratio_max()
    after = _minus(gap, _fraction(mass))
    rest = _value(after, mass.dtype)
    level = _value(_minus((jnp.uint32(_ONE), jnp.uint32(0)), after), mass.dtype)
    # The logarithm is taken of whichever of level and gap is small, and so keeps its precision. The
    # barrier keeps it out of the fusions of the survival function, whatever the batching.
    log_level = jax.lax.optimization_barrier(
        jnp.where(rest < 0.5, jnp.log1p(-rest), jnp.log(level))
    )
    left = pair.survival(top + log_level) * jnp.exp(-top)
    return GreedyState(after, left), (_value(gap, mass.dtype), mass)


def _fraction(x: Float[Array, ""]) -> Word:
    """A number of [0, 1] in units of 2^-63."""
    # products with powers of two are exact, so that fused multiply-adds change nothing
    units = x * 2.0**31
    high = jnp.floor(units)
    return high.astype(jnp.uint32), ((units - high) * 2.0**32).astype(jnp.uint32)


def _value(x: Word, dtype: Any) -> Float[Array, ""]:
    """A number of units of 2^-63 as a floating-point number."""
    return 2 * words.fraction(x, dtype)


def _minus(x: Word, y: Word) -> Word:
    """x - y, or 0 where y is larger.

    Integers are exact: level and gap add up to 1, and neither is lost beside the other.
    """
    zero = jnp.zeros_like(x[0])
    return words.select(words.less(x, y), (zero, zero), words.subtract(x, y))
