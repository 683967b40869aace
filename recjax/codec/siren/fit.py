"""Fitting the posteriors of a batch of signals at fixed shared parameters, at a wanted KL a block.

COMBINER (NeurIPS 2023, section 3.3): gradient steps, and the price beta of every block rises or falls with
its KL, which ends near the budget. All rows of all signals advance in lock-step inside one compiled program;
what is already coded stays fixed by a mask.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Int

from recjax.codec.siren.geometry import Geometry
from recjax.codec.siren.objective import SirenNetwork, posterior_gradient
from recjax.codec.siren.posterior import Posterior
from recjax.codec.siren.targets import Targets, take_subset

PRECISION = jax.lax.Precision.HIGHEST
STEERING_INTERVAL = 10
STEERING = 0.3
MAX_STEERING = 0.15
"""Every 10 steps log beta moves by 0.3 times the relative miss of the KL, at most by 0.15."""
LOG_BETA_RANGE = (-40.0, 0.0)
"""At beta = 1 no nat is worth its price. A coded block's KL no longer follows its price, which would overflow."""


class Layout(NamedTuple):
    """Where the latents of every block of one group are.

    Attributes:
      source, inverse: see :func:`recjax.codec.siren.partition.source_rows`.
      blocks: latents of every block, padded with ``n_latents``.
      member: ``[latents, blocks]``, 1 where a latent belongs to a block.
    """

    source: Int[Array, "rows latents"]
    inverse: Int[Array, "rows latents"]
    blocks: Int[Array, "blocks width"]
    member: Float[Array, "latents blocks"]

    def to_slots(self, x: Float[Array, "rows latents"]) -> Float[Array, "rows latents"]:
        return jnp.take_along_axis(x, self.source, axis=0)

    def from_slots(self, x: Float[Array, "rows latents"]) -> Float[Array, "rows latents"]:
        return jnp.take_along_axis(x, self.inverse, axis=0)


class Arrangement(NamedTuple):
    """How the latents of a batch of signals belong together.

    Attributes:
      layouts: of every group.
      geometry: of the patches.
    """

    layouts: tuple[Layout, ...]
    geometry: Geometry


@struct.dataclass
class FitState:
    """For every group the posteriors of its rows, what is fixed of them, and the price of every block."""

    posteriors: tuple[Posterior, ...]
    optimiser: optax.OptState
    log_beta: tuple[Float[Array, "rows blocks"], ...]
    free: tuple[Float[Array, "rows latents"], ...]
    step: Int[Array, ""]


def adam() -> Any:  # the types of optax know no dataclasses
    """Adam's direction; gradients of a mean squared error are far below the default epsilon."""
    init, update = optax.scale_by_adam(eps=1e-15)

    def promoted(updates, state, params=None):
        with jax.numpy_dtype_promotion(
            "standard"
        ):  # which optax needs, whatever the program has set
            return update(updates, state, params)

    return optax.GradientTransformation(init, promoted)


def initial_fit(arrangement: Arrangement, start: Sequence[Posterior], beta: float) -> FitState:
    """Begins at the posteriors of ``start`` (or one row for all), with latents outside all blocks fixed at 0."""
    posteriors, free, log_beta = [], [], []
    for layout, first in zip(arrangement.layouts, start, strict=True):
        shape = layout.source.shape
        coded = jnp.broadcast_to(layout.member.any(1).astype(first.mean.dtype), shape)
        first = jax.tree.map(lambda leaf, shape=shape: jnp.broadcast_to(leaf, shape), first)
        posteriors.append(first.replace(mean=first.mean * coded))
        free.append(coded)
        log_beta.append(jnp.full((shape[0], len(layout.blocks)), math.log(beta), jnp.float32))
    return FitState(
        posteriors=tuple(posteriors),
        optimiser=adam().init(tuple(posteriors)),
        log_beta=tuple(log_beta),
        free=tuple(free),
        step=jnp.int32(0),
    )


def block_kl_bits(posterior: Posterior, layout: Layout) -> Float[Array, "rows blocks"]:
    """KL of every block of one group, in slots."""
    kl = layout.to_slots(posterior.kl_nats())
    return jnp.matmul(kl, layout.member, precision=PRECISION) / math.log(2)


@functools.partial(jax.jit, static_argnames=("steps", "budget"))
def advance(
    network: SirenNetwork,
    state: FitState,
    arrangement: Arrangement,
    targets: Targets,
    key: Array,
    learning_rates: tuple[Array, Array],
    *,
    steps: int,
    budget: float,
) -> tuple[FitState, Float[Array, ""]]:
    """Takes ``steps`` gradient steps while the learning rate moves between the two given ones.

    Args:
      budget: wanted KL of a block in bits, to which its price is steered.

    Returns:
      The state, and the mean distortion over the last visit of every subset (NaN without a step).
    """
    n_subsets = len(targets.points)
    layouts, geometry = arrangement

    def interval(index, carry):
        prices = zip(layouts, carry[0].log_beta, strict=True)
        beta = tuple(
            layout.from_slots(jnp.matmul(jnp.exp(log_beta), layout.member.T, precision=PRECISION))
            for layout, log_beta in prices
        )

        def step(k, carry):
            state, errors = carry
            progress = jnp.float32(k) / steps
            rate = learning_rates[0] + progress * (learning_rates[1] - learning_rates[0])
            noise = group_noise(jax.random.fold_in(key, state.step), state.free)
            which = state.step % n_subsets
            subset = take_subset(targets, which)
            gradient, error = posterior_gradient(
                network, state.posteriors, beta, state.free, noise, subset, geometry
            )
            update, optimiser = adam().update(gradient, state.optimiser)
            moved = tuple(
                jax.tree.map(lambda p, u, f=f: p - rate * f * u, q, part)
                for q, part, f in zip(state.posteriors, update, state.free, strict=True)
            )
            state = state.replace(posteriors=moved, optimiser=optimiser, step=state.step + 1)
            return state, errors.at[which].set(error.mean())

        start = index * STEERING_INTERVAL
        stop = jnp.minimum(start + STEERING_INTERVAL, steps)
        state, errors = jax.lax.fori_loop(start, stop, step, carry)
        steered = map(functools.partial(_steer, budget), state.log_beta, state.posteriors, layouts)
        return state.replace(log_beta=tuple(steered)), errors

    intervals = -(-steps // STEERING_INTERVAL)
    state, errors = jax.lax.fori_loop(
        0, intervals, interval, (state, jnp.full(n_subsets, jnp.nan, jnp.float32))
    )
    return state, jnp.nanmean(errors)


def _steer(budget, log_beta, posterior, layout):
    miss = block_kl_bits(posterior, layout) / budget - 1
    return jnp.clip(
        log_beta + jnp.clip(STEERING * miss, -MAX_STEERING, MAX_STEERING), *LOG_BETA_RANGE
    )


def group_noise(key: Array, like: tuple[Array, ...]) -> tuple[Array, ...]:
    """Standard normal numbers of the shapes of ``like``."""
    keys = [key, *(jax.random.fold_in(key, i) for i in range(1, len(like)))]
    return tuple(
        jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, reversed(like), strict=True)
    )[::-1]
