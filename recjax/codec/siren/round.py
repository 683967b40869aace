"""Learning a prior: networks, matrices and the distribution of the latents over many signals.

Coordinate ascent of COMBINER (NeurIPS 2023, section 3): gradient steps on all posteriors and the
shared parameters, then the prior in closed form. Deviations: signals are visited in random batches,
so that posteriors stay on the device while the shared parameters take many steps; beta is steered
in every step; latents are whitened by the current prior, which gives one learning rate to all of
them.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from recjax import parallel
from recjax.codec.siren.fit import adam, group_noise
from recjax.codec.siren.layout import kinds, make_geometry
from recjax.codec.siren.network import initial_network, initial_prior
from recjax.codec.siren.objective import SirenNetwork, distortion, sampled_inputs
from recjax.codec.siren.posterior import LatentPrior, Posterior, initial_posterior, refit_prior
from recjax.codec.siren.settings import TrainConfig
from recjax.codec.siren.targets import Targets, make_targets, take_subset
from recjax.modalities import Grid
from recjax.modalities.grid import cut, weights_of

ROUND_STEPS = 50
"""Gradient steps between two updates of the prior, all in one dispatch."""

TRAINING_ROWS = 128
"""Rows at a time, about; more than in a fit, as the gradient of a matrix is a product over rows."""


class GroupState(NamedTuple):
    """State of one group of latents.

    Attributes:
        prior: prior of the latents.
        posterior: posteriors of the rows of all signals, or of a batch.
        optimiser: Adam's moments of every row.
    """

    prior: LatentPrior
    posterior: Posterior
    optimiser: optax.OptState


class TrainState(NamedTuple):
    """Everything that a resumed run needs.

    Attributes:
        params: shared parameters of the networks.
        optimiser: their Adam's moments.
        groups: state of every group of latents.
        log_beta: log of the Lagrange multiplier.
        done: rounds so far.
    """

    params: Any
    optimiser: optax.OptState
    groups: tuple[GroupState, ...]
    log_beta: Float[Array, ""]
    done: Int[Array, ""]


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


def initial_state(config: TrainConfig, signals: int) -> TrainState:
    """State before the first round."""
    loc, scale = initial_prior(config.network, config.seed)
    params = initial_network(config.network)
    n_weights = config.network.n_weight_latents
    # one object per group: the state is donated
    upper = [
        LatentPrior(loc=jnp.zeros(n_weights, jnp.float32), scale=jnp.asarray(scale[:n_weights] / 2))
        for _ in range(config.levels - 1)
    ]
    priors = (*upper, LatentPrior(loc=jnp.asarray(loc), scale=jnp.asarray(scale)))
    posteriors = [
        initial_posterior(signals * rows, len(prior.loc))
        for rows, prior in zip(config.rows, priors, strict=True)
    ]
    return TrainState(
        params=params,
        optimiser=adam().init(params),
        groups=tuple(
            GroupState(prior, posterior, jax.vmap(adam().init)(posterior))
            for prior, posterior in zip(priors, posteriors, strict=True)
        ),
        log_beta=jnp.float32(math.log(4e-6 / config.rate)),
        done=jnp.int32(0),
    )


def learning_rate(config: TrainConfig, progress: Float[Array, ""]) -> Float[Array, ""]:
    """A factor of both learning rates: warm-up over the first 2 %, then a cosine to zero."""
    return (
        jnp.minimum(progress / 0.02 + 0.05, 1.0)
        * 0.5
        * (1 + jnp.cos(jnp.pi * jnp.clip(progress, 0, 1)))
    )


def batch_signals(config: TrainConfig, signals: int) -> int:
    """Signals per round: ``config.batch`` patches, in whole chunks of rows if they fill any.

    Args:
        config: settings of the training.
        signals: number of training signals.
    """
    patches = math.prod(config.scene)
    size = min(max(config.batch // patches, 1), signals)
    per_chunk = TRAINING_ROWS // math.gcd(TRAINING_ROWS, patches)
    return size - size % per_chunk if size > per_chunk else size


def chunks_of(rows: int) -> int:
    """Number of chunks of equal length that is, by ratio, nearest to `TRAINING_ROWS`.

    >>> chunks_of(3 * TRAINING_ROWS)
    3
    """
    divisors = (n for n in range(1, rows + 1) if rows % n == 0)
    return min(divisors, key=lambda n: abs(math.log(rows / n / TRAINING_ROWS)))


def batch_rows(config: TrainConfig, signals: int, round_number: int) -> Int[np.ndarray, "batch"]:
    """Signals of one round: slices of a permutation that every pass over the data draws anew."""
    size = batch_signals(config, signals)
    per_pass = max(signals // size, 1)
    rng = np.random.default_rng([config.seed, round_number // per_pass])
    start = (round_number % per_pass) * size
    return rng.permutation(signals)[start : start + size]


def rows_of(signals: Int[Any, "batch"], count: int) -> Int[Any, "rows"]:
    """Rows of the given signals in a group with ``count`` rows per signal."""
    return (signals[:, None] * count + np.arange(count, dtype=signals.dtype)).reshape(-1)


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


def round_key(config: TrainConfig, round_number: int) -> Array:
    """Key of a round's noise; it depends on the number only, so that a resumed run repeats an
    undisturbed one."""
    return jax.random.fold_in(jax.random.key(config.seed), round_number)


def select_targets(
    targets: Targets, signals: Int[np.ndarray, "batch"], config: TrainConfig
) -> Targets:
    """Targets of the patches of a batch of signals."""
    rows = rows_of(signals, math.prod(config.scene))
    return targets._replace(values=targets.values[:, rows], weights=targets.weights[:, rows])


def training_targets(grids: Sequence[Grid], config: TrainConfig) -> Targets:
    """Targets of training signals, the patches of one signal following one another.

    Raises:
        ValueError: the signals do not have the shape of a training signal, or are fewer than 2.
    """
    wanted = (*config.sides, config.network.channels)
    for grid in grids:
        if grid.values.shape != wanted:
            raise ValueError(f"signals must have the shape {wanted}, got {grid.values.shape}")
    if len(grids) < 2:
        raise ValueError(f"a prior needs at least 2 signals, got {len(grids)}")
    patch = config.network.grid
    patches = np.concatenate([cut(grid.values, patch) for grid in grids])
    weights = np.concatenate([cut(weights_of(grid, patch), patch) for grid in grids])
    return make_targets(patches, weights, split=config.network.split)
