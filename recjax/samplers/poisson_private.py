"""The Poisson private representation: exact samples whose index is differentially private."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from recjax import randomness
from recjax.distributions.base import concrete
from recjax.distributions.pair import Pair
from recjax.randomness import Stream
from recjax.samplers._search import candidate_search
from recjax.samplers._search.arrivals import Time, arrival_times, time_at, time_value, zero_time
from recjax.samplers._search.candidate_rule import Chunk, Verdict
from recjax.samplers.base import Code, batch_of
from recjax.samplers.global_coder import ExactCoder
from recjax.samplers.private_chunks import PrivateChunks

# Candidates at a time. The number is fixed, because the candidates to examine next depend on those
# examined before.
_WIDTH = 32
_BLOCK = 1 << 16  # jumps are drawn as blocks and a rest, whose low bits are all random in float32


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RaceState:
    """State of the search for the least T_k E_k^(1/alpha) / r(X_k).

    Attributes:
        time: arrival time of the last candidate seen.
        passed: number of candidates up to that one, the ones left out included.
        index: the candidates to look at next.
        hazard: c, the bound of E_k that the candidates to look at were found with.
        best: the largest -ln (T_k E_k^(1/alpha) / r(X_k)) so far.
        chosen: the candidate with that score.
    """

    time: Time
    passed: UInt32[Array, ""]
    index: UInt32[Array, "n"]
    hazard: Float[Array, ""]
    best: Float[Array, ""]
    chosen: UInt32[Array, ""]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoissonPrivate(PrivateChunks, ExactCoder):
    """The Poisson private representation: exact samples, and a differentially private index.

    Candidate k is chosen with probability proportional to (T_k / r(X_k))^-alpha, where T_k are the
    arrival times of a unit-rate Poisson process (Liu, Chen, Özgür and Li, *Universal exact
    compression of differentially private mechanisms*, NeurIPS 2024). As alpha grows it becomes
    ``AStar``, which is not private. If all targets that a sender may have are the laws of an
    epsilon-differentially private mechanism, then index and shared randomness together are
    `recjax.poisson_private_epsilon` = 2 alpha epsilon-differentially private.

    A vector of many components has too large a ratio for one search: `encode_chunks` cuts it. Each
    chunk has an index, and the epsilon of all of them together is that of the uncut vector where
    noise is independent per component: see there.

    ``encode`` needs a ``private_key`` beside the shared one. It must come from a secure source,
    stay with the sender and be used once: nothing is promised against somebody who knows it, or
    sees two indices made with it. Send the index alone: ``steps``, ``status`` and the time taken
    depend on the target in ways that are not bounded. The index is sent in a zeta code.

    The algorithm: with E_k unit exponentials, the least T_k^alpha E_k / r(X_k)^alpha has the law
    above. T and E are private. Once b is the least so far and t the time, a later candidate can win
    only if E_k < c = b (max r / t)^alpha. So the number of the next candidate that can win is a
    geometric variable with chance 1 - e^-c, the time to it a sum of one exponential per candidate,
    and its E an exponential below c; the candidates in between are never computed. ``steps`` counts
    the candidates computed, about 2^D_inf and 32 to 100 more.

    The search ends at the end of the list of ``max_steps`` candidates. It is never cut short, so
    that the index is as private for a short list. ``Status.MAX_STEPS`` says that a candidate beyond
    the list might have been chosen: the sample is then not exact, and ``steps`` is the length of
    the list. That has a chance of about (max r)^alpha max_steps^(1 - alpha).

    The promise is about real numbers. Targets, ratios and sums are floating-point numbers here, and
    a mechanism whose samples are computed from secret data leaks through their low bits (Mironov,
    *On significance of the least significant bits for differential privacy*, 2012). These samples
    are candidates that do not depend on the data: what can leak is rounding of the scores, which
    moves a choice with a chance of about 1e-6 in float32, and the generator, which is not a
    cryptographic one. Nobody has audited this for use on people's data.

    Args:
        alpha: more than 1. Small values are more private, large ones have shorter indices.
        max_steps: the number of candidates in the list.

    >>> import jax, recjax
    >>> q, p = recjax.Laplace(1.0, 1.0), recjax.Laplace(0.5, 1.0)
    >>> coder, key = recjax.PoissonPrivate(alpha=2.0), jax.random.key(7)
    >>> code = coder.encode(key, q, p, private_key=jax.random.key(123456789))
    >>> bool(coder.decode(key, code.index, p) == code.sample)
    True
    """

    alpha: float = 2.0
    max_steps: int = (1 << 31) - 1

    def __post_init__(self) -> None:
        super().__post_init__()
        number = isinstance(self.alpha, int | float) and not isinstance(self.alpha, bool)
        if not number or not 1 < self.alpha < math.inf:
            raise ValueError(f"alpha must be a finite number greater than 1, got {self.alpha!r}")

    def encode(
        self, key: Array, target: Any, proposal: Any, *, private_key: Array | None = None
    ) -> Code:
        """Draws a sample as `Coder.encode` does, with private randomness of the sender.

        Args:
            key: the shared key.
            target: the target.
            proposal: the proposal.
            private_key: a typed JAX key or ``uint32[2]`` that is secret, fresh and not the shared
                key.

        Raises:
            ValueError: as for `Coder.encode`, or the private key is missing or the shared key.
        """
        return super().encode(_both(key, private_key), target, proposal)

    def encode_batch(
        self, keys: Array, targets: Any, proposal: Any, *, private_keys: Array | None = None
    ) -> Code:
        """Encodes a batch as `Coder.encode_batch` does, with a private key for every example."""
        batch = batch_of(keys)
        if private_keys is None or batch_of(private_keys) != batch:
            raise ValueError("private_keys are needed, one secret and fresh key for every example")
        if len(batch) == 1:
            keys = jax.vmap(_both)(keys, private_keys)
        return super().encode_batch(keys, targets, proposal)

    def search(self, key: Array, target: Any, proposal: Any) -> Code:
        return candidate_search.encode(self, key[:2], target, proposal, key[2:])

    def search_lanes(self, keys: Array, targets: Any, proposals: Any) -> Code:
        return candidate_search.encode_lanes(self, keys[:, :2], targets, proposals, keys[:, 2:])

    def width(self, size: int) -> int:
        return _WIDTH

    def candidates(
        self, state: RaceState, steps: UInt32[Array, ""], size: int
    ) -> UInt32[Array, "n"]:
        return state.index

    def start(self, pair: Pair) -> RaceState:
        dtype = pair.proposal.dtype
        index = jnp.asarray(np.minimum(np.arange(_WIDTH), self.limit), jnp.uint32)
        infinite = jnp.full((), jnp.inf, dtype)
        return RaceState(zero_time(), jnp.uint32(0), index, infinite, -infinite, jnp.uint32(0))

    def examine(self, pair: Pair, state: RaceState, chunk: Chunk) -> Verdict:
        top, dtype = pair.log_ratio_max(), chunk.log_ratio.dtype
        bits = randomness.coordinate_bits(chunk.words[Stream.ACCEPT], chunk.index, 4)
        noise = jnp.log(_below(bits[:, 0], state.hazard))
        times = arrival_times(state.time, self._gaps(state, chunk))
        log_time = jnp.log(time_value(times, dtype))
        # The barrier gives the same score to both of its uses, whatever the batching.
        score = jax.lax.optimization_barrier(chunk.log_ratio - log_time - noise / self.alpha)
        k = jnp.argmax(score)
        chosen = jnp.where(score[k] > state.best, chunk.index[k], state.chosen)
        best = jnp.maximum(score[k], state.best)

        hazards = jnp.exp(self.alpha * (top - log_time - best))
        beyond = chunk.index >= self.limit
        ended, end = beyond.any(), jnp.argmax(beyond)
        # Of the candidates from the end of the list on, the expected number of those that can win:
        # the first, and the integral of (t / s)^alpha over all later times s.
        left = hazards[end] * (1 + jnp.exp(log_time[end]) / (self.alpha - 1))
        possible = randomness.exponential(bits[end, 1], dtype) < left
        # If one of them can win, the whole list counts as used: the status becomes MAX_STEPS.
        used = jnp.where(ended, jnp.where(possible, self.limit, end), _WIDTH).astype(jnp.int32)

        last = chunk.index[-1]
        jumps = _jumps(bits[:, 2], bits[:, 3], hazards[-1], self.limit)
        # numbers beyond the list are all the same: candidates that are not there
        index = jnp.minimum(last + _running_sum(jumps), self.limit)
        state = RaceState(time_at(times, -1), last + 1, index, hazards[-1], best, chosen)
        return Verdict(state, used, ended & ~possible, chosen)

    def _gaps(self, state: RaceState, chunk: Chunk) -> Float[Array, "n"]:
        """The time from each candidate of the chunk to the next: a sum of exponentials.

        It has one exponential for each candidate of the list in between, and one more.
        """
        before = jnp.concatenate([state.passed[None], chunk.index[:-1] + 1])
        # beyond the end of the list the same number is repeated: no gamma variable of shape 0
        count = jnp.maximum(chunk.index + 1 - before, 1).astype(jnp.int32).astype(jnp.float32)
        words = randomness.coordinate_bits(chunk.words[Stream.ARRIVAL], chunk.index, 2)
        keys = jax.random.wrap_key_data(words, impl="threefry2x32")
        # always in float32: the values that the generator draws depend on the type
        gaps = jax.vmap(lambda key, n: jax.random.gamma(key, n, dtype=jnp.float32))(keys, count)
        return gaps.astype(chunk.log_ratio.dtype)


def _both(key: Any, private_key: Any) -> UInt32[Array, "4"]:
    """The words of both keys in one array, because the search is handed one key."""
    if private_key is None:
        raise ValueError(
            "private_key is needed: a secret and fresh key, without which the index is not private"
        )
    words = randomness.key_words(jnp.asarray(key)), randomness.key_words(jnp.asarray(private_key))
    if (known := concrete(words)) is not None and (known[0] == known[1]).all():
        raise ValueError("private_key must not be the shared key")
    return jnp.concatenate(words)


def _below(bits: UInt32[Array, "n"], bound: Float[Array, ""]) -> Float[Array, "n"]:
    """Unit exponentials given that they are less than ``bound``, accurate near both ends."""
    lower, tail = randomness.sign_and_tail(bits, bound.dtype)
    chance = -jnp.expm1(-bound)
    near_zero = -jnp.log1p(-jnp.where(lower, tail, 1 - tail) * chance)
    near_bound = -jnp.log(jnp.exp(-bound) + tail * chance)
    # The barrier keeps the logarithms out of other fusions, which would change their last bits.
    return jax.lax.optimization_barrier(jnp.where(lower | (bound < 1), near_zero, near_bound))


def _jumps(
    block_bits: UInt32[Array, "n"],
    rest_bits: UInt32[Array, "n"],
    hazard: Float[Array, ""],
    limit: int,
) -> UInt32[Array, "n"]:
    """1 + geometric variables G with P(G >= g) = e^(-hazard g), at most ``limit``."""
    hazard = jnp.maximum(hazard, 1e-30)  # no division by 0
    blocks = jnp.floor(randomness.exponential(block_bits, hazard.dtype) / (hazard * _BLOCK))
    rest = jnp.minimum(jnp.floor(_below(rest_bits, hazard * _BLOCK) / hazard), _BLOCK - 1)
    blocks = jnp.minimum(blocks, (1 << 31) // _BLOCK - 1).astype(jnp.uint32)
    return jnp.minimum(blocks * _BLOCK + rest.astype(jnp.uint32) + 1, limit)


def _running_sum(jumps: UInt32[Array, "n"]) -> UInt32[Array, "n"]:
    """Running sums of numbers below 2^31, held below 2^31 so that they do not overflow."""
    return jax.lax.associative_scan(
        lambda a, b: jnp.minimum(a + b, jnp.uint32((1 << 31) - 1)), jumps
    )
