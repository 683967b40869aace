"""Settings: the architecture of a network and of its positional encodings, and a training run."""

import dataclasses
import math
from typing import Any

import numpy as np
from jaxtyping import Float32

from recjax.codec.siren.layout import kinds, n_rows


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodingConfig:
    """Latent grid of a patch, and the network from it to features of every point.

    Attributes:
        depth: latents per cell; 0 means no positional encodings.
        cells: cells of a patch along every axis; times the product of ``factors`` it is the patch.
        factors: upsampling of every layer, the same along all axes; even numbers.
        hidden: outputs of every layer but the last.
        encodings: features per point.

    Raises:
        ValueError: a number is out of its range.
    """

    depth: int = 0
    cells: tuple[int, ...] = (8, 8)
    factors: tuple[int, ...] = (4,)
    hidden: tuple[int, ...] = ()
    encodings: int = 8

    def __post_init__(self) -> None:
        if self.depth < 0:
            raise ValueError(f"depth must not be negative, got {self.depth}")
        if not self.cells or min(self.cells) < 1:
            raise ValueError(f"cells must be positive, one number per axis, got {self.cells}")
        if not self.factors or any(factor < 2 or factor % 2 for factor in self.factors):
            raise ValueError(f"factors must be even, got {self.factors}")
        if len(self.hidden) != len(self.factors) - 1 or min((*self.hidden, self.encodings)) < 1:
            raise ValueError(
                "hidden and encodings must be positive, one per factor, "
                f"got {self.hidden, self.encodings}"
            )

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.cells)

    @property
    def grid(self) -> tuple[int, ...]:
        """Points of a patch along every axis."""
        return tuple(n * math.prod(self.factors) for n in self.cells)

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells of a patch along every axis, and latents per cell."""
        return (*self.cells, self.depth)

    @property
    def layer_dims(self) -> tuple[tuple[int, int, int], ...]:
        """Inputs, outputs and factor of every layer."""
        sizes = [self.depth, *self.hidden, self.encodings]
        return tuple(zip(sizes[:-1], sizes[1:], self.factors, strict=True))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SirenConfig:
    """Architecture of one network.

    Attributes:
        grid: points of a patch along every axis, e.g. ``(32, 32)``.
        channels: output values per point.
        width: outputs of every hidden layer.
        layers: linear layers, including the last.
        features: input features per point, a multiple of twice the number of axes.
        max_frequency: highest Fourier frequency, in half cycles per half a side of the grid.
        omega: frequency scale of the sine, w0 in SIREN.
        reparameterise: whether weights are latents times a learned matrix.
        learn_features: whether the (shared) input features are trained with the matrices, starting
            from the Fourier features. Neither paper does so; on 32x32 images it gains about 3 dB at
            equal rate.
        encoding: positional encodings, which follow the input features; none by default.
        latents: latents of each layer once those without information are dropped, after training;
            None means one for each weight.

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
        if self.features % (2 * self.rank):
            raise ValueError(f"features must be a multiple of {2 * self.rank}, got {self.features}")
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
    def rank(self) -> int:
        """Number of axes."""
        return len(self.grid)

    @property
    def layer_dims(self) -> tuple[tuple[int, int], ...]:
        """Inputs and outputs of every linear layer."""
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
    def mixes(self) -> bool:
        """Whether weights are latents times a matrix; dropping latents leaves rows of one."""
        return self.reparameterise or self.latents is not None

    @property
    def n_weight_latents(self) -> int:
        """Latents of all weights."""
        return sum(self.layer_latents)

    @property
    def n_latents(self) -> int:
        """Latents of a patch: of its weights, then of its grid."""
        return self.n_weight_latents + math.prod(self.encoding.shape)

    @property
    def n_points(self) -> int:
        """Points of a patch."""
        return math.prod(self.grid)

    @property
    def cells(self) -> tuple[int, ...] | None:
        """Cells of a patch's latent grid along every axis, if there is one."""
        return self.encoding.cells if self.encoding.depth else None

    @property
    def split(self) -> str:
        """Subsets of the points that gradient steps take: see `recjax.codec.siren.targets`."""
        return "phases" if self.encoding.depth else "random"


def network_shapes(config: SirenConfig) -> dict[str, Any]:
    """Shapes of the shared parameters, nested as prior files name them; zeros without memory."""
    rank, encoding = config.rank, config.encoding
    sizes = list(zip(config.layer_latents, config.layer_sizes, strict=True))
    shapes: dict[str, Any] = {"features": _zeros(config.n_points, config.features)}
    if config.mixes:
        shapes["matrices"] = [_zeros(n, size) for n, size in sizes]
    if config.latents is not None:
        shapes["offsets"] = [_zeros(size) for _, size in sizes]
    if encoding.depth:
        shapes["upsampler"] = {
            "kernels": [
                _zeros(2**rank * n_in, factor**rank * n_out)
                for n_in, n_out, factor in encoding.layer_dims
            ],
            "biases": [_zeros(n_out) for _, n_out, _ in encoding.layer_dims],
        }
    return shapes


def _zeros(*shape: int) -> Float32[np.ndarray, "..."]:
    return np.broadcast_to(np.float32(0), shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of a training run.

    Attributes:
        rate: wanted KL in bits per point (pixel), averaged over the training signals.
        rounds: rounds of 50 gradient steps; the learning rate falls to zero at the end.
        batch: patches per round. A round has complete signals, as many as fit, and rows are worked
            on in chunks of about 128: 1000 patches in signals of one become 896, seven chunks.
        lr: Adam's learning rate for the posteriors, in units of the prior's standard deviation.
        lr_shared: Adam's learning rate for matrices and features.
        steering: change of log beta per step and per nat by which log KL misses its goal.
        budget: bits of KL per block.
        scene: patches of a training signal along every axis. More than one are needed to learn
            seamless positional encodings and a hierarchy.
        levels: 1 for patches alone, 2 with a level above them for the signal, 3 with regions
            between.
        region: patches of a region along every axis.
        seed: seed of the initial network, the batches, the noise and the block partition.
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
    scene: tuple[int, ...] = (1, 1)
    levels: int = 1
    region: tuple[int, ...] = (4, 4)
    seed: int = 0
    network: SirenConfig = dataclasses.field(default_factory=SirenConfig)

    def __post_init__(self) -> None:
        for name in ("rate", "rounds", "batch", "lr", "lr_shared", "steering"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        if not 4 <= self.budget <= 20:
            raise ValueError(f"budget must be 4 to 20 bits, got {self.budget}")
        rank = self.network.rank
        if rank > 3:
            raise ValueError(f"grid must have at most 3 axes, got {self.network.grid}")
        for name in ("scene", "region"):
            sides = getattr(self, name)
            if len(sides) != rank or min(sides) < 1:
                raise ValueError(
                    f"{name} must be positive numbers of patches along {rank} axes, got {sides}"
                )
        if self.levels not in (1, 2, 3):
            raise ValueError(f"levels must be 1 to 3, got {self.levels}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        if self.network.latents is not None:
            raise ValueError(f"latents are chosen after training, got {self.network.latents}")

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of every group per signal."""
        return tuple(n_rows(kind, self.scene, self.region) for kind in kinds(self.levels))

    @property
    def n_points(self) -> int:
        """Points of a signal."""
        return math.prod(self.scene) * self.network.n_points

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of a training signal."""
        return tuple(n * count for n, count in zip(self.network.grid, self.scene, strict=True))
