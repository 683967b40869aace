"""Positional encodings: a latent grid a patch, made features a pixel by a small shared convolutional network.

RECOMBINER (He et al., ICLR 2024, section 3.2). There every layer is nearest upsampling by f and then a convolution;
with f + 1 taps that is a product around the corners between cells (:mod:`recjax.codec.corners`). Deviation: these
matrices are learned as they are, of which the folded convolutions are a special case.

A patch sees one cell of each neighbour, whatever the depth: grids of one image, each with such a border, give the
same features as the grids stitched into one, so patches can be computed apart and have no seams.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from recjax.codec.corners import corner_product, folded


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodingConfig:
    """Latent grid of a patch, and the network from it to features of every pixel.

    Attributes:
      depth: latents a cell; 0 means no positional encodings.
      cells: cells of a patch per axis; times the product of ``factors`` it is the patch.
      factors: upsampling of every layer, even numbers.
      hidden: outputs of every layer but the last.
      encodings: features a pixel.

    Raises:
      ValueError: a number is out of its range.
    """

    depth: int = 0
    cells: tuple[int, int] = (8, 8)
    factors: tuple[int, ...] = (4,)
    hidden: tuple[int, ...] = ()
    encodings: int = 8

    def __post_init__(self) -> None:
        if self.depth < 0:
            raise ValueError(f"depth must not be negative, got {self.depth}")
        if len(self.cells) != 2 or min(self.cells) < 1:
            raise ValueError(f"cells must be two positive sides, got {self.cells}")
        if not self.factors or any(factor < 2 or factor % 2 for factor in self.factors):
            raise ValueError(f"factors must be even, got {self.factors}")
        if len(self.hidden) != len(self.factors) - 1 or min((*self.hidden, self.encodings)) < 1:
            raise ValueError(
                f"hidden and encodings must be positive, one a factor, got {self.hidden, self.encodings}"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Pixels of a patch per axis."""
        scale = math.prod(self.factors)
        return self.cells[0] * scale, self.cells[1] * scale

    @property
    def shape(self) -> tuple[int, int, int]:
        """Latents of a patch."""
        return (*self.cells, self.depth)

    @property
    def layer_dims(self) -> tuple[tuple[int, int, int], ...]:
        """(inputs, outputs, factor) of every layer."""
        sizes = [self.depth, *self.hidden, self.encodings]
        return tuple(zip(sizes[:-1], sizes[1:], self.factors, strict=True))


class Upsampler(nnx.Module):
    """From latent grids with a border of one cell to features of every pixel."""

    def __init__(self, config: EncodingConfig):
        rng = np.random.default_rng(0)
        self.config = config
        kernels, biases = [], []
        for n_in, n_out, factor in config.layer_dims:
            taps = factor + 1
            kernel = rng.standard_normal((taps, taps, n_in, n_out)) * math.sqrt(2 / n_in) / taps
            kernels.append(nnx.Param(jnp.asarray(folded(kernel.astype(np.float32), factor))))
            biases.append(nnx.Param(jnp.zeros(n_out, jnp.float32)))
        self.kernels, self.biases = nnx.List(kernels), nnx.List(biases)

    def __call__(
        self,
        grids: Float[Array, "rows height+2 width+2 depth"],
        phase: Int[Array, ""] | None = None,
    ) -> Float[Array, "rows points encodings"]:
        """Features of the pixels in row-major order.

        Args:
          grids: of every patch, with one cell of each neighbour around it (0 beyond the image).
          phase: if given, only every second pixel per axis, from row ``phase // 2`` and column ``phase % 2`` on; the
            last and largest layer then costs a quarter.
        """
        x, last = grids, len(self.kernels) - 1
        for i, (_, n_out, factor) in enumerate(self.config.layer_dims):
            kernel = self.kernels[i][...]
            top = left = factor // 2 - (i < last)
            if i == last and phase is not None:
                kernel, (top, left) = _of_phase(kernel, phase, factor, n_out)
                factor //= 2
            corners = corner_product(x, kernel, factor)
            border = 0 if i == last else 2
            height, width = ((n - 2) * factor + border for n in x.shape[1:3])
            x = jax.lax.dynamic_slice(corners, (0, top, left, 0), (len(x), height, width, n_out))
            x = x + self.biases[i][...][None, None, None]
            x = x if i == last else jax.nn.leaky_relu(x)
        return x.reshape(len(x), -1, x.shape[-1])


def _of_phase(kernel, phase, factor, n_out):
    """The part of a kernel for pixels of one phase, and where the patch begins among its outputs."""
    kernel = kernel.reshape(-1, factor // 2, 2, factor // 2, 2, n_out)
    start = []
    for axis, parity in ((2, phase // 2), (4, phase % 2)):
        # the pixels around corner j are f j - f/2 + a for 0 <= a < f
        side = (parity + factor // 2) % 2
        kernel = jax.lax.dynamic_slice_in_dim(kernel, side, 1, axis)
        start.append((parity + factor // 2 - side) // 2)
    return kernel.reshape(len(kernel), -1), start
