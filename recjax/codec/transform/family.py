"""Transforms for several rates at once: one family of parameters and its gradient step.

Every gradient step lowers distortion + beta KL (Kingma and Welling, ICLR 2014; for compression
Balle et al., ICLR 2018) on random crops, at one of the Lagrange multipliers beta ("prices") in
turn. All of them share the matrices; vectors (biases, gains, curvatures) belong to one price. So a
family of priors costs hardly more than one, to learn and to store.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float

from recjax import parallel
from recjax.codec.corners import lapped
from recjax.codec.transform.amortised import encode_sample, kl_nats
from recjax.codec.transform.karhunen_loeve import karhunen_loeve
from recjax.codec.transform.network import TransformNetwork
from recjax.codec.transform.network_module import PerPrice, Transform
from recjax.codec.transform.settings import TransformTraining

SLOW = {"lapped", "synthesis", "log_gain", "log_curvature", "upper_gain"}
"""Parameters that start near their optimum learn ten times slower."""


class FamilyParams(NamedTuple):
    """Parameters of a family: vectors, stacked along an axis of prices, and shared matrices."""

    vectors: nnx.State
    matrices: nnx.State


class TransformState(NamedTuple):
    """State of a training.

    Attributes:
        params: `FamilyParams`.
        optimiser: moments of the gradients.
        done: number of gradient steps done.
    """

    params: FamilyParams
    optimiser: optax.OptState
    done: Array


def graph_of(config: TransformTraining) -> nnx.GraphDef:
    """The structure of a transform without its parameters, for `model_at`."""
    return nnx.split(nnx.eval_shape(lambda: Transform(config.network)), PerPrice, ...)[0]


def model_at(graph: nnx.GraphDef, params: FamilyParams, price: int | Array) -> Transform:
    """The transform of one price."""
    return nnx.merge(graph, jax.tree.map(lambda x: x[price], params.vectors), params.matrices)


def initial_state(
    config: TransformTraining, signals: Sequence[Float[np.ndarray, "*_sides _channels"]]
) -> TransformState:
    """The state before the first step.

    Synthesis and analysis are Karhunen-Loeve transforms of the signals; the gains are the
    deviations of the coefficients.

    Args:
        config: settings of the training.
        signals: values in [-1/2, 1/2].
    """
    network, models = config.network, []
    bases = karhunen_loeve(network, signals, np.random.default_rng(config.seed))
    for price in config.prices:
        model = Transform(network, config.seed)
        # of the squared error of an orthonormal coefficient, over the price
        curvature = 2 / (network.channels * price)
        for level, (moments, blocks) in enumerate(bases):
            overlaps = [(f // 2, f // 2) for f in network.factors[level]]
            window = np.pad(blocks, [*overlaps, (0, 0), (0, 0)])
            synthesis, analysis = model.levels[level], model.analysis
            synthesis["synthesis"][...] = jnp.asarray(lapped(blocks))
            analysis["lapped"][level][...] = jnp.asarray(window.reshape(-1, window.shape[-1]))
            analysis["log_curvature"][level][...] += jnp.float32(math.log(curvature))
            gains = np.zeros(network.depths[level], np.float32)
            gains[: len(moments)] = 0.5 * np.log(moments)
            if level + 1 < network.levels:  # predicted from above, up to about the error that pays
                gains[: network.channels] = -0.5 * math.log(curvature)
            synthesis["log_gain"][...] = jnp.asarray(gains)
        models.append(nnx.split(model, PerPrice, ...)[1:])
    vectors = jax.tree.map(lambda *x: jnp.stack(x), *(vectors for vectors, _ in models))
    params = FamilyParams(vectors, models[0][1])
    return TransformState(
        params=params, optimiser=_optimiser(config).init(params), done=jnp.int32(0)
    )


def _optimiser(config):
    schedule = optax.warmup_cosine_decay_schedule(
        0, config.lr, min(100, config.steps), max(config.steps, 101), 0.02 * config.lr
    )

    def slowed(updates: Any) -> Any:
        def one(path, update):
            return 0.1 * update if SLOW & {getattr(key, "key", None) for key in path} else update

        return jax.tree_util.tree_map_with_path(one, updates)

    return optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.scale_by_adam(b2=0.99),
        optax.stateless(lambda updates, params: slowed(updates)),
        optax.scale_by_learning_rate(schedule),
    )


def elbo(
    network: TransformNetwork, values: Float[Array, "_n *_sides _channels"], key: Array
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean squared error and nats of KL per cell of the signal, at a posterior sample."""
    posteriors, decoded = encode_sample(network, values, key)
    kl = jnp.stack([kl_nats(posterior).sum() for posterior in posteriors]).sum()
    return jnp.mean((decoded - values) ** 2), kl / values[..., 0].size


def make_step(config: TransformTraining, devices: int = 1):
    """The compiled function of a step: (state, crops, key) -> (state, error and KL).

    Args:
        config: settings of the training.
        devices: number of devices.

    One step a dispatch: XLA's CPU backend convolves ten times slower inside a loop.
    """
    graph = graph_of(config)
    prices = jnp.asarray(config.prices, jnp.float32)
    optimiser = _optimiser(config)

    @jax.jit(donate_argnums=0)
    def step(state: TransformState, crops: Float[Array, "batch *sides channels"], key: Array):
        price = state.done % len(prices)

        def loss(params):
            noise = jax.random.fold_in(key, state.done)
            error, kl = elbo(model_at(graph, params, price).network(), crops, noise)
            total = error + prices[price] * kl
            # relative, so that no price outweighs the others
            return total / jax.lax.stop_gradient(total), (error, kl)

        gradient, report = jax.grad(loss, has_aux=True)(state.params)
        update, moments = optimiser.update(gradient, state.optimiser, state.params)
        state = TransformState(optax.apply_updates(state.params, update), moments, state.done + 1)
        return parallel.laid_out((state, jnp.stack(report)), devices)

    return step
