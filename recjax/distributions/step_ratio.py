"""Pairs whose density ratio takes finitely many values: every integral is a sum."""

import abc

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from recjax.distributions.base import Violations
from recjax.distributions.pair import Pair


class StepPair(Pair):
    """Pair whose ratio is constant on each of finitely many cells per component of the event."""

    @abc.abstractmethod
    def parts(
        self,
    ) -> tuple[
        Float[Array, "*event parts"], Float[Array, "*event parts"], Float[Array, "*event parts"]
    ]:
        """ln r (-inf where Q is zero), the P-probability and the Q-probability of each cell."""

    def log_ratio_max(self) -> Float[Array, ""]:
        return self.proposal._sum(self.parts()[0].max(-1))

    def bound_violations(self) -> Violations:
        return []

    def widths(self, log_h: Float[ArrayLike, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        ratios, p, q = self._steps()
        above = ratios >= log_h
        return jnp.sum(jnp.where(above, p, 0)), jnp.sum(jnp.where(above, q, 0))

    def survival(self, log_h: Float[ArrayLike, ""]) -> Float[Array, ""]:
        ratios, _, q = self._steps()
        above = ratios > log_h
        # masked twice: expm1 of a large argument would make gradients NaN
        fraction = -jnp.expm1(jnp.where(above, log_h - ratios, 0))
        return jnp.sum(jnp.where(above, q * fraction, 0))

    def stretch(
        self, log_low: Float[ArrayLike, ""], log_high: Float[ArrayLike, ""]
    ) -> Float[Array, ""] | None:
        """Sum of logarithms: between two values of the ratio, the survival is linear in h."""
        ratios, p, _ = self._steps()
        ends = jnp.sort(ratios)
        ends = jnp.clip(
            jnp.concatenate([jnp.full(1, -jnp.inf, ends.dtype), ends]), log_low, log_high
        )
        low, high = ends[:-1], ends[1:]
        width = jnp.sum(jnp.where(ratios[None] >= high[:, None], p[None], 0), -1)
        # exp(high) - exp(low); zero for the pairs of ends that lie outside of [low, high]
        rise = jnp.where(
            high > low, -jnp.exp(high) * jnp.expm1(jnp.where(high > low, low - high, 0)), 0
        )
        falls = rise > 0
        left = jnp.where(falls, jax.vmap(self.survival)(high), 1)
        return jnp.sum(
            jnp.where(falls, jnp.log1p(width * rise / left) / jnp.where(falls, width, 1), 0)
        )

    def kl(self) -> Float[Array, ""] | None:
        ratios, _, q = self.parts()
        return self.proposal._sum(jnp.sum(q * jnp.where(q > 0, ratios, 0), -1))

    def channel_simulation(self) -> Float[Array, ""] | None:
        """Differential entropy of the width density, a sum over the steps of w_P."""
        ratios, p, _ = self._steps()
        order = jnp.argsort(ratios)
        widths = jnp.cumsum(p[order][::-1])[::-1]
        steps = jnp.diff(jnp.exp(ratios[order]), prepend=0)
        # the widest level set may be everything: its probability is exactly 1, not a rounded sum
        return -jnp.sum(steps * widths * jnp.log(jnp.where(widths > 0, jnp.minimum(widths, 1), 1)))

    def _steps(self):
        """`parts` of a scalar event, as vectors."""
        if self.proposal.event_size != 1:
            raise ValueError(f"{self._name}: width functions exist for scalar pairs only")
        return tuple(table.reshape(-1) for table in self.parts())
