"""A first guess at the posterior of a transform's latents: one pass of a network, in place of hundreds of steps.

The posterior of a level's latents depends on the values of those above, which therefore are coded first.

For a linear synthesis with squared error and price beta, the posterior of a coefficient c with prior N(m, g^2) has
precision 1 + h g^2 in units of the prior, where h is the curvature of the error over beta, and mean h g (c - m) /
(1 + h g^2). The network starts from there: lapped transforms give the coefficients of all levels, and a small network,
which sees their energies, corrects their posterior and guesses that of the latents which are no coefficients.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from recjax.codec.corners import PRECISION
from recjax.codec.transform.initial import Initial

_LEAST_ENERGY = 1e-2
_NARROW = 4.0
"""What the network adds to a log standard deviation starts at -log(1 + exp(-4))."""


class Seen(NamedTuple):
    """What the analysis sees of an image at one level."""

    coefficients: Float[Array, "n height width linear"]
    features: Float[Array, "n height width hidden"]


class Analysis(nnx.Module):
    """The encoder's network; files do not depend on it.

    Args:
      linear, depths, factors: of every level, see :class:`recjax.codec.transform.network.TransformConfig`.
      hidden: units of a cell.
      channels: of a pixel.
      initial: parameters to start from.
    """

    def __init__(self, linear, depths, factors, hidden: int, channels: int, initial: Initial):
        levels = range(len(depths))
        self.factors, self.channels = tuple(factors), channels
        self.lapped = nnx.List(
            [initial.matrix((2 * f) ** 2 * channels, n) for f, n in zip(factors, linear)]
        )
        self.log_curvature = nnx.List([initial.vector(n) for n in linear])
        self.seen = nnx.List(
            [
                initial.matrix((9 if level == 0 else 1) * 2 * linear[level], hidden)
                for level in levels
            ]
        )
        self.below = nnx.List([initial.matrix(9 * hidden, hidden) for _ in levels[1:]])
        self.seen_bias = nnx.List([initial.vector(hidden) for _ in levels])
        inputs = [
            (1 if level == levels[-1] else 2) * hidden + 2 * linear[level] for level in levels
        ]
        self.mix = nnx.List([initial.matrix(n, hidden) for n in inputs])
        self.mix_bias = nnx.List([initial.vector(hidden) for _ in levels])
        self.head = nnx.List(
            [
                initial.matrix(hidden, 2 * n, 0.1 if level else 0.01)
                for level, n in enumerate(depths)
            ]
        )
        self.head_bias = nnx.List([initial.vector(2 * n) for n in depths])

    def look(
        self,
        images: Float[Array, "n height width channels"],
        log_gains: list[Float[Array, "depth"]],
    ) -> list[Seen]:
        """Coefficients and features of whole images at all levels, lowest first.

        Args:
          images: values in [-1/2, 1/2]; their sides are multiples of a cell of the top level.
          log_gains: of all levels.
        """
        out, x, scale = [], images, 1
        for level, factor in enumerate(self.factors):
            half, scale = factor // 2, scale * factor
            padded = jnp.pad(x, ((0, 0), (half, half), (half, half), (0, 0)), mode="edge")
            coefficients = _convolve(padded, self.lapped[level][...], 2 * factor, factor, "VALID")
            relative = (
                coefficients
                * jnp.exp(-log_gains[level][: coefficients.shape[-1]])[None, None, None]
            )
            if level + 1 < len(self.factors):
                # these are predicted from above, their gain is that of what remains
                relative = relative.at[..., : self.channels].set(
                    coefficients[..., : self.channels] / scale
                )
            energy = 0.5 * jnp.log(relative * relative + _LEAST_ENERGY)
            inputs, bias = (
                jnp.concatenate([energy, jnp.tanh(relative)], axis=-1),
                _wide(self.seen_bias[level]),
            )
            if level == 0:
                features = _convolve(inputs, self.seen[0][...], 3)
            else:
                features = _convolve(out[-1].features, self.below[level - 1][...], 3, 2)
                features = features + jnp.matmul(inputs, self.seen[level][...], precision=PRECISION)
            out.append(Seen(coefficients, jax.nn.gelu(features + bias)))
            x = coefficients[..., : self.channels]
        return out

    def posterior(
        self, level: int, seen: Seen, hidden: Array, mean: Array, log_gain: Array
    ) -> tuple[Float[Array, "n height width depth"], Float[Array, "n height width depth"]]:
        """Mean and log standard deviation of the latents of a level.

        Args:
          level: 0 is the lowest.
          seen: what `look` returned for the level.
          hidden, mean, log_gain: context of its cells.
        """
        linear = seen.coefficients.shape[-1]
        gain, curvature = jnp.exp(log_gain[..., :linear]), jnp.exp(_wide(self.log_curvature[level]))
        precision = 1 + gain * gain * curvature
        centre = gain * curvature * (seen.coefficients - mean[..., :linear]) / precision
        log_std = -0.5 * jnp.log(precision)
        inputs = jnp.concatenate([seen.features, centre, log_std, hidden], axis=-1)
        x = jnp.matmul(inputs, self.mix[level][...], precision=PRECISION)
        x = jax.nn.gelu(x + _wide(self.mix_bias[level]))
        x = jnp.matmul(x, self.head[level][...], precision=PRECISION) + _wide(self.head_bias[level])
        moved, wider = jnp.split(x, 2, axis=-1)
        padding = ((0, 0),) * 3 + ((0, mean.shape[-1] - linear),)
        centre, log_std = jnp.pad(centre, padding), jnp.pad(log_std, padding)
        return centre + moved * jnp.exp(log_std), log_std - jax.nn.softplus(wider - _NARROW)


def _wide(vector):
    return vector[...][None, None, None]


def _convolve(x, kernel, side, stride=1, padding="SAME"):
    kernel = kernel.reshape(side, side, x.shape[-1], -1)
    dimensions = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=dimensions, precision=PRECISION
    )
