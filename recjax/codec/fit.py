"""Fitting the posteriors of a batch of signals at fixed shared parameters, at a wanted KL a block.

COMBINER (NeurIPS 2023, section 3.3): gradient steps, and the price beta of every block rises or falls with
its KL, which ends near the budget. All rows of all signals advance in lock-step inside one compiled program;
what is already coded stays fixed by a mask.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Int

from recjax.codec.objective import Network, posterior_gradient
from recjax.codec.posterior import Posterior
from recjax.codec.signals import Targets, take_subset

STEERING_INTERVAL = 10
STEERING = 0.3
MAX_STEERING = 0.15
"""Every 10 steps log beta moves by 0.3 times the relative miss of the KL, at most by 0.15."""
LOG_BETA_RANGE = (-40.0, 0.0)
"""At beta = 1 no nat is worth its price. A coded block's KL no longer follows its price, which would overflow."""


class Layout(NamedTuple):
    """Where the latents of every block are.

    Attributes:
      source, inverse: see :func:`recjax.codec.partition.source_rows`.
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


@struct.dataclass
class FitState:
    """Posteriors of all rows, what is fixed of them, and the price of every block."""

    posterior: Posterior
    optimiser: optax.OptState
    log_beta: Float[Array, "rows blocks"]
    free: Float[Array, "rows latents"]
    step: Int[Array, ""]


def adam() -> Any:  # the types of optax know no dataclasses
    """Adam's direction; gradients of a mean squared error are far below the default epsilon."""
    return optax.scale_by_adam(eps=1e-15)


def initial_fit(layout: Layout, log_std: Float[Array, "latents"], beta: float) -> FitState:
    """Every posterior starts at the prior's mean with the average width seen in training."""
    rows, n_latents = layout.source.shape
    log_std = jnp.broadcast_to(log_std, (rows, n_latents))
    posterior = Posterior(mean=jnp.zeros_like(log_std), log_std=log_std)
    return FitState(
        posterior=posterior,
        optimiser=adam().init(posterior),
        log_beta=jnp.full((rows, layout.blocks.shape[0]), math.log(beta), jnp.float32),
        free=jnp.ones_like(log_std),
        step=jnp.int32(0),
    )


def block_kl_bits(posterior: Posterior, layout: Layout) -> Float[Array, "rows blocks"]:
    """KL of every block, in slots."""
    kl = layout.to_slots(posterior.kl_nats())
    return jnp.matmul(kl, layout.member, precision=jax.lax.Precision.HIGHEST) / math.log(2)


@functools.partial(jax.jit, static_argnames=("steps", "budget"))
def advance(
    network: Network,
    state: FitState,
    layout: Layout,
    targets: Targets,
    key: Array,
    learning_rates: tuple[Array, Array],
    *,
    steps: int,
    budget: float,
) -> tuple[FitState, Float[Array, ""]]:
    """Takes ``steps`` gradient steps while the learning rate moves between the two given ones.

    Returns:
      The state, and the mean distortion over the last visit of every subset (NaN without a step).
    """
    n_subsets = len(targets.points)

    def interval(index, carry):
        beta = layout.from_slots(jnp.matmul(jnp.exp(carry[0].log_beta), layout.member.T))

        def step(k, carry):
            state, errors = carry
            progress = k.astype(jnp.float32) / steps
            rate = learning_rates[0] + progress * (learning_rates[1] - learning_rates[0])
            noise = jax.random.normal(jax.random.fold_in(key, state.step), state.free.shape, state.free.dtype)
            which = state.step % n_subsets
            subset = take_subset(targets, which)
            gradient, error = posterior_gradient(network, state.posterior, beta, state.free, noise, subset)
            update, optimiser = adam().update(gradient, state.optimiser)
            moved = jax.tree.map(lambda p, u: p - rate * state.free * u, state.posterior, update)
            state = state.replace(posterior=moved, optimiser=optimiser, step=state.step + 1)
            return state, errors.at[which].set(error.mean())

        start = index * STEERING_INTERVAL
        stop = jnp.minimum(start + STEERING_INTERVAL, steps)
        state, errors = jax.lax.fori_loop(start, stop, step, carry)
        miss = block_kl_bits(state.posterior, layout) / budget - 1
        log_beta = state.log_beta + jnp.clip(STEERING * miss, -MAX_STEERING, MAX_STEERING)
        return state.replace(log_beta=jnp.clip(log_beta, *LOG_BETA_RANGE)), errors

    intervals = -(-steps // STEERING_INTERVAL)
    state, errors = jax.lax.fori_loop(0, intervals, interval, (state, jnp.full(n_subsets, jnp.nan, jnp.float32)))
    return state, jnp.nanmean(errors)
