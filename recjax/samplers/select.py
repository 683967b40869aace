"""Selection among candidates whose log density ratios somebody else has computed."""

import dataclasses
import functools
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, UInt32

from recjax.distributions.base import Violations, concrete, raise_first
from recjax.distributions.bound import above_bound
from recjax.distributions.pair import Pair, violations
from recjax.samplers._search import candidate_search
from recjax.samplers._search.candidate_rule import CandidateRule
from recjax.samplers.a_star import PoissonSelection
from recjax.samplers.base import Status, batch_of
from recjax.samplers.ordered_random import OrderedNoise

_CHUNK = 256  # scores are at hand: wide chunks cost no evaluations that a narrow one would save


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Selection:
    """The result of `select`.

    Attributes:
        index: the message: the number of the chosen candidate, uint32.
        steps: number of candidates examined, int32. It is n without a bound; with a bound it
            includes the candidate that proves the end.
        status: a `Status` as int32.
        effective_samples: Kish's effective number of candidates, (sum w)^2 / sum w^2. Without a
            bound the bias is large where it is near 1, and vanishes as it grows.
    """

    index: UInt32[Array, ""]
    steps: Int[Array, ""]
    status: Int[Array, ""]
    effective_samples: Float[Array, ""]


def select(
    key: Array, log_weights: Float[ArrayLike, "n"], *, log_bound: Float[ArrayLike, ""] | None = None
) -> Selection:
    """Chooses one of n candidates of a proposal P, so that it is a sample of the target Q.

    It is for targets that only their owner can evaluate: a network scores the candidates, and the
    receiver, who can draw the same candidates, needs nothing but the index.

    Without ``log_bound`` it is ordered random coding (Theis and Yosri, *Algorithms for the
    communication of samples*, ICML 2022): all n candidates compete. The choice follows Q up to a
    bias towards P, which vanishes as log2 n grows beyond the divergence in bits; weights without
    their normalising constant will do. With ``log_bound`` it is the Poisson functional
    representation (Li and El Gamal, *Strong functional representation lemma*, 2018): candidates
    count in their order up to the first after which none can win. The choice then follows Q exactly
    wherever the status is DONE. `Status.MAX_STEPS` says that n candidates do not prove the end; the
    index is the best of them, and about n = 2^(D_inf + 4) candidates make that rare.

    Both prefer small indices. With candidates of `Coder.decode` and the same key, the index is
    that of ``OrderedRandomCoder(budget_bits=b)``, n = 2^b, or of ``AStar(max_steps=n)``. Their
    ``codelength`` and `recjax.write_indices` code it, for all n up to 2^b; the proposal is any
    distribution.

    Batch it with ``jax.vmap``. The key may be the one that the candidates are drawn with by recjax;
    where another generator draws them, the receiver need not know this key.

    Args:
        key: a typed JAX key or ``uint32[2]``.
        log_weights: ln dQ/dP of the candidates, numbered as they are drawn, in nats. -inf marks
            those outside the support of Q. They are compared in float32, or in float64 if they are.
        log_bound: upper bound of ln dQ/dP over all points, in nats. Its weights must be normalised.

    Raises:
        ValueError: ``log_weights`` is no vector of at least one number, a weight is NaN or +inf,
            all weights are -inf, the bound is not finite, or a weight exceeds it by more than
            rounding. For traced values the status is `Status.INVALID` instead.

    >>> import jax, jax.numpy as jnp, recjax
    >>> key, proposal = jax.random.key(7), recjax.Normal(jnp.zeros(8), 1.0)
    >>> coder = recjax.OrderedRandomCoder(budget_bits=10)  # 1,024 candidates
    >>> draw = jax.vmap(coder.decode, (None, 0, None))
    >>> candidates = draw(key, jnp.arange(1024, dtype=jnp.uint32), proposal)
    >>> scores = -20 * jnp.square(jnp.linalg.norm(candidates, axis=1) - 4)  # any function
    >>> code = recjax.select(key, scores)
    >>> bool(coder.decode(key, code.index, proposal)[0] == candidates[code.index, 0])
    True
    """
    if batch_of(key):
        raise ValueError("key must be one key; select in batches with jax.vmap")
    if jnp.ndim(log_weights) != 1 or not 0 < np.size(log_weights) < 1 << 31:
        raise ValueError(
            "log_weights must be a vector of at least one number, "
            f"got shape {list(np.shape(log_weights))}; select in batches with jax.vmap"
        )
    weights = jnp.asarray(log_weights)
    dtype = weights.dtype if weights.dtype == jnp.float64 else jnp.float32
    bound = jnp.asarray(math.inf if log_bound is None else log_bound, dtype)
    if bound.ndim:
        raise ValueError(f"log_bound must be one number, got shape {list(bound.shape)}")
    scores = _Scores(weights.astype(dtype), bound)
    rule = _OrderedScores(n=weights.size) if log_bound is None else _ExactScores(n=weights.size)
    if (known := concrete(scores)) is not None:
        with jax.ensure_compile_time_eval():  # constants of a program that is being traced
            raise_first(violations(rule.pair(known, known), rule.bounded))
    return _select(rule, key, scores)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Scores:
    """What stands for a target: the weights of its candidates and their bound."""

    log_weights: Float[Array, "n"]
    log_bound: Float[Array, ""]
    event_size: ClassVar[int] = 1

    @property
    def dtype(self) -> np.dtype:
        return self.log_weights.dtype


class _ScorePair(Pair):
    """Density ratio that is known at the candidates only: an event is a candidate's number."""

    def log_ratio(self, x: Int[Array, ""]) -> Float[Array, ""]:
        # numbers beyond the list have any weight: the search leaves them out
        return self.target.log_weights.at[x].get(mode="clip")

    def log_ratio_max(self) -> Float[Array, ""]:
        return self.target.log_bound

    def violations(self) -> Violations:
        weights = self.target.log_weights
        return [
            ("log_weights must not be NaN or +inf", ~(weights < math.inf)),
            ("log_weights must not all be -inf", weights.max() == -math.inf),
            ("log_weights must not exceed log_bound", above_bound(self, jnp.asarray(weights))),
        ]

    def bound_violations(self) -> Violations:
        return [("log_bound must be finite", ~(abs(self.target.log_bound) < math.inf))]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _ScoreRule(CandidateRule):
    """Rule that looks log-ratios up.

    Args:
        n: number of candidates.
    """

    n: int

    @property
    def limit(self) -> int:
        return self.n

    def pair(self, target: Any, proposal: Any) -> Pair:
        return _ScorePair(target, target)

    def draw(self, words: Any, index: UInt32[Array, "*shape"], proposal: Any) -> Any:
        return index.astype(jnp.int32)  # signed, as samples of whole numbers are

    def width(self, size: int) -> int:
        return _CHUNK

    def candidates(self, state: Any, steps: UInt32[Array, ""], size: int) -> UInt32[Array, "n"]:
        return super().candidates(state, steps, _CHUNK)


class _OrderedScores(_ScoreRule, OrderedNoise):
    """Ordered random coding over n candidates."""


class _ExactScores(_ScoreRule, PoissonSelection):
    """The Poisson functional representation over n candidates."""

    def exhausted(self, state: Any) -> Int[Array, ""]:
        return jnp.int32(Status.MAX_STEPS)


@functools.partial(jax.jit, static_argnums=0)
def _select(rule: _ScoreRule, key: Array, scores: _Scores) -> Selection:
    code = candidate_search.encode(rule, key, scores, scores)
    weights = jnp.exp(scores.log_weights - scores.log_weights.max())
    effective = jnp.square(jnp.sum(weights)) / jnp.sum(jnp.square(weights))
    return Selection(code.index, code.steps, code.status, effective)
