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
from jaxtyping import Array, Float, Int

from recjax.codec.siren.features import fourier_features, pixel_centres
from recjax.codec.siren.sine import sine_turns
from recjax.codec.siren.upsampler import EncodingConfig, Upsampler

PRECISION = jax.lax.Precision.HIGHEST


@dataclasses.dataclass(frozen=True, kw_only=True)
class SirenConfig:
    """Architecture of one network.

    Attributes:
      grid: cells of a patch per axis, e.g. ``(32, 32)``.
      channels: output values a cell.
      width: outputs of every hidden layer.
      layers: linear layers, including the last.
      features: input features a cell, a multiple of twice the number of axes.
      max_frequency: highest Fourier frequency, in half cycles per half a side of the grid.
      omega: frequency scale of the sine, w0 in SIREN.
      reparameterise: whether weights are latents times a learned matrix.
      learn_features: whether the (shared) input features are trained with the matrices, starting from the
        Fourier features. Neither paper does so; on 32x32 images it gains about 3 dB at equal rate.
      encoding: positional encodings, which follow the input features; none by default.
      latents: latents of each layer once those without information are dropped, after training; None means
        one for each weight.

    Raises:
      ValueError: a number is out of its range.
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
    encoding: EncodingConfig = dataclasses.field(default_factory=EncodingConfig)
    latents: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("channels", "width", "layers", "features"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("max_frequency", "omega"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not self.grid or min(self.grid) < 1:
            raise ValueError(f"grid must have positive sides, got {self.grid}")
        if self.features % (2 * len(self.grid)):
            raise ValueError(
                f"features must be a multiple of {2 * len(self.grid)}, got {self.features}"
            )
        if self.encoding.depth and self.grid != self.encoding.grid:
            raise ValueError(
                f"cells times factors must be the grid {self.grid}, got {self.encoding.grid}"
            )
        if self.latents is not None:
            sizes = self.layer_sizes
            if len(self.latents) != len(sizes) or not all(
                0 <= n <= m for n, m in zip(self.latents, sizes, strict=True)
            ):
                raise ValueError(f"latents must be at most {sizes}, got {self.latents}")

    @property
    def layer_dims(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of every linear layer."""
        inputs = self.features + (self.encoding.encodings if self.encoding.depth else 0)
        hidden = [inputs] + [self.width] * (self.layers - 1)
        return tuple(zip(hidden, [*hidden[1:], self.channels], strict=True))

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Biases and weights of every layer."""
        return tuple((n_in + 1) * n_out for n_in, n_out in self.layer_dims)

    @property
    def layer_latents(self) -> tuple[int, ...]:
        """Latents of every layer."""
        return self.layer_sizes if self.latents is None else self.latents

    @property
    def n_weight_latents(self) -> int:
        return sum(self.layer_latents)

    @property
    def n_latents(self) -> int:
        """Latents of a patch: of its weights, then of its grid."""
        return self.n_weight_latents + math.prod(self.encoding.shape)

    @property
    def n_points(self) -> int:
        return math.prod(self.grid)

    @property
    def grid_shape(self) -> tuple[int, int, int] | None:
        """Cells of a patch and the latents of each, if there is a grid."""
        return self.encoding.shape if self.encoding.depth else None

    @property
    def split(self) -> str:
        """What a gradient step sees of the grid: see :func:`recjax.codec.siren.targets.make_targets`."""
        return "phases" if self.encoding.depth else "random"


class Siren(nnx.Module):
    """The shared part of all networks: input features and one matrix per layer."""

    def __init__(self, config: SirenConfig):
        self.config = config
        features = fourier_features(
            pixel_centres(config.grid), config.features, config.max_frequency
        )
        self.features = nnx.Param(jnp.asarray(features))
        groups = list(zip(config.layer_latents, config.layer_sizes, strict=True))
        if config.reparameterise or config.latents is not None:
            self.matrices = nnx.List(
                [nnx.Param(jnp.eye(n, size, dtype=jnp.float32)) for n, size in groups]
            )
        if config.latents is not None:
            self.offsets = nnx.List([nnx.Param(jnp.zeros(size, jnp.float32)) for _, size in groups])
        if config.encoding.depth:
            self.upsampler = Upsampler(config.encoding)

    def __call__(
        self,
        latents: Float[Array, "rows latents"],
        points: Int[Array, "points"],
        grids: Float[Array, "rows height width depth"] | None = None,
        phase: Int[Array, ""] | None = None,
    ) -> Float[Array, "rows channels points"]:
        """Evaluates every row's network at the given grid cells.

        Args:
          latents: of the weights.
          points: numbers of the cells, row-major; with ``grids`` these must be all cells, or all of a phase.
          grids, phase: see :class:`recjax.codec.siren.upsampler.Upsampler`.
        """
        config = self.config
        table = (
            self.features[...]
            if config.learn_features
            else jax.lax.stop_gradient(self.features[...])
        )
        first, *rest = self._weights(latents)
        # All rows see the same input, so the first layer is a single large product.
        inputs = table[points]
        shared = first[:, :, 1 : 1 + config.features].reshape(-1, config.features)
        hidden = jnp.matmul(shared, inputs.T, precision=PRECISION)
        hidden = hidden.reshape(len(latents), -1, len(points)) + first[:, :, :1]
        if grids is not None:
            encodings = self.upsampler(grids, phase).swapaxes(1, 2)
            hidden = hidden + _row_matmul(first[:, :, 1 + config.features :], encodings)
        for weights in rest:
            hidden = _row_matmul(weights[:, :, 1:], sine_turns(hidden)) + weights[:, :, :1]
        return hidden

    def _weights(self, latents):
        """Per layer ``[rows, outputs, 1 + inputs]``, bias first."""
        config, layers, start = self.config, [], 0
        for i, (size, (n_in, n_out)) in enumerate(
            zip(config.layer_latents, config.layer_dims, strict=True)
        ):
            flat = latents[:, start : start + size]
            if config.reparameterise or config.latents is not None:
                flat = jnp.matmul(flat, self.matrices[i][...], precision=PRECISION)
            if config.latents is not None:
                flat = flat + self.offsets[i][...][None]
            layers.append(flat.reshape(len(latents), n_out, n_in + 1))
            start += size
        return layers


def pruned(
    config: SirenConfig, params: nnx.State, loc: np.ndarray, kept: np.ndarray
) -> tuple[SirenConfig, nnx.State]:
    """The same network with the latents outside ``kept`` fixed to ``loc``, and all latents centred there.

    Args:
      config, params: of a network as trained.
      loc: ``[n_weight_latents]``, prior mean of the weights' latents.
      kept: ``bool[n_weight_latents]``, latents that remain.

    Returns:
      Configuration and parameters of a network of the ``kept.sum()`` centred latents.
    """
    ends = np.cumsum(config.layer_sizes)[:-1]
    small = dataclasses.replace(
        config, latents=tuple(int(part.sum()) for part in np.split(kept, ends))
    )
    old, new = nnx.to_pure_dict(params), nnx.split(nnx.eval_shape(lambda: Siren(small)))[1]
    maps = (
        [np.asarray(m) for _, m in sorted(old["matrices"].items())]
        if config.reparameterise
        else None
    )
    maps = maps or [np.eye(size, dtype=np.float32) for size in config.layer_sizes]
    parts = list(zip(maps, np.split(loc, ends), np.split(kept, ends), strict=True))
    values = old | {
        "features": np.asarray(old["features"]),
        "matrices": {i: matrix[keep] for i, (matrix, _, keep) in enumerate(parts)},
        "offsets": {i: mean @ matrix for i, (matrix, mean, _) in enumerate(parts)},
    }
    nnx.replace_by_pure_dict(new, values)
    return small, new


def initial_prior(config: SirenConfig, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of a patch's latents before training, ``float32[n_latents]`` each.

    SIREN's own scales, in turns: activations are sin(2 pi turns), so w0 / (2 pi) is part of the weights.
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
    stds.append(np.full(n_cells, 0.05))  # small: at first it is noise in the input
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
