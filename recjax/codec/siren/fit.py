"""Fitting the posteriors of a batch of signals to a wanted KL per block.

COMBINER (NeurIPS 2023, section 3.3): gradient steps, and the Lagrange multiplier beta of every
block rises or falls with its KL, which ends near the budget. All rows of all signals advance in
lock-step inside one compiled program; latents that are already coded stay fixed by a mask.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from recjax.codec.siren.layout import GroupLayout, Layout
from recjax.codec.siren.objective import SirenNetwork, posterior_gradient
from recjax.codec.siren.posterior import Posterior
from recjax.codec.siren.targets import Targets, take_subset

PRECISION = jax.lax.Precision.HIGHEST
STEERING_INTERVAL = 10
STEERING = 0.3
MAX_STEERING = 0.15
"""Every 10 steps log beta moves by 0.3 times the relative miss of the KL, at most by 0.15."""
LOG_BETA_RANGE = (-40.0, 0.0)
"""At beta = 1 no nat is worth its price. The KL of a coded block no longer follows its beta, which
would overflow."""


class Job(NamedTuple):
    """Everything that stays as it is while a batch of signals is fitted and coded.

    Attributes:
        network: shared parameters and priors.
        layout: places of the latents.
        targets: values of the patches.
        key: key of the encoder's noise.
    """

    network: SirenNetwork
    layout: Layout
    targets: Targets
    key: Array


class FitState(NamedTuple):
    """State of a fit.

    Attributes:
        posteriors: posteriors of the rows of every group.
        optimiser: Adam's moments.
        log_beta: log of the Lagrange multiplier of every block, per group, in slots.
        free: 1 where a latent may move, 0 where it is coded or not in any block, per group.
        step: gradient steps so far.
    """

    posteriors: tuple[Posterior, ...]
    optimiser: optax.OptState
    log_beta: tuple[Float[Array, "_rows _blocks"], ...]
    free: tuple[Float[Array, "_rows _latents"], ...]
    step: Int[Array, ""]


class _Progress(NamedTuple):
    """The fit, and the distortion at the last visit of every subset."""

    fit: FitState
    errors: Float[Array, "subsets"]


def adam() -> Any:  # the types of optax know no dataclasses
    """Adam's direction; gradients of a mean squared error are far below the default epsilon."""
    init, update = optax.scale_by_adam(eps=1e-15)

    def promoted(updates, state, params=None):
        # optax needs standard promotion, whatever the program has set
        with jax.numpy_dtype_promotion("standard"):
            return update(updates, state, params)

    return optax.GradientTransformation(init, promoted)


@jax.jit
def initial_fit(layout: Layout, start: Sequence[Posterior], log_beta: Float[Array, ""]) -> FitState:
    """The state before the first step.

    Args:
        layout: places of the latents; those outside all blocks are fixed at 0.
        start: posteriors of every group, of all rows or of one that stands for all.
        log_beta: log of the Lagrange multiplier of every block.
    """
    posteriors, free, multipliers = [], [], []
    for group, first in zip(layout.groups, start, strict=True):
        shape = group.source.shape
        coded = jnp.broadcast_to(group.member.any(1).astype(first.mean.dtype), shape)
        first = jax.tree.map(lambda leaf, shape=shape: jnp.broadcast_to(leaf, shape), first)
        posteriors.append(first._replace(mean=first.mean * coded))
        free.append(coded)
        multipliers.append(jnp.full((shape[0], len(group.blocks)), log_beta, jnp.float32))
    return FitState(
        posteriors=tuple(posteriors),
        optimiser=adam().init(tuple(posteriors)),
        log_beta=tuple(multipliers),
        free=tuple(free),
        step=jnp.int32(0),
    )


def to_slots(group: GroupLayout, x: Float[Array, "rows latents"]) -> Float[Array, "rows latents"]:
    """Latents by slot, from latents by row."""
    return jnp.take_along_axis(x, group.source, axis=0)


def from_slots(group: GroupLayout, x: Float[Array, "rows latents"]) -> Float[Array, "rows latents"]:
    """Latents by row, from latents by slot."""
    return jnp.take_along_axis(x, group.inverse, axis=0)


def block_kl_bits(posterior: Posterior, group: GroupLayout) -> Float[Array, "rows blocks"]:
    """KL of every block of one group, in slots."""
    kl = to_slots(group, posterior.kl_nats())
    return jnp.matmul(kl, group.member, precision=PRECISION) / math.log(2)


@functools.partial(jax.jit, static_argnames=("steps", "budget"))
def advance(
    job: Job,
    fit: FitState,
    learning_rates: tuple[Float[Array, ""], Float[Array, ""]],
    *,
    steps: int,
    budget: float,
) -> tuple[FitState, Float[Array, ""]]:
    """Takes ``steps`` gradient steps.

    Args:
        job: the signals.
        fit: their posteriors.
        learning_rates: rates at the first and after the last step, with a straight line between.
        steps: number of steps.
        budget: wanted KL per block in bits, to which its Lagrange multiplier is steered.

    Returns:
        The state, and the mean distortion over the last visit of every subset (NaN without a step).
    """
    first, last = learning_rates

    def interval(index, progress):
        betas = tuple(map(_latent_betas, progress.fit.log_beta, job.layout.groups))

        def step(number, progress):
            done = jnp.float32(number) / steps
            return _step(job, betas, first + done * (last - first), progress)

        start = index * STEERING_INTERVAL
        stop = jnp.minimum(start + STEERING_INTERVAL, steps)
        fit, errors = jax.lax.fori_loop(start, stop, step, progress)
        steered = map(
            functools.partial(_steered, budget), fit.log_beta, fit.posteriors, job.layout.groups
        )
        return _Progress(fit._replace(log_beta=tuple(steered)), errors)

    begin = _Progress(fit, jnp.full(len(job.targets.points), jnp.nan, jnp.float32))
    intervals = -(-steps // STEERING_INTERVAL)
    fit, errors = jax.lax.fori_loop(0, intervals, interval, begin)
    return fit, jnp.nanmean(errors)


def _step(job, betas, rate, progress):
    """One gradient step at one subset of the points."""
    fit, errors = progress
    noise = group_noise(jax.random.fold_in(job.key, fit.step), fit.free)
    which = fit.step % len(job.targets.points)
    subset = take_subset(job.targets, which)
    gradient, error = posterior_gradient(
        job.network, fit.posteriors, betas, fit.free, noise, subset, job.layout.geometry
    )
    update, optimiser = adam().update(gradient, fit.optimiser)
    # a latent that is fixed has no gradient, but Adam's moments may move it still
    moved = tuple(
        jax.tree.map(lambda p, u, f=f: p - rate * f * u, q, part)
        for q, part, f in zip(fit.posteriors, update, fit.free, strict=True)
    )
    fit = fit._replace(posteriors=moved, optimiser=optimiser, step=fit.step + 1)
    return _Progress(fit, errors.at[which].set(error.mean()))


def _latent_betas(log_beta, group):
    """The Lagrange multiplier of every latent's block, by row."""
    in_slots = jnp.matmul(jnp.exp(log_beta), group.member.T, precision=PRECISION)
    return from_slots(group, in_slots)


def _steered(budget, log_beta, posterior, group):
    miss = block_kl_bits(posterior, group) / budget - 1
    change = jnp.clip(STEERING * miss, -MAX_STEERING, MAX_STEERING)
    return jnp.clip(log_beta + change, *LOG_BETA_RANGE)


def group_noise(
    key: Array, like: tuple[Float[Array, "_rows _latents"], ...]
) -> tuple[Float[Array, "_rows _latents"], ...]:
    """Standard normal numbers of the shapes of ``like``; the last group has those of ``key``."""
    keys = [key, *(jax.random.fold_in(key, i) for i in range(1, len(like)))]
    return tuple(
        jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, reversed(like), strict=True)
    )[::-1]
