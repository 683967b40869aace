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

from recjax.codec.fit import adam
from recjax.codec.objective import Network, distortion
from recjax.codec.posterior import LatentPrior, Posterior, initial_posterior, refit_prior
from recjax.codec.signals import Targets, make_targets, take_subset
from recjax.inr.siren import Siren, SirenConfig, initial_prior

ROUND_STEPS = 50
"""Gradient steps between two updates of the prior, all in one dispatch."""

TRAINING_ROWS = 128
"""Rows at a time; larger than in a fit, because the gradient of a matrix is a product over rows."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a prior is trained.

    Attributes:
      rate: wanted KL in bits per grid cell (pixel), averaged over the training signals.
      rounds: rounds of 50 gradient steps; the learning rate falls to zero at the end.
      batch: signals a round, a multiple of 128 (or fewer than 128).
      lr: Adam's learning rate for the posteriors (in units of the prior's standard deviation).
      lr_shared: Adam's learning rate for matrices and features.
      steering: change of log beta in a step, per nat by which log KL misses its goal.
      budget: bits of KL a block.
      seed: of the initial network, the batches, the noise and the block partition.
      network: the architecture.

    Raises:
      ValueError: a number is out of its range.
    """

    rate: float = 1.0
    rounds: int = 400
    batch: int = 1024
    lr: float = 0.02
    lr_shared: float = 1e-3
    steering: float = 5e-4
    budget: int = 16
    seed: int = 0
    network: SirenConfig = dataclasses.field(default_factory=SirenConfig)

    def __post_init__(self):
        for name in ("rate", "rounds", "batch", "lr", "lr_shared", "steering"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        if not 4 <= self.budget <= 20:
            raise ValueError(f"budget must be 4 to 20 bits, got {self.budget}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        if self.network.latents is not None:
            raise ValueError(f"latents are chosen after training, got {self.network.latents}")


@struct.dataclass
class TrainState:
    """Everything a checkpoint holds."""

    params: Any
    prior: LatentPrior
    posterior: Posterior
    row_optimiser: optax.OptState
    shared_optimiser: optax.OptState
    log_beta: Float[Array, ""]
    round: Array


class RoundReport(NamedTuple):
    """Averages over the last steps of a round."""

    mse: Array
    kl_bits: Array


def initial_state(config: TrainConfig, rows: int) -> TrainState:
    """State before the first round."""
    loc, scale = initial_prior(config.network, config.seed)
    _, params = nnx.split(Siren(config.network))
    posterior = initial_posterior(rows, config.network.n_latents)
    return TrainState(
        params=params,
        prior=LatentPrior(loc=jnp.asarray(loc), scale=jnp.asarray(scale)),
        posterior=posterior,
        row_optimiser=jax.vmap(adam().init)(posterior),
        shared_optimiser=adam().init(params),
        log_beta=jnp.float32(math.log(4e-6 / config.rate)),
        round=jnp.int32(0),
    )


def learning_rate(config: TrainConfig, progress: Array) -> Array:
    """Warm-up over the first 2 %, then a cosine to zero; a factor of both learning rates."""
    return jnp.minimum(progress / 0.02 + 0.05, 1.0) * 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(progress, 0, 1)))


def batch_rows(config: TrainConfig, rows: int, round_number: int) -> np.ndarray:
    """Signals of one round: consecutive slices of a fresh permutation every pass over the data."""
    size = min(config.batch, rows)
    if size > TRAINING_ROWS:
        size -= size % TRAINING_ROWS
    per_pass = max(rows // size, 1)
    rng = np.random.default_rng([config.seed, round_number // per_pass])
    start = (round_number % per_pass) * size
    return rng.permutation(rows)[start : start + size]


def make_round(config: TrainConfig):
    """The compiled function of one round: (state, targets of the batch, rows, key) -> (state, report)."""
    graph = nnx.split(Siren(config.network))[0]
    target_nats = config.rate * config.network.n_points * math.log(2)

    def gradients(params, prior, posterior, beta, noise, targets):
        """Summed over row chunks for the shared parameters, stacked for the posteriors."""

        def loss(params, posterior, noise, part):
            network = Network(graph, params, prior)
            error = distortion(network, posterior.sample(noise), part)
            kl = posterior.kl_nats().sum(1)
            return jnp.sum(error + beta * kl), (jnp.mean(error), jnp.mean(kl))

        def chunk(total, args):
            posterior, noise, values, weights = args
            part = Targets(values=values, weights=weights, points=targets.points)
            (shared, own), report = jax.grad(loss, argnums=(0, 1), has_aux=True)(params, posterior, noise, part)
            return jax.tree.map(jnp.add, total, shared), (own, report)

        args = (posterior, noise, targets.values, targets.weights)
        chunks = max(len(noise) // TRAINING_ROWS, 1)
        split = jax.tree.map(lambda leaf: leaf.reshape(chunks, -1, *leaf.shape[1:]), args)
        shared, (own, report) = jax.lax.scan(chunk, jax.tree.map(jnp.zeros_like, params), split)
        own = jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), own)
        return shared, own, jax.tree.map(jnp.mean, report)

    def step(carry, inputs):
        params, posterior, row_optimiser, shared_optimiser, log_beta, prior, targets, rate, steer = carry
        index, key = inputs
        subset = take_subset(targets, index % len(targets.points))
        noise = jax.random.normal(key, posterior.mean.shape, posterior.mean.dtype)
        shared, own, (mse, kl) = gradients(params, prior, posterior, jnp.exp(log_beta), noise, subset)
        own, row_optimiser = jax.vmap(adam().update)(own, row_optimiser)
        shared, shared_optimiser = adam().update(shared, shared_optimiser)
        posterior = jax.tree.map(lambda p, u: p - config.lr * rate * u, posterior, own)
        params = jax.tree.map(lambda p, u: p - config.lr_shared * rate * u, params, shared)
        log_beta += steer * jnp.clip(jnp.log(kl / target_nats), -1, 1)
        carry = params, posterior, row_optimiser, shared_optimiser, log_beta, prior, targets, rate, steer
        return carry, RoundReport(mse, kl / math.log(2))

    @jax.jit(donate_argnums=0)
    def run(state: TrainState, targets: Targets, rows: Array, key: Array) -> tuple[TrainState, RoundReport]:
        posterior, row_optimiser = jax.tree.map(lambda leaf: leaf[rows], (state.posterior, state.row_optimiser))
        progress = state.round.astype(jnp.float32) / config.rounds
        rate = learning_rate(config, progress)
        # At first KL grows because the network learns, which is no reason to lower its price.
        steer = jnp.where(progress < 0.1, 0.0, config.steering)
        carry = (
            state.params, posterior, row_optimiser, state.shared_optimiser, state.log_beta, state.prior, targets,
            rate, steer,
        )  # fmt: skip
        inputs = jnp.arange(ROUND_STEPS), jax.random.split(key, ROUND_STEPS)
        carry, report = jax.lax.scan(step, carry, inputs)
        params, posterior, row_optimiser, shared_optimiser, log_beta, *_ = carry
        posterior, row_optimiser = jax.tree.map(
            lambda whole, part: whole.at[rows].set(part),
            (state.posterior, state.row_optimiser),
            (posterior, row_optimiser),
        )
        prior, posterior, unit = refit_prior(state.prior, posterior)
        row_optimiser = _rescale_moments(row_optimiser, unit)
        state = TrainState(
            params=params,
            prior=prior,
            posterior=posterior,
            row_optimiser=row_optimiser,
            shared_optimiser=shared_optimiser,
            log_beta=log_beta,
            round=state.round + 1,
        )
        return state, jax.tree.map(lambda leaf: leaf[-2 * len(targets.points) :].mean(), report)

    return run


def _rescale_moments(row_optimiser, unit):
    """Adam's moments of the means after their unit grew by ``unit``."""
    return row_optimiser._replace(
        mu=row_optimiser.mu.replace(mean=row_optimiser.mu.mean * unit[None]),
        nu=row_optimiser.nu.replace(mean=row_optimiser.nu.mean * unit[None] ** 2),
    )


def round_key(config: TrainConfig, round_number: int) -> Array:
    """Noise of a round depends on its number only, so that a resumed run repeats an undisturbed one."""
    return jax.random.fold_in(jax.random.key(config.seed), round_number)


def select_targets(targets: Targets, rows: np.ndarray) -> Targets:
    """Targets of some rows."""
    return dataclasses.replace(targets, values=targets.values[:, rows], weights=targets.weights[:, rows])


def training_targets(images: np.ndarray, config: TrainConfig) -> Targets:
    """Targets of ``uint8[M, *grid, channels]``.

    Raises:
      ValueError: the images do not have the network's shape, or are fewer than 2.
    """
    wanted = (*config.network.grid, config.network.channels)
    if images.dtype != np.uint8 or images.shape[1:] != wanted:
        raise ValueError(f"images must be uint8[M, {', '.join(map(str, wanted))}], got {images.dtype}{images.shape}")
    if len(images) < 2:
        raise ValueError(f"images: a prior needs at least 2 signals, got {len(images)}")
    return make_targets(images)
