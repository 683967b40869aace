"""Learning a prior: networks, matrices and the distribution of the latents over many signals.

Coordinate ascent of COMBINER (NeurIPS 2023, section 3): gradient steps on all posteriors and the shared
parameters, then the prior in closed form. Deviations: rows are visited in random batches, so that posteriors
stay on the device while the shared parameters take many steps; beta is steered in every step; latents are
whitened by the current prior, which gives one learning rate to all of them.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx, struct
from jaxtyping import Array, Float

from recjax import parallel
from recjax.codec.siren.fit import adam, group_noise
from recjax.codec.siren.geometry import make_geometry
from recjax.codec.siren.groups import kinds
from recjax.codec.siren.network import Siren, initial_prior
from recjax.codec.siren.objective import SirenNetwork, distortion, sampled_inputs
from recjax.codec.siren.posterior import LatentPrior, Posterior, initial_posterior, refit_prior
from recjax.codec.siren.settings import TrainConfig
from recjax.codec.siren.targets import Targets, make_targets, take_subset
from recjax.modalities import Signal
from recjax.modalities.grid import cut
from recjax.modalities.image import IMAGE

ROUND_STEPS = 50
"""Gradient steps between two updates of the prior, all in one dispatch."""

TRAINING_ROWS = 128
"""Rows at a time, about; larger than in a fit, because the gradient of a matrix is a product over rows."""


@struct.dataclass
class TrainState:
    """Everything a resumed run needs after ``done`` rounds; what depends on rows is a tuple over groups of latents."""

    params: Any
    priors: tuple[LatentPrior, ...]
    posteriors: tuple[Posterior, ...]
    row_optimisers: tuple[optax.OptState, ...]
    shared_optimiser: optax.OptState
    log_beta: Float[Array, ""]
    done: Array


class RoundReport(NamedTuple):
    """Distortion and KL (of a signal, in bits) over the last steps of a round."""

    mse: Array
    kl_bits: Array


def initial_state(config: TrainConfig, signals: int) -> TrainState:
    """State before the first round."""
    loc, scale = initial_prior(config.network, config.seed)
    _, params = nnx.split(Siren(config.network))
    n_weights = config.network.n_weight_latents
    # one object each: the state is donated
    upper = [
        LatentPrior(loc=jnp.zeros(n_weights, jnp.float32), scale=jnp.asarray(scale[:n_weights] / 2))
        for _ in range(config.levels - 1)
    ]
    priors = (*upper, LatentPrior(loc=jnp.asarray(loc), scale=jnp.asarray(scale)))
    posteriors = tuple(
        initial_posterior(signals * rows, len(prior.loc))
        for rows, prior in zip(config.rows, priors, strict=True)
    )
    return TrainState(
        params=params,
        priors=priors,
        posteriors=posteriors,
        row_optimisers=tuple(jax.vmap(adam().init)(posterior) for posterior in posteriors),
        shared_optimiser=adam().init(params),
        log_beta=jnp.float32(math.log(4e-6 / config.rate)),
        done=jnp.int32(0),
    )


def learning_rate(config: TrainConfig, progress: Array) -> Array:
    """Warm-up over the first 2 %, then a cosine to zero; a factor of both learning rates."""
    return (
        jnp.minimum(progress / 0.02 + 0.05, 1.0)
        * 0.5
        * (1 + jnp.cos(jnp.pi * jnp.clip(progress, 0, 1)))
    )


def batch_signals(config: TrainConfig, signals: int) -> int:
    """How many of the signals a round has: with whole chunks of rows, if so many signals fill any."""
    patches = math.prod(config.scene)
    size, whole = (
        min(max(config.batch // patches, 1), signals),
        TRAINING_ROWS // math.gcd(TRAINING_ROWS, patches),
    )
    return size - size % whole if size > whole else size


def chunks_of(rows: int) -> int:
    """Chunks of equal length, as near to `TRAINING_ROWS` by its ratio as can be.

    >>> chunks_of(3 * TRAINING_ROWS)
    3
    """
    divisors = (n for n in range(1, rows + 1) if rows % n == 0)
    return min(divisors, key=lambda n: abs(math.log(rows / n / TRAINING_ROWS)))


def batch_rows(config: TrainConfig, signals: int, round_number: int) -> np.ndarray:
    """Signals of one round: consecutive slices of a fresh permutation every pass over the data."""
    size = batch_signals(config, signals)
    per_pass = max(signals // size, 1)
    rng = np.random.default_rng([config.seed, round_number // per_pass])
    start = (round_number % per_pass) * size
    return rng.permutation(signals)[start : start + size]


def rows_of(signals: Any, count: int) -> Any:
    """Rows of the given signals in a group with ``count`` rows a signal."""
    return (signals[:, None] * count + np.arange(count, dtype=signals.dtype)).reshape(-1)


def make_round(config: TrainConfig, devices: int = 1):
    """The compiled function of one round: (state, targets of the batch, its signals, key) -> (state, report).

    Args:
      config: of the training.
      devices: among which the signals of a batch are divided.
    """
    graph = nnx.split(Siren(config.network))[0]
    target_nats = config.rate * config.n_points * math.log(2)
    is_cell = np.arange(config.network.n_latents) >= config.network.n_weight_latents
    # Grids start from zero at every pixel of an image alike; a mean would add nothing to the learned features.
    centred = (*[None] * (config.levels - 1), is_cell if is_cell.any() else None)

    def gradients_of_part(everywhere, posteriors, noise, pixels):
        """On one device: of the shared parameters the sum over all devices, of the posteriors its own."""
        params, priors, beta, points, phase = everywhere
        patches = math.prod(config.scene)
        signals = len(pixels[0]) // patches
        cells = config.network.grid_shape
        geometry = make_geometry(
            [config.scene] * signals,
            kinds(config.levels)[:-1],
            config.region,
            cells[:2] if cells else None,
        )

        def loss(params, inputs, part):
            error = distortion(SirenNetwork(graph, params, priors), inputs, part)
            return jnp.sum(error), jnp.mean(error)

        def chunk(total, args):
            inputs, (values, weights) = args
            part = Targets(values=values, weights=weights, points=points, phase=phase)
            (of_params, own), error = jax.grad(loss, argnums=(0, 1), has_aux=True)(
                params, inputs, part
            )
            return jax.tree.map(jnp.add, total, of_params), (own, error)

        network = SirenNetwork(graph, params, priors)
        inputs, pull = jax.vjp(lambda q: sampled_inputs(network, q, noise, geometry), posteriors)
        chunks = chunks_of(signals * patches)
        split = jax.tree.map(
            lambda leaf: leaf.reshape(chunks, -1, *leaf.shape[1:]), (inputs, pixels)
        )
        of_params, (own, error) = jax.lax.scan(chunk, jax.tree.map(jnp.zeros_like, params), split)
        (own,) = pull(jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), own))
        kl, price = jax.value_and_grad(
            lambda posteriors: sum(q.kl_nats().sum() for q in posteriors)
        )(posteriors)
        own = jax.tree.map(lambda d, k: d + beta * k, own, price)
        return parallel.total((of_params, (jnp.mean(error) / devices, kl / signals / devices))), own

    whole, part = parallel.SHARED, parallel.divided()
    gradients = parallel.on_parts(
        gradients_of_part, devices, in_specs=(whole, part, part, part), out_specs=(whole, part)
    )

    def step(carry, inputs):
        params, posteriors, row_optimisers, shared_optimiser, log_beta, fixed = carry
        priors, targets, rate, steer = fixed
        index, key = inputs
        subset = take_subset(targets, index % len(targets.points))
        noise = group_noise(key, tuple(posterior.mean for posterior in posteriors))
        everywhere = params, priors, jnp.exp(log_beta), subset.points, subset.phase
        (shared, (mse, kl)), own = gradients(
            everywhere, posteriors, noise, (subset.values, subset.weights)
        )
        updates = [jax.vmap(adam().update)(g, o) for g, o in zip(own, row_optimisers, strict=True)]
        own, row_optimisers = (tuple(parts) for parts in zip(*updates, strict=True))
        shared, shared_optimiser = adam().update(shared, shared_optimiser)
        posteriors = jax.tree.map(lambda p, u: p - config.lr * rate * u, posteriors, own)
        params = jax.tree.map(lambda p, u: p - config.lr_shared * rate * u, params, shared)
        log_beta += steer * jnp.clip(jnp.log(kl / target_nats), -1, 1)
        carry = params, posteriors, row_optimisers, shared_optimiser, log_beta, fixed
        return carry, RoundReport(mse, kl / math.log(2))

    @jax.jit(donate_argnums=0)
    def run(
        state: TrainState, targets: Targets, signals: Array, key: Array
    ) -> tuple[TrainState, RoundReport]:
        rows = tuple(rows_of(signals, count) for count in config.rows)
        own = tuple(zip(state.posteriors, state.row_optimisers, strict=True))
        own = tuple(
            jax.tree.map(lambda leaf, r=r: leaf[r], part) for part, r in zip(own, rows, strict=True)
        )
        posteriors, row_optimisers = zip(*parallel.laid_out(own, devices, part), strict=True)
        progress = state.done.astype(jnp.float32) / config.rounds
        rate = learning_rate(config, progress)
        # At first KL grows because the network learns, which is no reason to lower its price.
        steer = jnp.where(progress < 0.1, 0.0, config.steering)
        pixels = parallel.laid_out((targets.values, targets.weights), devices, parallel.divided(1))
        targets = dataclasses.replace(targets, values=pixels[0], weights=pixels[1])
        carry = (
            state.params, posteriors, row_optimisers, state.shared_optimiser, state.log_beta,
            (state.priors, targets, rate, steer),
        )  # fmt: skip
        inputs = jnp.arange(ROUND_STEPS), jax.random.split(key, ROUND_STEPS)
        carry, report = jax.lax.scan(step, carry, inputs)
        params, posteriors, row_optimisers, shared_optimiser, log_beta, _ = carry
        new = [
            _refitted(whole, optimiser, part, moments, r, prior, fixed)
            for whole, optimiser, part, moments, r, prior, fixed in zip(
                state.posteriors, state.row_optimisers, posteriors, row_optimisers, rows, state.priors, centred,
                strict=True,
            )
        ]  # fmt: skip
        priors, posteriors, row_optimisers = zip(*new, strict=True)
        state = TrainState(
            params=params,
            priors=priors,
            posteriors=posteriors,
            row_optimisers=row_optimisers,
            shared_optimiser=shared_optimiser,
            log_beta=log_beta,
            done=state.done + 1,
        )
        report = jax.tree.map(lambda leaf: leaf[-2 * len(targets.points) :].mean(), report)
        return parallel.laid_out(state, devices), report

    return run


def _refitted(whole, optimiser, part, moments, rows, prior, centred):
    """Prior, posteriors and moments of one group after its rows of a batch were put back."""
    whole, optimiser = jax.tree.map(
        lambda leaf, new: leaf.at[rows].set(new), (whole, optimiser), (part, moments)
    )
    prior, posterior, unit = refit_prior(prior, whole, centred)
    return prior, posterior, _rescale_moments(optimiser, unit)


def _rescale_moments(row_optimiser, unit):
    """Adam's moments of the means after their unit grew by ``unit``."""
    return row_optimiser._replace(
        mu=row_optimiser.mu.replace(mean=row_optimiser.mu.mean * unit[None]),
        nu=row_optimiser.nu.replace(mean=row_optimiser.nu.mean * unit[None] ** 2),
    )


def round_key(config: TrainConfig, round_number: int) -> Array:
    """Noise of a round depends on its number only, so that a resumed run repeats an undisturbed one."""
    return jax.random.fold_in(jax.random.key(config.seed), round_number)


def select_targets(targets: Targets, signals: np.ndarray, config: TrainConfig) -> Targets:
    """Targets of the patches of some signals."""
    rows = rows_of(signals, math.prod(config.scene))
    return dataclasses.replace(
        targets, values=targets.values[:, rows], weights=targets.weights[:, rows]
    )


def training_targets(images: np.ndarray, config: TrainConfig) -> Targets:
    """Targets of ``uint8[M, height, width, channels]``, patches of one signal following one another.

    Raises:
      ValueError: the images do not have the shape of a training signal, or are fewer than 2.
    """
    wanted = config.signal_shape
    if images.dtype != np.uint8 or images.shape[1:] != wanted:
        raise ValueError(
            f"images must be uint8[M, {', '.join(map(str, wanted))}], got {images.dtype}{images.shape}"
        )
    if len(images) < 2:
        raise ValueError(f"images: a prior needs at least 2 signals, got {len(images)}")
    grids = [IMAGE.to_grid(Signal(image)).values for image in images]
    patches = np.concatenate([cut(values, config.network.grid) for values in grids])
    return make_targets(patches, split=config.network.split)
