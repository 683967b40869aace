"""A learned transform: pixels from a pyramid of grids of Gaussian latents.

A cell of a level is 2 x 2 cells of the level below; a cell of the lowest is a few pixels. From the top down, all mixing
by products around the corners between cells (:mod:`recjax.codec.corners`):

* the *context* of a cell, from the level above: mean and gain of its latents. A latent z ~ N(0, 1) becomes the
  coefficient mean + gain z, so that the gain is the scale of the coefficient's prior: the scale hyperprior of Balle et
  al. (ICLR 2018) as a part of the network, so that the coder sees independent N(0, 1);
* a linear *synthesis*: the first coefficients of every cell are predicted by a lapped transform of the level above,
  and pixels are one of the lowest level. Learning starts from the Karhunen-Loeve transform of blocks, and of 2 x 2
  blocks of their first coefficients, and so on, as in a wavelet packet;
* a *correction* of the pixels by a small network, from the lowest level's coefficients and context.

However many levels there are, a cell depends on itself, those next to it and what is above these.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from recjax.codec.corners import PRECISION, corner_product
from recjax.codec.transform.analysis import Analysis
from recjax.codec.transform.initial import Initial

_LARGEST_LOG_GAIN = 6.0
_HALF = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformConfig:
    """Architecture of a transform.

    Attributes:
      stride: side of a cell of the lowest level in pixels, a multiple of 4.
      depth: latents of such a cell.
      levels: of the pyramid; the side of a cell doubles from one to the next.
      context: latents of a cell of the other levels, besides the 4 for each channel that predict what is below.
      hidden: units of a cell's context.
      features: units of the correction at half resolution.
      channels: of a pixel.

    Raises:
      ValueError: a number is out of its range.
    """

    stride: int = 4
    depth: int = 48
    levels: int = 5
    context: int = 6
    hidden: int = 48
    features: int = 24
    channels: int = 3

    def __post_init__(self) -> None:
        for name in ("stride", "depth", "context", "hidden", "features", "channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.stride % 4:
            raise ValueError(f"stride must be a multiple of 4, got {self.stride}")
        if not 2 <= self.levels <= 8:
            raise ValueError(f"levels must be 2 to 8, got {self.levels}")
        if not self.channels <= self.depth <= self.stride**2 * self.channels:
            raise ValueError(
                f"depth must be {self.channels} to the {self.stride**2 * self.channels} values of a cell"
            )

    @property
    def cell(self) -> int:
        """Side of a cell of the top level, in pixels."""
        return self.stride << (self.levels - 1)

    @property
    def linear(self) -> tuple[int, ...]:
        """At every level, lowest first, the coefficients of a cell that the synthesis sees."""
        return (self.depth, *[4 * self.channels] * (self.levels - 1))

    @property
    def depths(self) -> tuple[int, ...]:
        """Latents of a cell at every level, lowest first."""
        return (self.depth, *[4 * self.channels + self.context] * (self.levels - 1))

    @property
    def factors(self) -> tuple[int, ...]:
        """Sides of a cell in those of the level below, lowest first."""
        return (self.stride, *[2] * (self.levels - 1))


class Context(NamedTuple):
    """What the levels above say of the cells of a level and of one beyond each edge."""

    hidden: Float[Array, "n height+2 width+2 hidden"]
    mean: Float[Array, "n height+2 width+2 depth"]
    log_gain: Float[Array, "n height+2 width+2 depth"]

    def inside(self) -> "Context":
        """Without the cells beyond the edges."""
        return Context(*(x[:, 1:-1, 1:-1] for x in self))

    def coefficients(self, latents: Float[Array, "n height+2 width+2 depth"]) -> Array:
        return self.mean + jnp.exp(self.log_gain) * latents


class Level(nnx.Module):
    """One level: its context from the level above, and the synthesis of what is below."""

    def __init__(self, config: TransformConfig, level: int, initial: Initial):
        depth, hidden = config.depths[level], config.hidden
        self.log_gain = initial.vector(depth)
        self.synthesis = initial.matrix(
            4 * config.linear[level], config.factors[level] ** 2 * config.channels
        )
        if level + 1 < config.levels:
            above = config.depths[level + 1] + (hidden if level + 2 < config.levels else 0)
            self.upper_gain = initial.vector(config.depths[level + 1])
            self.kernels = nnx.List(
                [
                    initial.matrix(4 * above, 4 * hidden),
                    initial.matrix(hidden, hidden),
                    initial.matrix(hidden, 2 * depth, 0.01),
                ]
            )
            self.biases = nnx.List(
                [initial.vector(hidden), initial.vector(hidden), initial.vector(2 * depth)]
            )


class Transform(nnx.Module):
    """The network that all images share.

    Args:
      config: architecture.
      seed: of the initial matrices; if None they are 0.
    """

    def __init__(self, config: TransformConfig, seed: int | None = None):
        self.config = config
        initial = Initial(seed)
        hidden, features, channels = config.hidden, config.features, config.channels
        self.levels = nnx.List([Level(config, level, initial) for level in range(config.levels)])
        self.synthesis_bias = initial.vector(channels)
        self.correction = nnx.List(
            [
                initial.matrix(config.depth + hidden, hidden),
                initial.matrix(4 * hidden, (config.stride // _HALF) ** 2 * features),
                initial.matrix(features, features),
                initial.matrix(4 * features, _HALF**2 * channels, 0.01),
            ]
        )
        self.correction_biases = nnx.List(
            [initial.vector(size) for size in (hidden, features, features, channels)]
        )
        self.analysis = Analysis(
            config.linear, config.depths, config.factors, config.hidden, config.channels, initial
        )

    def top(self, n: int, height: int, width: int) -> Context:
        """The context of the top level of ``n`` images of so many cells: nothing is above."""
        log_gain = self.levels[-1].log_gain[...]
        cells, depth = (n, height + 2, width + 2), log_gain.size
        gains = jnp.broadcast_to(_wide(log_gain), (*cells, depth))
        return Context(
            jnp.zeros((*cells, 0), jnp.float32), jnp.zeros((*cells, depth), jnp.float32), gains
        )

    def context(
        self, level: int, above: Context, coefficients: Float[Array, "n height+2 width+2 depth"]
    ) -> Context:
        """The context of a level's cells.

        Args:
          level: 0 is the lowest.
          above: context of the level above.
          coefficients: of the level above.
        """
        own, upper = self.levels[level], self.levels[level + 1]
        up, mix, head = own.kernels
        x = coefficients * jnp.exp(_wide(own.upper_gain[...] - upper.log_gain[...]))
        x = jnp.concatenate([x, above.hidden], axis=-1)
        x = jax.nn.gelu(corner_product(x, up[...], 2) + _wide(own.biases[0]))
        hidden = jax.nn.gelu(_each(x, mix, own.biases[1]))
        mean, log_gain = jnp.split(_each(hidden, head, own.biases[2]), 2, axis=-1)
        gain = _wide(own.log_gain)
        log_gain = gain + _LARGEST_LOG_GAIN * jnp.tanh(log_gain / _LARGEST_LOG_GAIN)
        predicted = corner_product(
            coefficients[..., : self.config.linear[level + 1]], upper.synthesis[...], 2
        )
        padding = ((0, 0),) * 3 + ((0, mean.shape[-1] - predicted.shape[-1]),)
        return Context(hidden, mean * jnp.exp(gain) + jnp.pad(predicted, padding), log_gain)

    def pixels(
        self, context: Context, coefficients: Float[Array, "n height+2 width+2 depth"]
    ) -> Float[Array, "n pixels_down pixels_across channels"]:
        """Pixels of the cells inside, from the lowest level."""
        config, half = self.config, self.config.stride // 2
        height, width = ((n - 2) * config.stride for n in coefficients.shape[1:3])
        values = corner_product(coefficients, self.levels[0].synthesis[...], config.stride)
        values = values[:, half : half + height, half : half + width] + _wide(self.synthesis_bias)
        relative = coefficients * jnp.exp(-_wide(self.levels[0].log_gain))
        return values + self._corrections(
            jnp.concatenate([relative, context.hidden], axis=-1), height, width
        )

    def decode(
        self, latents: Sequence[Float[Array, "n height+2 width+2 depth"]]
    ) -> Float[Array, "n pixels_down pixels_across channels"]:
        """Pixels from the latents of all levels.

        Args:
          latents: lowest level first, each with one cell beyond every edge: 0 beyond the image, or that of a neighbour
            if this is a part of one.
        """
        n, height, width, _ = latents[-1].shape
        context = self.top(n, height - 2, width - 2)
        coefficients = context.coefficients(latents[-1])
        for level in reversed(range(self.config.levels - 1)):
            context = self.context(level, context, coefficients)
            coefficients = context.coefficients(latents[level])
        return self.pixels(context, coefficients)

    def _corrections(self, cells, height, width):
        first, up, flat, last = self.correction
        b_first, b_up, b_flat, b_last = self.correction_biases
        factor = self.config.stride // _HALF
        start = factor // 2 - 1
        x = jax.nn.gelu(_each(cells, first, b_first))
        x = corner_product(x, up[...], factor)
        # one pixel of half resolution beyond the edges, for the corners on them
        x = x[:, start : start + height // _HALF + 2, start : start + width // _HALF + 2]
        x = jax.nn.gelu(_each(jax.nn.gelu(x + _wide(b_up)), flat, b_flat))
        x = corner_product(x, last[...], _HALF)
        return x[:, 1 : 1 + height, 1 : 1 + width] + _wide(b_last)


def bordered(
    latents: Float[Array, "n height width depth"],
) -> Float[Array, "n height+2 width+2 depth"]:
    """The latents of an image with those of the cells beyond its edges, which are 0."""
    return jnp.pad(latents, ((0, 0), (1, 1), (1, 1), (0, 0)))


def _wide(vector):
    """A vector as it applies to every cell of every image."""
    return vector[...][None, None, None]


def _each(x, kernel, bias):
    """A layer applied to every cell."""
    return jnp.matmul(x, kernel[...], precision=PRECISION) + _wide(bias)
