"""Channels as proposals: finitely many inputs, each with a distribution of its outputs."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jaxtyping import Array, ArrayLike, Float, Int, Num

from recjax.distributions.base import Distribution, Violations, concrete, family, raise_first
from recjax.distributions.bound import BOUND_SLACK
from recjax.distributions.pair import Pair, pair_of, register_pair, violations
from recjax.distributions.stand_in import StandIn


@family
class Channel(StandIn):
    """Proposal P with finitely many inputs x, the distribution P_{y|x} of each, and one bound M.

    As a proposal of coders it is P, except that the largest density ratio of every target counts as
    M, which bounds r_x = dP_{y|x} / dP for all inputs. The receiver knows all of these, and the
    probabilities of the inputs.

    Args:
        shares: probabilities of the inputs, as positive integers [n] up to a common factor.
        targets: distributions P_{y|x} of the outputs: one distribution whose parameters have a
            leading axis of n inputs.
        proposal: P, the marginal of the outputs or any other distribution that dominates them.
        max_ratio_bits: log2 M; the least possible by default.

    Raises:
        ValueError: shares are not positive integers with a sum of at most 2^24, shapes do not fit,
            a ratio is unbounded, or `max_ratio_bits` is less than log2 of the largest ratio.

    >>> import recjax
    >>> inputs = recjax.Normal(jnp.array([-1.0, 0.0, 1.0]), jnp.full(3, 0.5))
    >>> channel = Channel([1, 2, 1], inputs, recjax.Normal(0.0, 1.0))
    >>> # of the three inputs only the last, 1.0, has a ratio that large
    >>> int(channel.acceptance(jnp.float32(0.9), jnp.float32(0.5))), channel.total
    (4194304, 16777216)
    """

    shares: Int[Array, "n"]
    targets: Any
    proposal: Distribution
    log_max: Float[Array, ""]

    total: ClassVar[int] = 1 << 24
    """Sum of the shares of all inputs, scaled."""

    def __init__(
        self,
        shares: npt.ArrayLike,
        targets: Any,
        proposal: Distribution,
        max_ratio_bits: npt.ArrayLike | None = None,
    ) -> None:
        known = np.asarray(shares)
        if (
            known.ndim != 1
            or not np.issubdtype(known.dtype, np.integer)
            or np.any(known < 1)
            or not known.size
        ):
            raise ValueError("shares must be positive integers, one per input")
        if known.sum() > self.total:
            raise ValueError(f"shares must not sum to more than 2^24, got {known.sum()}")
        if isinstance(proposal, Channel):
            raise ValueError("proposal: it must not be a channel itself")
        shape = (known.size, *getattr(proposal, "event_shape", ()))
        if getattr(targets, "event_shape", None) != shape:
            raise ValueError(
                f"targets: their shape must be {shape}, got {getattr(targets, 'event_shape', None)}"
            )
        for target in (jax.tree.map(lambda x, i=i: x[i], targets) for i in range(known.size)):
            if (values := concrete((target, proposal))) is not None:
                raise_first(violations(pair_of(*values), bounded=True))
        least = jnp.max(jax.vmap(lambda target: pair_of(target, proposal).log_ratio_max())(targets))
        log_max = (
            least
            if max_ratio_bits is None
            else jnp.asarray(max_ratio_bits, proposal.dtype) * np.log(2)
        )
        log_max = log_max.astype(proposal.dtype)
        if (values := concrete((least, log_max))) is not None and not values[0] <= values[
            1
        ] + BOUND_SLACK:
            raise ValueError(
                f"max_ratio_bits must be at least {values[0] / np.log(2):.4f}, got {max_ratio_bits}"
            )
        # shares of 2^24 that sum to it exactly: those left over go to the first inputs
        scaled = known.astype(np.int64) * self.total // known.sum()
        scaled += np.arange(known.size) < self.total - scaled.sum()
        values = jnp.asarray(scaled, jnp.int32), targets, proposal, log_max
        for name, value in zip(self.parameters, values, strict=True):
            object.__setattr__(self, name, value)

    def log_ratios(self, y: Num[ArrayLike, "*event"]) -> Float[Array, "n"]:
        """ln r_x(y) for every input x."""
        return jax.vmap(lambda target: pair_of(target, self.proposal).log_ratio(y))(self.targets)

    def acceptance(self, y: Num[ArrayLike, "*event"], gap: Float[ArrayLike, ""]) -> Int[Array, ""]:
        """w_y(M e^-gap) = P_x[r_x(y) >= M e^-gap], in units of 1 / `total`."""
        return jnp.sum(jnp.where(gap > self.log_max - self.log_ratios(y), self.shares, 0))


@register_pair(object, Channel)
class ChannelPair(Pair):
    """Target over a channel: a P_{y|x}, or any other target whose density ratio M bounds."""

    def __init__(self, target: Any, proposal: Channel) -> None:
        super().__init__(target, proposal)
        self.inner = pair_of(target, proposal.proposal)

    def log_ratio(self, x: Num[ArrayLike, "*event"]) -> Float[Array, ""]:
        return self.inner.log_ratio(x)

    def log_ratio_max(self) -> Float[Array, ""]:
        return self.proposal.log_max

    def widths(self, log_h: Float[ArrayLike, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        return self.inner.widths(log_h)

    def kl(self) -> Float[Array, ""] | None:
        return self.inner.kl()

    def violations(self) -> Violations:
        return self.inner.violations()

    def bound_violations(self) -> Violations:
        return self.inner.bound_violations()

    def width_violations(self) -> Violations:
        # a width violation because, unlike the others, these are evaluated example by example
        over = ~(self.inner.log_ratio_max() <= self.proposal.log_max + BOUND_SLACK)
        return [("target: its largest density ratio exceeds the channel's", over)]
