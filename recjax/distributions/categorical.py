"""Categorical distributions, decoded through integers, and pairs of them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import lax
from jaxtyping import Array, ArrayLike, Float, Int, Num, UInt32

from recjax import words
from recjax.distributions.base import Distribution, Violations, family
from recjax.distributions.integer_weights import few_weights, many_weights
from recjax.distributions.pair import Pair, register_pair
from recjax.distributions.stand_in import StandIn
from recjax.distributions.step_ratio import StepPair

_FEW = 64  # categories that are compared one by one faster than searched
_SORTED = 4096  # categories beyond which sums over pairs of them take too much time and memory
_MANY = 256  # categories beyond which weights have all the bits that their sum leaves


@family
class Categorical(Distribution):
    """Independent categories 0 .. K - 1 (int32) with probabilities softmax(logits).

    The last axis of `logits` lists the categories, the others are event axes: `logits` of shape [K]
    describe one scalar category.

    Candidates are decoded from 32 bits through integer frequencies. These follow from the logits by
    exactly rounded operations only, so that every device decodes alike. They differ from softmax by
    a factor within 1 +- 3e-5, and by what whole numbers are rounded: no possible category has less
    than about K / 2^31, or 2^-31 for more than 256 categories.

    One event may be a vocabulary of 10^5 tokens, or many: a search makes its tables once, and takes
    well below a microsecond for each candidate beside that.

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
        return self._from_ends(self.ends(), bits)

    def _from_ends(
        self, ends: UInt32[Array, "*event K"], bits: UInt32[Array, "... d"]
    ) -> Int[Array, "*samples_event"]:
        place, _ = words.product(self._event(bits), ends[..., -1])  # floor(bits total / 2^32)
        return _by_component(_ends_until, ends, place)

    def ends(self) -> UInt32[Array, "*event K"]:
        """Running sums of `weights`: the frequency table that candidates are decoded through."""
        return jnp.cumsum(self.weights(), -1, dtype=jnp.uint32)

    def weights(self) -> UInt32[Array, "*event K"]:
        """Integer weights in proportion to the probabilities, with a sum of at most 2^31 + K."""
        if self.logits.shape[-1] <= _MANY:
            return few_weights(self.logits)
        return many_weights(self.logits)


@register_pair(Categorical, Categorical)
class CategoricalPair(StepPair):
    """Categorical over categorical: the ratio takes at most K values."""

    def log_ratio(self, x: Int[ArrayLike, "*event"]) -> Float[Array, ""]:
        return self.proposal._sum(_pick(self.parts()[0], x))

    def prepared(self) -> Pair:
        return TabledPair(self)

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


class _Tabled(StandIn):
    """Categorical whose frequency table is at hand."""

    proposal: Categorical
    ends: UInt32[Array, "*event K"]

    def __init__(self, proposal: Categorical) -> None:
        self.proposal = proposal
        self.ends = proposal.ends()

    def sample_from_bits(self, bits: UInt32[Array, "... d"]) -> Int[Array, "*samples_event"]:
        return self.proposal._from_ends(self.ends, bits)


class TabledPair(StepPair):
    """Categorical over categorical for many candidates: all that takes O(K) is computed once.

    A candidate then takes a binary search in the proposal's frequency table, and a look-up of its
    log ratio.
    """

    def __init__(self, plain: CategoricalPair) -> None:
        super().__init__(plain.target, _Tabled(plain.proposal))
        self.plain = plain
        # The barriers compute the tables once, and with the same bits whatever uses them. There are
        # two, because what looks one sample up needs the ratios alone.
        self._tables = lax.optimization_barrier(plain.parts())
        self.proposal.ends = lax.optimization_barrier(self.proposal.ends)
        self._top = super().log_ratio_max()

    def log_ratio(self, x: Int[ArrayLike, "*event"]) -> Float[Array, ""]:
        return self.proposal._sum(_pick(self._tables[0], x))

    def log_ratio_max(self) -> Float[Array, ""]:
        return self._top

    def parts(
        self,
    ) -> tuple[
        Float[Array, "*event parts"], Float[Array, "*event parts"], Float[Array, "*event parts"]
    ]:
        return self._tables

    def stretch(
        self, log_low: Float[ArrayLike, ""], log_high: Float[ArrayLike, ""]
    ) -> Float[Array, ""] | None:
        """The sum of `StepPair.stretch`; of many categories by running sums, in O(K) numbers.

        Between two neighbours among the sorted ratios the width is constant.
        """
        if self._tables[0].shape[-1] <= _SORTED:
            return super().stretch(log_low, log_high)
        ratios, p, _ = self._steps()
        order = jnp.argsort(ratios)
        ends = ratios[order]
        before = jnp.concatenate([jnp.full(1, -jnp.inf, ends.dtype), ends[:-1]])
        width = _sums_from(p[order])
        # the survival at each end: sums of positive terms, so that nothing cancels
        above = jnp.concatenate(
            [_sums_from(_rises(before, ends) * width)[1:], jnp.zeros_like(p[:1])]
        )
        low, high = (jnp.clip(x, log_low, log_high) for x in (before, ends))
        rise, left = _rises(low, high), above + _rises(high, ends) * width
        falls = rise > 0
        terms = jnp.log1p(width * rise / jnp.where(falls, left, 1)) / jnp.where(falls, width, 1)
        return jnp.sum(jnp.where(falls, terms, 0))

    def violations(self) -> Violations:
        return self.plain.violations()

    @property
    def _name(self) -> str:
        return self.plain._name


def _sums_from(terms):
    """Running sums from every place to the end."""
    return jnp.cumsum(terms[::-1])[::-1]


def _rises(low, high):
    """exp(high) - exp(low), and 0 unless low < high."""
    grows = high > low
    return jnp.where(grows, -jnp.exp(high) * jnp.expm1(jnp.where(grows, low - high, 0)), 0)


def _categories(distribution):
    return jnp.arange(distribution.logits.shape[-1], dtype=jnp.int32)


def _pick(table, x):
    """Entry of each component's row at its category; -inf at anything but a category."""
    return _by_component(_entries, table, jnp.asarray(x))


def _entries(row, x):
    place = jnp.clip(x.astype(jnp.int32), 0, row.size - 1)
    return jnp.where(place.astype(x.dtype) == x, row[place], -jnp.inf)


def _ends_until(ends, place):
    """Number of ends that are at most ``place``."""
    if ends.size <= _FEW:
        return jnp.sum(place[:, None] >= ends[None], -1, dtype=jnp.int32)
    return jnp.searchsorted(ends, place, side="right", method="scan_unrolled").astype(jnp.int32)


def _by_component(function, table, x):
    """Applies ``function(row, values)`` to every component: its row of a table, all its values."""
    event = table.shape[:-1]
    shape = jnp.broadcast_shapes(x.shape, event)
    samples = shape[: len(shape) - len(event)]
    x = jnp.broadcast_to(x, shape).reshape(math.prod(samples), math.prod(event))
    # not one gather from a table that is broadcast to all samples, which would be made in memory
    rows = table.reshape(math.prod(event), table.shape[-1])
    return jax.vmap(function, (0, 1), 1)(rows, x).reshape(shape)
