"""State of the training of a prior: shared parameters, posteriors of all signals, optimisers."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from recjax.codec.siren.fit import adam
from recjax.codec.siren.network import initial_network, initial_prior
from recjax.codec.siren.posterior import LatentPrior, Posterior, initial_posterior
from recjax.codec.siren.settings import TrainConfig


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
