"""Proposals that wrap another distribution and add information to it."""

import numpy as np
from jaxtyping import Array, ArrayLike, Float, Num, UInt32

from recjax.distributions.base import Distribution, Violations


class StandIn(Distribution):
    """Wrapper with the methods of the distribution `proposal`, under another type.

    Attributes:
        proposal: the wrapped distribution.
    """

    proposal: Distribution

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.proposal.event_shape

    @property
    def dtype(self) -> np.dtype:
        return self.proposal.dtype

    def violations(self) -> Violations:
        return self.proposal.violations()

    def log_prob(self, x: Num[ArrayLike, "*#samples_event"]) -> Float[Array, "..."]:
        return self.proposal.log_prob(x)

    def cdf(self, x: Num[ArrayLike, "*#samples_event"]) -> Float[Array, "*#samples_event"]:
        return self.proposal.cdf(x)

    def icdf(self, u: Float[ArrayLike, "*#samples_event"]) -> Num[Array, "*#samples_event"]:
        return self.proposal.icdf(u)

    def mean(self) -> Float[Array, "*event"]:
        return self.proposal.mean()

    def variance(self) -> Float[Array, "*event"]:
        return self.proposal.variance()

    def sample_from_bits(self, bits: UInt32[Array, "... d"]) -> Num[Array, "*samples_event"]:
        return self.proposal.sample_from_bits(bits)
