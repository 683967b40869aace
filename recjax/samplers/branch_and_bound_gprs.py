"""Greedy Poisson rejection sampling by branch and bound."""

import dataclasses

import jax.numpy as jnp

from recjax import randomness
from recjax.samplers.path_search import Decision
from recjax.samplers.stretch import ground, raised, stretch_bounds
from recjax.samplers.tree_coder import PathCoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class BranchAndBoundGPRS(PathCoder):
    """x"""

    def start(self, pair):
        dtype = pair.proposal.dtype
        return jnp.zeros((), dtype), jnp.full((), -jnp.inf, dtype), ground(dtype)

    def decide(self, pair, carry, visit, exact):
        time, rejected, level = carry
        log_h, top = visit.log_ratio, pair.log_ratio_max()
        arrival = randomness.exponential(visit.draws[0], time.dtype) / visit.node.mass(time.dtype)
        time = time + arrival
        right = (visit.x < pair.mode()).reshape(())
        # sigma grows: what is below a rejected level is rejected at any later time
        seen = log_h <= rejected
        # sigma(h) >= h, and sigma is infinite at the maximum
        sure = (log_h >= top) | (log_h >= jnp.log(time))
        if exact:
            new = raised(pair, level, log_h)
            accepted = ~seen & (sure | (new.stretched > time))
            return Decision((time, log_h, new), accepted, jnp.zeros_like(accepted), right)
        below, above = stretch_bounds(pair, level, log_h)
        accepted = ~seen & (sure | (below > time))
        undecided = ~accepted & ~seen & ~(above <= time)
        return Decision((time, jnp.maximum(rejected, log_h), level), accepted, undecided, right)
