"""The Poisson private representation: an exact sample whose index is private although the candidates are known."""

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
from recjax.samplers._search.arrivals import Time, arrival_times, time_value, zero_time
from recjax.samplers.base import Code, batch_of
from recjax.samplers.global_coder import ExactCoder

_WIDTH = 32  # candidates at a time; a fixed number, because what is examined next depends on what has been
_BLOCK = 1 << 16  # jumps are drawn as blocks and a rest, whose low bits are all random in float32


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoissonPrivate(ExactCoder):
    """Candidate k with probability proportional to (T_k / r(X_k))^-alpha: exact samples, and a private index.

    T_k are the arrival times of a unit-rate Poisson process (Liu, Chen, Özgür and Li, *Universal exact compression of
    differentially private mechanisms*, NeurIPS 2024; as alpha grows it becomes ``AStar``, which is not private). If
    all targets that a sender may have are the laws of an epsilon-differentially private mechanism, then index and
    shared randomness together are `recjax.poisson_private_epsilon` = 2 alpha epsilon-differentially private.

    ``encode`` needs a ``private_key`` beside the shared one. It must come from a secure source, stay with the sender
    and be used once: who knows it, or sees two indices made with it, is promised nothing. Send the index alone:
    ``steps``, ``status`` and the time taken depend on the target in ways that are not bounded.

    How it works. With E_k unit exponentials, the least T_k^alpha E_k / r(X_k)^alpha has that law. T and E are private.
    Once b is the least so far and t the time, a later candidate can win only if E_k < c = b (max r / t)^alpha, so that
    the number of the next one that can is a geometric variable with chance 1 - e^-c, the time to it a sum of so many
    exponentials, and E there an exponential below c: what lies between is never computed. ``steps`` counts candidates
    computed, about 2^D_inf and some 32 to 100 more.

    The search ends at the end of the list of ``max_steps`` candidates; it is never cut short, so that the index is as
    private for a short list. ``Status.MAX_STEPS`` says that a candidate beyond the list might have been chosen: the
    sample is then not exact, and ``steps`` is the whole list. That has a chance of about (max r)^alpha
    max_steps^(1 - alpha).

    The promise is one about real numbers. Targets, ratios and sums are floating-point numbers here, and a mechanism
    whose samples are computed from secret data leaks through their low bits (Mironov, *On significance of the least
    significant bits for differential privacy*, 2012). These samples are candidates that do not depend on the data: what
    can leak is rounding of the scores, which moves a choice with a chance of about 1e-6 in float32, and the
    generator, which is not a cryptographic one. Nobody has audited this for use on people's data.

    Args:
        alpha: more than 1: small ones are more private, large ones have shorter indices.
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
        """As `Coder.encode`, with randomness of the sender's own.

        Args:
            private_key: a typed JAX key or ``uint32[2]`` that is secret, fresh and not the shared key.

        Raises:
            ValueError: also if there is no such key.
        """
        return super().encode(_both(key, private_key), target, proposal)

    def encode_batch(
        self, keys: Array, targets: Any, proposal: Any, *, private_keys: Array | None = None
    ) -> Code:
        """As `Coder.encode_batch`, with a private key for every example."""
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

    def candidates(self, carry: "_Race", steps: Array, size: int) -> Array:
        return carry.index

    def start(self, pair: Pair) -> "_Race":
        dtype = pair.proposal.dtype
        index = jnp.asarray(np.minimum(np.arange(_WIDTH), self.limit), jnp.uint32)
        infinite = jnp.full((), jnp.inf, dtype)
        return _Race(zero_time(), jnp.uint32(0), index, infinite, -infinite, jnp.uint32(0))

    def examine(
        self, pair: Pair, carry: "_Race", chunk: candidate_search.Chunk
    ) -> candidate_search.Verdict:
        top, dtype = pair.log_ratio_max(), chunk.log_ratio.dtype
        bits = randomness.coordinate_bits(chunk.words[Stream.ACCEPT], chunk.index, 4)
        noise = jnp.log(_below(bits[:, 0], carry.hazard))
        times = arrival_times(carry.time, self._gaps(carry, chunk))
        log_time = jnp.log(time_value(times, dtype))
        score = jax.lax.optimization_barrier(chunk.log_ratio - log_time - noise / self.alpha)
        k = jnp.argmax(score)
        chosen = jnp.where(score[k] > carry.best, chunk.index[k], carry.chosen)
        best = jnp.maximum(score[k], carry.best)

        hazards = jnp.exp(self.alpha * (top - log_time - best))
        beyond = chunk.index >= self.limit
        ended, end = beyond.any(), jnp.argmax(beyond)
        # Of the candidates from the end on, the expected number of those that can win: the first, and the integral
        # of (t / s)^alpha over all later times s.
        left = hazards[end] * (1 + jnp.exp(log_time[end]) / (self.alpha - 1))
        possible = randomness.exponential(bits[end, 1], dtype) < left
        used = jnp.where(ended, jnp.where(possible, self.limit, end), _WIDTH).astype(jnp.int32)

        last = chunk.index[-1]
        index = jnp.minimum(
            last + _running_sum(_jumps(bits[:, 2], bits[:, 3], hazards[-1], self.limit)), self.limit
        )
        race = _Race((times[0][-1], times[1][-1]), last + 1, index, hazards[-1], best, chosen)
        return candidate_search.Verdict(race, used, ended & ~possible, chosen)

    def _gaps(self, carry, chunk):
        """The times from each candidate of the chunk to the next: sums of as many exponentials as lie between."""
        before = jnp.concatenate([carry.passed[None], chunk.index[:-1] + 1])
        count = jnp.maximum(chunk.index + 1 - before, 1).astype(jnp.int32).astype(jnp.float32)
        words = randomness.coordinate_bits(chunk.words[Stream.ARRIVAL], chunk.index, 2)
        keys = jax.random.wrap_key_data(words, impl="threefry2x32")
        # in float32 always: what the generator draws hangs on the type
        gaps = jax.vmap(lambda key, n: jax.random.gamma(key, n, dtype=jnp.float32))(keys, count)
        return gaps.astype(chunk.log_ratio.dtype)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Race:
    """Time of the last candidate seen, how many there are up to it, those to look at next and the c that they were
    found with, the best -ln of T E^(1/alpha) / r so far, and whose it is."""

    time: Time
    passed: UInt32[Array, ""]
    index: UInt32[Array, "n"]
    hazard: Float[Array, ""]
    best: Float[Array, ""]
    chosen: UInt32[Array, ""]


def _both(key, private_key):
    """The words of both keys in one array, as the shared machinery passes one key."""
    if private_key is None:
        raise ValueError(
            "private_key is needed: a secret and fresh key, without which the index is not private"
        )
    words = randomness.key_words(jnp.asarray(key)), randomness.key_words(jnp.asarray(private_key))
    if (known := concrete(words)) is not None and (known[0] == known[1]).all():
        raise ValueError("private_key must not be the shared key")
    return jnp.concatenate(words)


def _below(bits, bound):
    """A unit exponential on condition that it is less than ``bound``, accurate near both ends."""
    lower, tail = randomness.sign_and_tail(bits, bound.dtype)
    chance = -jnp.expm1(-bound)
    near_zero = -jnp.log1p(-jnp.where(lower, tail, 1 - tail) * chance)
    near_bound = -jnp.log(jnp.exp(-bound) + tail * chance)
    return jax.lax.optimization_barrier(jnp.where(lower | (bound < 1), near_zero, near_bound))


def _jumps(block_bits, rest_bits, hazard, limit):
    """1 + geometric variables with P(G >= g) = e^(-hazard g), at most ``limit``."""
    hazard = jnp.maximum(hazard, 1e-30)
    blocks = jnp.floor(randomness.exponential(block_bits, hazard.dtype) / (hazard * _BLOCK))
    rest = jnp.minimum(jnp.floor(_below(rest_bits, hazard * _BLOCK) / hazard), _BLOCK - 1)
    blocks = jnp.minimum(blocks, (1 << 31) // _BLOCK - 1).astype(jnp.uint32)
    return jnp.minimum(blocks * _BLOCK + rest.astype(jnp.uint32) + 1, limit)


def _running_sum(jumps):
    """Sums of numbers below 2^31, held below it."""
    return jax.lax.associative_scan(
        lambda a, b: jnp.minimum(a + b, jnp.uint32((1 << 31) - 1)), jumps
    )
