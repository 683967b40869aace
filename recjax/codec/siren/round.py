"""A round of training: networks, matrices and the distribution of the latents over many signals.

Coordinate ascent of COMBINER (NeurIPS 2023, section 3): gradient steps on all posteriors and the
shared parameters, then the prior in closed form. Deviations: signals are visited in random batches,
so that posteriors stay on the device while the shared parameters take many steps; beta is steered
in every step; latents are whitened by the current prior, which gives one learning rate to all of
them.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from recjax import parallel
from recjax.codec.siren.fit import adam, group_noise
from recjax.codec.siren.layout import kinds, make_geometry
from recjax.codec.siren.objective import SirenNetwork, distortion, sampled_inputs
from recjax.codec.siren.posterior import LatentPrior, refit_prior
from recjax.codec.siren.settings import TrainConfig
from recjax.codec.siren.targets import Targets, take_subset
from recjax.codec.siren.training_batches import chunks_of, rows_of
from recjax.codec.siren.training_state import GroupState, TrainState

ROUND_STEPS = 50
"""Gradient steps between two updates of the prior, all in one dispatch."""


class RoundReport(NamedTuple):
    """Distortion and KL (per signal, in bits) over the last steps of a round."""

    mse: Float[Array, ""]
    kl_bits: Float[Array, ""]


class _Shared(NamedTuple):
    """Everything of a step that is alike on all devices."""

    params: Any
    priors: tuple[LatentPrior, ...]
    beta: Float[Array, ""]
    points: Int[Array, "points"]
    phase: Int[Array, ""] | None


class _Shares(NamedTuple):
    """Results of a step that are summed over devices."""

    gradient: Any
    mse: Float[Array, ""]
    kl_nats: Float[Array, ""]


def learning_rate(config: TrainConfig, progress: Float[Array, ""]) -> Float[Array, ""]:
    """A factor of both learning rates: warm-up over the first 2 %, then a cosine to zero."""
    return (
        jnp.minimum(progress / 0.02 + 0.05, 1.0)
        * 0.5
        * (1 + jnp.cos(jnp.pi * jnp.clip(progress, 0, 1)))
    )


def make_round(
    config: TrainConfig, devices: int = 1
) -> Callable[[TrainState, Targets, Int[Any, "batch"], Array], tuple[TrainState, RoundReport]]:
    """The compiled function of one round: from state, targets of the batch, its signals and a key.

    Args:
        config: settings of the training.
        devices: number of devices among which the signals of a batch are divided.
    """
    return jax.jit(functools.partial(_round, config, devices), donate_argnums=0)


def _round(config, devices, state, targets, signals, key):
    rows = tuple(rows_of(signals, count) for count in config.rows)
    part = parallel.divided()
    batch = tuple(
        GroupState(
            group.prior,
            *jax.tree.map(lambda leaf, r=r: leaf[r], (group.posterior, group.optimiser)),
        )
        for group, r in zip(state.groups, rows, strict=True)
    )
    batch = tuple(
        GroupState(
            group.prior, *parallel.laid_out((group.posterior, group.optimiser), devices, part)
        )
        for group in batch
    )
    pixels = parallel.laid_out((targets.values, targets.weights), devices, parallel.divided(1))
    targets = targets._replace(values=pixels[0], weights=pixels[1])
    inputs = jnp.arange(ROUND_STEPS), jax.random.split(key, ROUND_STEPS)
    step = functools.partial(_step, config, _gradients(config, devices), targets)
    end, report = jax.lax.scan(step, state._replace(groups=batch), inputs)
    groups = tuple(
        _refitted(group, moved, r, centred)
        for group, moved, r, centred in zip(
            state.groups, end.groups, rows, _centred(config), strict=True
        )
    )
    state = end._replace(groups=groups, done=state.done + 1)
    report = jax.tree.map(lambda leaf: leaf[-2 * len(targets.points) :].mean(), report)
    return parallel.laid_out(state, devices), report


def _centred(config):
    """Per group the latents whose prior mean stays 0."""
    is_cell = np.arange(config.network.n_latents) >= config.network.n_weight_latents
    # Grids start from zero at every cell of a signal alike; a mean would add nothing to the learned
    # features.
    return *[None] * (config.levels - 1), is_cell if is_cell.any() else None


def _step(config, gradients, targets, state, inputs):
    """One gradient step on a batch; the state has the rows of the batch."""
    index, key = inputs
    progress = state.done.astype(jnp.float32) / config.rounds
    rate = learning_rate(config, progress)
    # At first the KL is below its goal because the network has yet to learn: no reason to lower
    # beta.
    steering = jnp.where(progress < 0.1, 0.0, config.steering)
    subset = take_subset(targets, index % len(targets.points))
    posteriors = tuple(group.posterior for group in state.groups)
    noise = group_noise(key, tuple(posterior.mean for posterior in posteriors))
    priors = tuple(group.prior for group in state.groups)
    shared = _Shared(state.params, priors, jnp.exp(state.log_beta), subset.points, subset.phase)
    total, of_posteriors = gradients(shared, posteriors, noise, (subset.values, subset.weights))

    def moved(group, gradient):
        update, optimiser = jax.vmap(adam().update)(gradient, group.optimiser)
        posterior = jax.tree.map(lambda p, u: p - config.lr * rate * u, group.posterior, update)
        return GroupState(group.prior, posterior, optimiser)

    update, optimiser = adam().update(total.gradient, state.optimiser)
    params = jax.tree.map(lambda p, u: p - config.lr_shared * rate * u, state.params, update)
    target_nats = config.rate * config.n_points * math.log(2)
    miss = jnp.clip(jnp.log(total.kl_nats / target_nats), -1, 1)
    state = TrainState(
        params=params,
        optimiser=optimiser,
        groups=tuple(map(moved, state.groups, of_posteriors)),
        log_beta=state.log_beta + steering * miss,
        done=state.done,
    )
    return state, RoundReport(total.mse, total.kl_nats / math.log(2))


def _gradients(config, devices):
    """`_gradients_of_part` on all devices, each with its part of the signals."""
    part = parallel.divided()
    return parallel.on_parts(
        functools.partial(_gradients_of_part, config, devices),
        devices,
        in_specs=(parallel.SHARED, part, part, part),
        out_specs=(parallel.SHARED, part),
    )


def _gradients_of_part(config, devices, shared, posteriors, noise, pixels):
    """Gradients on one device.

    Returns:
        Of the shared parameters the sum over all devices; of the posteriors those of this device.
    """
    patches = math.prod(config.scene)
    signals = len(pixels[0]) // patches
    geometry = make_geometry(
        [config.scene] * signals, kinds(config.levels)[:-1], config.region, config.network.cells
    )

    def loss(params, inputs, targets):
        error = distortion(SirenNetwork(config.network, params, shared.priors), inputs, targets)
        return jnp.sum(error), jnp.mean(error)

    def chunk(total, args):
        inputs, (values, weights) = args
        targets = Targets(values, weights, shared.points, shared.phase)
        (of_params, of_inputs), error = jax.grad(loss, argnums=(0, 1), has_aux=True)(
            shared.params, inputs, targets
        )
        return jax.tree.map(jnp.add, total, of_params), (of_inputs, error)

    def inputs_of(posteriors):
        network = SirenNetwork(config.network, shared.params, shared.priors)
        return sampled_inputs(network, posteriors, noise, geometry)

    # the inputs tie patches together; between them and the errors every chunk stands alone
    inputs, pull = jax.vjp(inputs_of, posteriors)
    chunks = chunks_of(signals * patches)
    split = jax.tree.map(lambda leaf: leaf.reshape(chunks, -1, *leaf.shape[1:]), (inputs, pixels))
    of_params, (of_inputs, error) = jax.lax.scan(
        chunk, jax.tree.map(jnp.zeros_like, shared.params), split
    )
    (of_posteriors,) = pull(jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), of_inputs))
    kl, of_kl = jax.value_and_grad(lambda groups: sum(q.kl_nats().sum() for q in groups))(
        posteriors
    )
    of_posteriors = jax.tree.map(lambda d, k: d + shared.beta * k, of_posteriors, of_kl)
    shares = _Shares(of_params, jnp.mean(error) / devices, kl / signals / devices)
    return parallel.total(shares), of_posteriors


def _refitted(group, batch, rows, centred):
    """A group with the rows of a batch put back, and its prior refitted."""
    posterior, optimiser = jax.tree.map(
        lambda leaf, new: leaf.at[rows].set(new),
        (group.posterior, group.optimiser),
        (batch.posterior, batch.optimiser),
    )
    prior, posterior, unit = refit_prior(group.prior, posterior, centred)
    return GroupState(prior, posterior, _rescaled_moments(optimiser, unit))


def _rescaled_moments(optimiser, unit):
    """Adam's moments of the means after their unit grew by ``unit``."""
    return optimiser._replace(
        mu=optimiser.mu._replace(mean=optimiser.mu.mean * unit[None]),
        nu=optimiser.nu._replace(mean=optimiser.nu.mean * unit[None] ** 2),
    )
