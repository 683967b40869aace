"""A learned transform: pixels from two grids of Gaussian latents, the finer one scaled by what the coarser one says.

What a patch is computed from is latents alone; the network is the same for all patches. Three parts, all of them
products around the corners between cells (:mod:`recjax.inr.corners`), with layers a cell in between:

* the *context*, from the coarse grid: for every fine cell the mean and the gain of its latents. A latent z ~ N(0, 1)
  becomes the coefficient mean + gain z, so that the gain is the scale of the coefficient's prior: the scale hyperprior
  of Balle et al. (ICLR 2018), as a part of the network, so that the block coder sees independent N(0, 1);
* a linear *synthesis*, from coefficients to pixels: a lapped transform, which learning starts from the Karhunen-Loeve
  transform of blocks;
* a *correction* by a small network, from coefficients and context to pixels.

A patch sees one coarse cell of each neighbour, so patches can be computed apart and have no seams.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from recjax.inr.corners import PRECISION, corner_product

_LARGEST_LOG_GAIN = 6.0
_HALF = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformConfig:
    """Architecture of a transform.

    Attributes:
      grid: height and width of a patch, in pixels.
      stride: side of a fine cell in pixels, a multiple of 4; a coarse cell is 2 x 2 fine ones.
      depth: latents of a fine cell.
      context: latents of a coarse cell.
      hidden: units of the layers a fine cell.
      features: units of the layers at half resolution.
      channels: of a pixel.

    Raises:
      ValueError: a number is out of its range.
    """

    grid: tuple[int, ...] = (64, 64)
    stride: int = 8
    depth: int = 96
    context: int = 8
    hidden: int = 64
    features: int = 24
    channels: int = 3

    def __post_init__(self):
        for name in ("stride", "depth", "context", "hidden", "features", "channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.stride % 4:
            raise ValueError(f"stride must be a multiple of 4, got {self.stride}")
        if len(self.grid) != 2 or any(side < 1 or side % (2 * self.stride) for side in self.grid):
            raise ValueError(f"grid must be two multiples of {2 * self.stride}, got {self.grid}")
        if self.depth > self.stride**2 * self.channels:
            raise ValueError(f"depth must be at most the {self.stride**2 * self.channels} values of a cell")

    @property
    def grid_shape(self) -> tuple[int, int, int]:
        """Coarse cells of a patch and the latents of each: its own, then those of its four fine cells."""
        side = 2 * self.stride
        return self.grid[0] // side, self.grid[1] // side, self.context + 4 * self.depth

    @property
    def n_weight_latents(self) -> int:
        return 0

    @property
    def n_latents(self) -> int:
        """Latents of a patch."""
        return math.prod(self.grid_shape)

    @property
    def n_points(self) -> int:
        return math.prod(self.grid)

    @property
    def split(self) -> str:
        """A gradient step sees the whole grid."""
        return "whole"

    @property
    def steered(self) -> bool:
        """A block has too few latents with much information for its KL to be the budget: all keep one price."""
        return False


class Transform(nnx.Module):
    """The shared part of all patches."""

    def __init__(self, config: TransformConfig, seed: int = 0):
        from recjax.inr.analysis import Analysis

        self.config = config
        rng = np.random.default_rng(seed)
        depth, hidden, features, channels = config.depth, config.hidden, config.features, config.channels

        def kernel(n_in, n_out, factor=1, scale=1.0):
            cells = 4 if factor > 1 else 1
            draws = rng.standard_normal((cells * n_in, factor**2 * n_out)) * scale * math.sqrt(2 / (cells * n_in))
            return nnx.Param(jnp.asarray(draws.astype(np.float32)))

        def zeros(size):
            return nnx.Param(jnp.zeros(size, jnp.float32))

        self.context_gain = zeros(config.context)
        self.context = nnx.List(
            [kernel(config.context, hidden, 2), kernel(hidden, hidden), kernel(hidden, 2 * depth, 1, 0.01)]
        )
        self.context_bias = nnx.List([zeros(hidden), zeros(hidden), zeros(2 * depth)])
        self.log_gain = zeros(depth)
        self.synthesis = kernel(depth, channels, config.stride)
        self.synthesis_bias = zeros(channels)
        self.correction = nnx.List(
            [
                kernel(depth + hidden, hidden),
                kernel(hidden, features, config.stride // _HALF),
                kernel(features, features),
                kernel(features, channels, _HALF, 0.01),
            ]
        )
        self.correction_bias = nnx.List([zeros(hidden), zeros(features), zeros(features), zeros(channels)])
        self.analysis = Analysis(config, rng)

    def __call__(
        self,
        latents: Float[Array, "rows 0"],
        points: Int[Array, "points"],
        grids: Float[Array, "rows height+2 width+2 depth"],
        phase: None = None,
    ) -> Float[Array, "rows channels points"]:
        """Values of every patch at all its pixels, row-major.

        Args:
          latents: of the weights; there are none.
          points: numbers of all pixels.
          grids: latents of every patch, with one coarse cell of each neighbour around it (0 beyond the image).
          phase: must be None.
        """
        values = self.decode(grids)
        return values.reshape(len(values), len(points), -1).swapaxes(1, 2)

    def decode(
        self, grids: Float[Array, "rows height+2 width+2 depth"]
    ) -> Float[Array, "rows pixels_down pixels_across channels"]:
        """Pixels of all cells but those on the border, whatever their number."""
        config, half = self.config, self.config.stride // 2
        height, width = ((n - 2) * 2 * config.stride for n in grids.shape[1:3])
        coarse, fine = jnp.split(grids, [config.context], axis=-1)
        fine = fine_cells(fine, config.depth)[:, 1:-1, 1:-1]
        hidden, log_gain, mean = self.coefficients(coarse)
        coefficients = mean + jnp.exp(log_gain) * fine
        values = corner_product(coefficients, self.synthesis[...], config.stride)
        values = values[:, half : half + height, half : half + width] + _wide(self.synthesis_bias)
        relative = coefficients * jnp.exp(-_wide(self.log_gain))
        return values + self._corrections(jnp.concatenate([relative, hidden], axis=-1), height, width)

    def coefficients(
        self, coarse: Float[Array, "rows height width context"]
    ) -> tuple[Float[Array, "rows up_height up_width hidden"], Float[Array, "..."], Float[Array, "..."]]:
        """For the fine cells between the outermost corners: context, log gain and mean of the coefficients."""
        first, second, last = self.context
        b_first, b_second, b_last = self.context_bias
        hidden = corner_product(coarse * jnp.exp(_wide(self.context_gain)), first[...], 2) + _wide(b_first)
        hidden = jax.nn.gelu(_each(jax.nn.gelu(hidden), second, b_second))
        log_gain, mean = jnp.split(_each(hidden, last, b_last), 2, axis=-1)
        log_gain = _wide(self.log_gain) + _LARGEST_LOG_GAIN * jnp.tanh(log_gain / _LARGEST_LOG_GAIN)
        return hidden, log_gain, mean * jnp.exp(_wide(self.log_gain))

    def _corrections(self, cells, height, width):
        first, up, flat, last = self.correction
        b_first, b_up, b_flat, b_last = self.correction_bias
        factor = self.config.stride // _HALF
        start = factor // 2 - 1
        x = jax.nn.gelu(_each(cells, first, b_first))
        x = corner_product(x, up[...], factor)
        # one pixel of half resolution beyond the patch, for the corners on its edge
        x = x[:, start : start + height // _HALF + 2, start : start + width // _HALF + 2]
        x = jax.nn.gelu(_each(jax.nn.gelu(x + _wide(b_up)), flat, b_flat))
        x = corner_product(x, last[...], _HALF)
        return x[:, 1 : 1 + height, 1 : 1 + width] + _wide(b_last)


def fine_cells(grids: Float[Array, "rows height width 4*depth"], depth: int) -> Float[Array, "rows 2h 2w depth"]:
    """The fine cells of coarse ones, in their places."""
    rows, height, width, _ = grids.shape
    cells = grids.reshape(rows, height, width, 2, 2, depth).swapaxes(2, 3)
    return cells.reshape(rows, 2 * height, 2 * width, depth)


def coarse_cells(fine: Float[Array, "rows 2h 2w depth"]) -> Float[Array, "rows height width 4*depth"]:
    """The inverse of :func:`fine_cells`."""
    rows, height, width, depth = fine.shape
    cells = fine.reshape(rows, height // 2, 2, width // 2, 2, depth).swapaxes(2, 3)
    return cells.reshape(rows, height // 2, width // 2, 4 * depth)


def _wide(vector):
    """A vector as it applies to every cell of every row."""
    return vector[...][None, None, None]


def _each(x, kernel, bias):
    """A layer applied to every cell."""
    return jnp.matmul(x, kernel[...], precision=PRECISION) + _wide(bias)
