"""A first guess at the posterior of a transform's latents: one pass of a network, in place of hundreds of steps.

The fine latents' posterior depends on the value of the coarse ones, which therefore are coded first.

For a linear synthesis with squared error and price beta, the posterior of a coefficient c with prior N(m, g^2) has
precision 1 + h g^2 in units of the prior, where h is the curvature of the error over beta, and mean h g (c - m) /
(1 + h g^2). The network starts from there: it analyses the image by a lapped transform, guesses the coarse latents from
the energies of the coefficients, and corrects the posterior of the fine ones.
"""

import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from recjax.inr.corners import PRECISION

if TYPE_CHECKING:
    from recjax.inr.transform import Transform, TransformConfig

_LEAST_ENERGY = 1e-2


class Analysis(nnx.Module):
    """The encoder's network; files do not depend on it."""

    def __init__(self, config: "TransformConfig", rng: np.random.Generator):
        depth, hidden = config.depth, 48

        def kernel(side, n_in, n_out, scale=1.0):
            draws = rng.standard_normal((side**2 * n_in, n_out)) * scale * math.sqrt(2 / (side**2 * n_in))
            return nnx.Param(jnp.asarray(draws.astype(np.float32)))

        def zeros(size):
            return nnx.Param(jnp.zeros(size, jnp.float32))

        self.lapped = kernel(2 * config.stride, config.channels, depth)
        self.log_curvature = zeros(depth)
        self.coarse = nnx.List(
            [kernel(3, depth, hidden), kernel(3, hidden, hidden), kernel(1, hidden, 2 * config.context, 0.3)]
        )
        self.coarse_bias = nnx.List([zeros(hidden), zeros(hidden), zeros(2 * config.context)])
        self.fine = nnx.List([kernel(3, 2 * depth, hidden), kernel(3, hidden, 2 * depth, 0.01)])
        self.fine_bias = nnx.List([zeros(hidden), zeros(2 * depth)])

    def transform(
        self, images: Float[Array, "n height width channels"], stride: int
    ) -> Float[Array, "n rows columns d"]:
        """Coefficients of every fine cell."""
        half = stride // 2
        padded = jnp.pad(images, ((0, 0), (half, half), (half, half), (0, 0)), mode="edge")
        return _convolve(padded, self.lapped[...], 2 * stride, stride, "VALID")

    def coarse_posterior(self, relative: Float[Array, "n 2h 2w depth"]) -> tuple[Array, Array]:
        """Mean and log standard deviation of the coarse latents, from coefficients in units of their gain."""
        first, second, last = self.coarse
        b_first, b_second, b_last = self.coarse_bias
        x = 0.5 * jnp.log(relative * relative + _LEAST_ENERGY)
        x = jax.nn.gelu(_convolve(x, first[...], 3, 2) + b_first[...][None, None, None])
        x = jax.nn.gelu(_convolve(x, second[...], 3) + b_second[...][None, None, None]) + x
        mean, scale = jnp.split(
            jnp.matmul(x, last[...], precision=PRECISION) + b_last[...][None, None, None], 2, axis=-1
        )
        return mean, -jax.nn.softplus(scale)

    def fine_posterior(
        self, coefficients: Array, log_gain: Array, mean: Array
    ) -> tuple[Float[Array, "n 2h 2w depth"], Float[Array, "n 2h 2w depth"]]:
        """Mean and log standard deviation of the fine latents, given what the context says of them."""
        gain, curvature = jnp.exp(log_gain), jnp.exp(self.log_curvature[...])[None, None, None]
        precision = 1 + gain * gain * curvature
        centre, log_std = gain * curvature * (coefficients - mean) / precision, -0.5 * jnp.log(precision)
        first, last = self.fine
        b_first, b_last = self.fine_bias
        x = jax.nn.gelu(
            _convolve(jnp.concatenate([centre, log_std], axis=-1), first[...], 3) + b_first[...][None, None, None]
        )
        moved, wider = jnp.split(_convolve(x, last[...], 3) + b_last[...][None, None, None], 2, axis=-1)
        return centre + moved * jnp.exp(log_std), jnp.minimum(log_std + wider, 0)


def coarse_guess(model: "Transform", images: Float[Array, "n height width channels"]) -> tuple[Array, Array]:
    """Mean and log standard deviation of the coarse latents of whole images, ``[n, rows, columns, context]`` each.

    Args:
      model: whose analysis is asked.
      images: values in [-1/2, 1/2]; their sides are multiples of a coarse cell.
    """
    coefficients = model.analysis.transform(images, model.config.stride)
    return model.analysis.coarse_posterior(coefficients * jnp.exp(-model.log_gain[...])[None, None, None])


def fine_guess(
    model: "Transform",
    images: Float[Array, "n height width channels"],
    coarse: Float[Array, "n rows columns context"],
) -> tuple[Float[Array, "n 2rows 2columns depth"], Float[Array, "n 2rows 2columns depth"]]:
    """Mean and log standard deviation of the fine latents of whole images, given the coarse ones."""
    coefficients = model.analysis.transform(images, model.config.stride)
    _, log_gain, mean = model.coefficients(jnp.pad(coarse, ((0, 0), (1, 1), (1, 1), (0, 0))))
    return model.analysis.fine_posterior(coefficients, log_gain[:, 1:-1, 1:-1], mean[:, 1:-1, 1:-1])


def _convolve(x, kernel, side, stride=1, padding="SAME"):
    kernel = kernel.reshape(side, side, x.shape[-1], -1)
    dimensions = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=dimensions, precision=PRECISION
    )
