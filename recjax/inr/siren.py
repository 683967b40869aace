"""SIREN networks whose weights are latents times a learned matrix per layer.

SIREN: Sitzmann et al., NeurIPS 2020. Linear reparameterisation w = h A: RECOMBINER (He et al., ICLR
2024), section 3.1; ``reparameterise=False`` is COMBINER (Guo et al., NeurIPS 2023), w = h.

Every row of a batch has weights of its own, so a layer is a batched product of small matrices. Rows come
first and points last throughout: then no product and no gradient needs a transposed copy.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from recjax.inr.features import fourier_features, pixel_centres
from recjax.inr.sine import sine_turns

PRECISION = jax.lax.Precision.HIGHEST


@dataclasses.dataclass(frozen=True, kw_only=True)
class SirenConfig:
    """Architecture of one network.

    Attributes:
      grid: cells of a patch per axis, e.g. ``(32, 32)``.
      channels: output values a cell.
      width, layers: hidden width, and number of linear layers including the last.
      features: input features a cell.
      max_frequency: highest Fourier frequency, see :func:`recjax.inr.fourier_features`.
      omega: frequency scale of the sine, w0 in SIREN.
      reparameterise: whether weights are latents times a learned matrix.
      learn_features: whether the (shared) input features are trained with the matrices, starting from the
        Fourier features. Neither paper does so; on 32x32 images it gains about 3 dB at equal rate.
    """

    grid: tuple[int, ...] = (32, 32)
    channels: int = 3
    width: int = 16
    layers: int = 4
    features: int = 32
    max_frequency: float = 16.0
    omega: float = 30.0
    reparameterise: bool = True
    learn_features: bool = True

    def __post_init__(self):
        for name in ("channels", "width", "layers", "features"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.grid or min(self.grid) < 1:
            raise ValueError(f"grid must have positive sides, got {self.grid}")

    @property
    def layer_dims(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of every linear layer."""
        hidden = [self.features] + [self.width] * (self.layers - 1)
        return tuple(zip(hidden, [*hidden[1:], self.channels], strict=True))

    @property
    def latent_groups(self) -> tuple[tuple[str, int], ...]:
        """Name and size of every latent group, in coding order: bias and weights of each layer."""
        return tuple((f"layer{i}", (n_in + 1) * n_out) for i, (n_in, n_out) in enumerate(self.layer_dims))

    @property
    def n_latents(self) -> int:
        return sum(size for _, size in self.latent_groups)

    @property
    def n_points(self) -> int:
        return math.prod(self.grid)


class Siren(nnx.Module):
    """The shared part of all networks: input features and one matrix per layer."""

    def __init__(self, config: SirenConfig):
        self.config = config
        features = fourier_features(pixel_centres(config.grid), config.features, config.max_frequency)
        self.features = nnx.Param(jnp.asarray(features))
        if config.reparameterise:
            self.matrices = nnx.List([nnx.Param(jnp.eye(size)) for _, size in config.latent_groups])

    def __call__(
        self, latents: Float[Array, "rows latents"], points: Float[Array, "points"]
    ) -> Float[Array, "rows channels points"]:
        """Evaluates every row's network at the given grid cells (integer indices)."""
        config = self.config
        table = self.features[...] if config.learn_features else jax.lax.stop_gradient(self.features[...])
        first, *rest = self._weights(latents)
        # All rows see the same input, so the first layer is a single large product.
        inputs = table[points]
        hidden = jnp.matmul(first[:, :, 1:].reshape(-1, config.features), inputs.T, precision=PRECISION)
        hidden = hidden.reshape(len(latents), -1, len(points)) + first[:, :, :1]
        for weights in rest:
            hidden = _row_matmul(weights[:, :, 1:], sine_turns(hidden)) + weights[:, :, :1]
        return hidden

    def _weights(self, latents):
        """Per layer ``[rows, outputs, 1 + inputs]``, bias first."""
        layers, start = [], 0
        for i, (n_in, n_out) in enumerate(self.config.layer_dims):
            size = (n_in + 1) * n_out
            flat = latents[:, start : start + size]
            if self.config.reparameterise:
                flat = jnp.matmul(flat, self.matrices[i][...], precision=PRECISION)
            layers.append(flat.reshape(len(latents), n_out, n_in + 1))
            start += size
        return layers


def initial_prior(config: SirenConfig, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the latents before training, ``float32[n_latents]`` each.

    SIREN's own scales, in turns: activations are sin(2 pi turns), so w0 / (2 pi) is part of the weights.
    """
    rng = np.random.default_rng(seed)
    means, stds = [], []
    for i, (n_in, n_out) in enumerate(config.layer_dims):
        std = 1 / n_in if i == 0 else math.sqrt(2 / n_in) / config.omega
        std *= config.omega / (2 * math.pi) if i < config.layers - 1 else config.omega / 2
        means.append(std * rng.standard_normal((n_in + 1) * n_out))
        stds.append(np.full((n_in + 1) * n_out, std / 2))
    return np.concatenate(means).astype(np.float32), np.concatenate(stds).astype(np.float32)


@jax.custom_vjp
def _row_matmul(weights, hidden):
    return jax.lax.dot_general(weights, hidden, (((2,), (1,)), ((0,), (0,))), precision=PRECISION)


def _row_matmul_forward(weights, hidden):
    return _row_matmul(weights, hidden), (weights, hidden)


def _row_matmul_backward(saved, cotangent):
    # The default rule transposes its results, which XLA turns into copies of the activations.
    weights, hidden = saved
    to_weights = jax.lax.dot_general(cotangent, hidden, (((2,), (2,)), ((0,), (0,))), precision=PRECISION)
    to_hidden = jax.lax.dot_general(weights, cotangent, (((1,), (1,)), ((0,), (0,))), precision=PRECISION)
    return to_weights, to_hidden


_row_matmul.defvjp(_row_matmul_forward, _row_matmul_backward)
