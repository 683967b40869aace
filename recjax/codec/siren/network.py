"""SIREN networks whose weights are latents times a learned matrix per layer.

SIREN: Sitzmann et al., NeurIPS 2020. Linear reparameterisation w = h A: RECOMBINER (He et al., ICLR
2024), section 3.1; ``reparameterise=False`` is COMBINER (Guo et al., NeurIPS 2023), w = h.

A network is a configuration and a nested dict of arrays, the parameters that all patches share:

- ``features``: input features, ``[points, features]``;
- ``matrices``: a matrix per layer, ``[latents, weights]``;
- ``offsets``: weights of every layer where all latents are 0, once the prior's mean is moved there;
- ``upsampler``: see `recjax.codec.siren.upsampler`.

Every row of a batch has its weights, so a layer is a batched product of small matrices. Rows come
first and points last throughout: then no product and no gradient needs a transposed copy.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int

from recjax.codec.siren.features import fourier_features, pixel_centres
from recjax.codec.siren.settings import SirenConfig
from recjax.codec.siren.sine import sine_turns
from recjax.codec.siren.upsampler import initial_upsampler, upsampled

PRECISION = jax.lax.Precision.HIGHEST


def initial_network(config: SirenConfig) -> dict[str, Any]:
    """The shared parameters before training: Fourier features and identity matrices."""
    features = fourier_features(pixel_centres(config.grid), config.features, config.max_frequency)
    params: dict[str, Any] = {"features": jnp.asarray(features)}
    if config.mixes:
        params["matrices"] = [jnp.eye(size, dtype=jnp.float32) for size in config.layer_sizes]
    if config.encoding.depth:
        params["upsampler"] = initial_upsampler(config.encoding)
    return params


def network_values(
    config: SirenConfig,
    params: dict[str, Any],
    latents: Float[Array, "rows latents"],
    points: Int[Array, "points"],
    grids: Float[Array, "rows *bordered_cells depth"] | None = None,
    phase: Int[Array, ""] | None = None,
) -> Float[Array, "rows channels points"]:
    """Evaluates every row's network at the given points.

    Args:
        config: the architecture.
        params: arrays that `recjax.codec.siren.settings.network_shapes` describes.
        latents: latents of the weights.
        points: numbers of the points, row-major; with ``grids`` these must be all points, or all of
            a phase.
        grids: latent grids with their borders, see `recjax.codec.siren.upsampler.upsampled`.
        phase: the phase of the points, likewise.
    """
    table = params["features"]
    table = table if config.learn_features else jax.lax.stop_gradient(table)
    first, *rest = _weights(config, params, latents)
    # All rows see the same input, so the first layer is a single large product.
    inputs = table[points]
    shared = first[:, :, 1 : 1 + config.features].reshape(-1, config.features)
    hidden = jnp.matmul(shared, inputs.T, precision=PRECISION)
    hidden = hidden.reshape(len(latents), -1, len(points)) + first[:, :, :1]
    if grids is not None:
        encodings = upsampled(config.encoding, params["upsampler"], grids, phase).swapaxes(1, 2)
        hidden = hidden + _row_matmul(first[:, :, 1 + config.features :], encodings)
    for weights in rest:
        hidden = _row_matmul(weights[:, :, 1:], sine_turns(hidden)) + weights[:, :, :1]
    return hidden


def _weights(config, params, latents):
    """Per layer ``[rows, outputs, 1 + inputs]``, bias first."""
    layers, start = [], 0
    for i, (size, (n_in, n_out)) in enumerate(
        zip(config.layer_latents, config.layer_dims, strict=True)
    ):
        flat = latents[:, start : start + size]
        if config.mixes:
            flat = jnp.matmul(flat, params["matrices"][i], precision=PRECISION)
        if config.latents is not None:
            flat = flat + params["offsets"][i][None]
        layers.append(flat.reshape(len(latents), n_out, n_in + 1))
        start += size
    return layers


def pruned(
    config: SirenConfig,
    params: dict[str, Any],
    loc: Float32[np.ndarray, "weight_latents"],
    kept: Bool[np.ndarray, "weight_latents"],
) -> tuple[SirenConfig, dict[str, Any]]:
    """Fixes the latents outside ``kept`` to their prior means and centres all others there.

    Args:
        config: architecture of a network as trained.
        params: its parameters.
        loc: prior mean of the weights' latents.
        kept: latents that remain.

    Returns:
        Configuration and parameters of a network of the ``kept.sum()`` centred latents.
    """
    ends = np.cumsum(config.layer_sizes)[:-1]
    means, remaining = np.split(loc, ends), np.split(kept, ends)
    small = dataclasses.replace(config, latents=tuple(int(part.sum()) for part in remaining))
    if config.mixes:
        matrices = [np.asarray(matrix) for matrix in params["matrices"]]
    else:
        matrices = [np.eye(size, dtype=np.float32) for size in config.layer_sizes]
    return small, params | {
        "matrices": [matrix[keep] for matrix, keep in zip(matrices, remaining, strict=True)],
        "offsets": [mean @ matrix for matrix, mean in zip(matrices, means, strict=True)],
    }


def initial_prior(
    config: SirenConfig, seed: int
) -> tuple[Float32[np.ndarray, "latents"], Float32[np.ndarray, "latents"]]:
    """Mean and standard deviation of a patch's latents before training.

    SIREN's scales, in turns: activations are sin(2 pi turns), so w0 / (2 pi) is part of the
    weights.
    """
    rng = np.random.default_rng(seed)
    means, stds = [], []
    for i, (n_in, n_out) in enumerate(config.layer_dims):
        std = 1 / n_in if i == 0 else math.sqrt(2 / n_in) / config.omega
        std *= config.omega / (2 * math.pi) if i < config.layers - 1 else config.omega / 2
        means.append(std * rng.standard_normal((n_in + 1) * n_out))
        stds.append(np.full((n_in + 1) * n_out, std / 2))
    n_cells = math.prod(config.encoding.shape)
    means.append(np.zeros(n_cells))
    stds.append(np.full(n_cells, 0.05))  # small: at first the grid is noise in the input
    return np.concatenate(means).astype(np.float32), np.concatenate(stds).astype(np.float32)


@jax.custom_vjp
def _row_matmul(weights, hidden):
    return jax.lax.dot_general(weights, hidden, (((2,), (1,)), ((0,), (0,))), precision=PRECISION)


def _row_matmul_forward(weights, hidden):
    return _row_matmul(weights, hidden), (weights, hidden)


def _row_matmul_backward(saved, cotangent):
    # The default rule transposes its results, which XLA turns into copies of the activations.
    weights, hidden = saved
    to_weights = jax.lax.dot_general(
        cotangent, hidden, (((2,), (2,)), ((0,), (0,))), precision=PRECISION
    )
    to_hidden = jax.lax.dot_general(
        weights, cotangent, (((1,), (1,)), ((0,), (0,))), precision=PRECISION
    )
    return to_weights, to_hidden


_row_matmul.defvjp(_row_matmul_forward, _row_matmul_backward)
