"""Greedy Poisson rejection sampling by branch and bound."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from recjax import randomness
from recjax.samplers import tree
from recjax.samplers.path_search import Decision
from recjax.samplers.stretch import ground, raised, stretch_bounds
from recjax.samplers.tree_coder import PathCoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class BranchAndBoundGPRS(PathCoder):
    """Greedy Poisson rejection sampling that follows the mode of a unimodal density ratio down a tree.

    A node B at depth D holds the D-th arrival of the Poisson process thinned to the intervals on the path: its time
    exceeds the parent's by Exp(1) / P(B), its place is a draw from P restricted to B. The first arrival with
    T < sigma(r(X)) is the sample; otherwise all that can still be accepted lies on the mode's side of X (Flamich,
    *Greedy Poisson rejection sampling*, NeurIPS 2023; thesis, theorem 5.2.5). Exact. E[steps], the mean depth, is at
    most (D_KL + 2 + (1 + gamma) log2 e) / (log2 e - 1) < 2.26 D_KL + 9.66 with D_KL in bits, whatever D_inf is.

    Split on sample only: halves of an interval may both hold acceptable points.

    Args:
        max_steps: cap on the nodes examined, at most 127.

    >>> import jax, recjax
    >>> q, p = recjax.Normal(1.0, 0.25), recjax.Normal(0.0, 1.0)
    >>> coder, key = recjax.BranchAndBoundGPRS(), jax.random.key(7)
    >>> code = coder.encode(key, q, p)
    >>> bool(coder.decode(key, code.index, p) == code.sample)
    True
    """

    split: ClassVar[tree.Split] = "sample"

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
