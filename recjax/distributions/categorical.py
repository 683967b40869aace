"""Categorical distributions, decoded through integers, and pairs of them."""

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, ArrayLike, Float, Int, Num, UInt32

from recjax import words
from recjax.distributions.base import Distribution, Violations, family
from recjax.distributions.pair import register_pair
from recjax.distributions.step_ratio import StepPair

_LOG2_E = 1.4426950408889634
# Powers 2^-f of 16-bit fractions f as products of two tables, for the high and the low byte of f.
# A product is at most 2^16 2^15 = 2^31.
_COARSE = np.round(2.0 ** (16 - np.arange(256) / 256)).astype(np.uint32)
_FINE = np.round(2.0 ** (15 - np.arange(256) / 65536)).astype(np.uint32)


@family
class Categorical(Distribution):
    """Independent categories 0 .. K - 1 (int32) with probabilities softmax(logits).

    The last axis of `logits` lists the categories, the others are event axes: `logits` of shape [K]
    describe one scalar category.

    Candidates are decoded from 32 bits through integer frequencies. These follow from the logits by
    exactly rounded operations only, so that every device decodes alike. They differ from softmax by
    a factor within 1 +- 3e-5, and no possible category has less than about K / 2^31.

    Args:
        logits: unnormalised log probabilities; -inf for a category that does not occur.

    Raises:
        ValueError: a logit is NaN or +inf, or all categories of a component have probability zero.

    >>> coin = Categorical(jnp.log(jnp.array([0.75, 0.25])))
    >>> coin.sample_from_bits(jnp.array([[0], [3 << 30]], jnp.uint32)).tolist()
    [0, 1]
    """

    logits: Float[Array, "*event K"]

    def __init__(self, logits: npt.ArrayLike) -> None:
        if np.ndim(logits) == 0:
            raise ValueError("logits must have an axis of categories")
        self._set(logits=logits)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return np.shape(self.logits)[:-1]

    def violations(self) -> Violations:
        return [
            ("logits must not be NaN or +inf", ~(self.logits < np.inf)),
            ("logits must not all be -inf", self.logits.max(-1) == -np.inf),
        ]

    def log_probs(self) -> Float[Array, "*event K"]:
        """Log probabilities of all categories in nats."""
        return jax.nn.log_softmax(self.logits, axis=-1)

    def log_prob(self, x: Num[ArrayLike, "*#samples_event"]) -> Float[Array, "..."]:
        return self._sum(_pick(self.log_probs(), x))

    def cdf(self, x: Num[ArrayLike, "*#samples_event"]) -> Float[Array, "*#samples_event"]:
        included = _categories(self) <= jnp.floor(x)[..., None]
        return jnp.sum(jnp.where(included, jnp.exp(self.log_probs()), 0), -1)

    def icdf(self, u: Float[ArrayLike, "*#samples_event"]) -> Int[Array, "*#samples_event"]:
        ends = jnp.cumsum(jnp.exp(self.log_probs()), -1)[..., :-1]
        return jnp.sum(jnp.asarray(u)[..., None] > ends, -1, dtype=jnp.int32)

    def mean(self) -> Float[Array, "*event"]:
        """Mean number of the category."""
        return self._expected(self._numbers())

    def variance(self) -> Float[Array, "*event"]:
        """Variance of the number of the category."""
        return self._expected(jnp.square(self._numbers() - self.mean()[..., None]))

    def _expected(self, values: Float[Array, "*event K"]) -> Float[Array, "*event"]:
        return jnp.sum(jnp.exp(self.log_probs()) * values, -1)

    def _numbers(self) -> Float[Array, "*event K"]:
        return jnp.broadcast_to(_categories(self), self.logits.shape).astype(self.dtype)

    def sample_from_bits(self, bits: UInt32[Array, "... d"]) -> Int[Array, "*samples_event"]:
        ends = jnp.cumsum(self.weights(), -1, dtype=jnp.uint32)
        place, _ = words.product(self._event(bits), ends[..., -1])  # floor(bits total / 2^32)
        return jnp.sum(place[..., None] >= ends, -1, dtype=jnp.int32)

    def weights(self) -> UInt32[Array, "*event K"]:
        """Integer weights in proportion to the probabilities, with a sum of at most 2^31."""
        # Single roundings and integer operations: no compiler can change a bit. The barrier keeps
        # the difference from being fused with the product below into one rounding.
        below = jax.lax.optimization_barrier(self.logits.max(-1, keepdims=True) - self.logits)
        # 2^-powers, powers in units of 2^-16 bits: integer part and two bytes of fraction
        powers = jnp.round(jnp.minimum(below * _LOG2_E, 31) * 65536).astype(jnp.uint32)
        share = jnp.asarray(_COARSE)[(powers >> 8) & 255] * jnp.asarray(_FINE)[powers & 255]
        # shifted right so that the sum of K weights cannot exceed 2^31
        room = jnp.uint32((self.logits.shape[-1] - 1).bit_length())
        weights = (share >> room) >> (powers >> 16)
        # every category that occurs can be decoded
        weights = jnp.maximum(weights, jnp.uint32(1))
        return jnp.where(self.logits == -jnp.inf, jnp.uint32(0), weights)


@register_pair(Categorical, Categorical)
class CategoricalPair(StepPair):
    """Categorical over categorical: the ratio takes at most K values."""

    def log_ratio(self, x: Int[ArrayLike, "*event"]) -> Float[Array, ""]:
        return self.proposal._sum(_pick(self.parts()[0], x))

    def parts(
        self,
    ) -> tuple[
        Float[Array, "*event parts"], Float[Array, "*event parts"], Float[Array, "*event parts"]
    ]:
        log_q, log_p = self.target.log_probs(), self.proposal.log_probs()
        # -inf - -inf, for categories of which neither occurs, would be NaN
        occurs = log_q > -jnp.inf
        ratios = jnp.where(occurs, log_q - jnp.where(occurs, log_p, 0), -jnp.inf)
        return ratios, jnp.exp(log_p), jnp.exp(log_q)

    def violations(self) -> Violations:
        q, p = self.target.logits, self.proposal.logits
        if q.shape[-1] != p.shape[-1]:
            raise ValueError(f"target: it has {q.shape[-1]} categories, the proposal {p.shape[-1]}")
        outside = (p == -np.inf) & (q > -np.inf)
        return [
            *super().violations(),
            ("target: a category has probability zero under the proposal", outside),
        ]


def _categories(distribution):
    return jnp.arange(distribution.logits.shape[-1], dtype=jnp.int32)


def _pick(table, x):
    """Entry of each component's row at its category; -inf at anything but a category."""
    categories = jnp.arange(table.shape[-1], dtype=jnp.int32)
    return jnp.max(jnp.where(jnp.asarray(x)[..., None] == categories, table, -jnp.inf), -1)
