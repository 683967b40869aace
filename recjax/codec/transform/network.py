"""A learned transform: values of a signal from a pyramid of grids of Gaussian latents.

A cell of a level is a few cells of the level below (2 x 2 of an image); a cell of the lowest level
is a few values of the signal. From the top down, all mixing by products around the corners between
cells (`recjax.codec.corners`):

* the *context* of a cell, from the level above: mean and gain of its latents. A latent z ~ N(0, 1)
  becomes the coefficient mean + gain z, so that the gain is the scale of the coefficient's prior:
  the scale hyperprior of Balle et al. (ICLR 2018) as a part of the network, so that the coder sees
  independent N(0, 1);
* a linear *synthesis*: the first coefficients of every cell are predicted by a lapped transform of
  the level above, and the signal is one of the lowest level. Learning starts from the
  Karhunen-Loeve transform of blocks, and of blocks of their first coefficients, and so on, as in a
  wavelet packet;
* a *correction* of the signal by a small network, from the lowest level's coefficients and context.

However many levels there are, a cell depends on itself, those next to it and the cells above these.

Everything here is a plain function of the architecture and of the parameters: a nested dict and
    lists of arrays, by
the names that prior files give them, such as ``params["levels"][0]["kernels"][1]``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recjax.codec.corners import PRECISION, corner_product
from recjax.codec.transform.architecture import (
    Params,
    TransformConfig,
    TransformNetwork,
    half_side,
)

_LARGEST_LOG_GAIN = 6.0


jax.tree_util.register_dataclass(TransformNetwork, data_fields=["params"], meta_fields=["config"])


class Context(NamedTuple):
    """Prior of the latents of a level, for its cells and one cell beyond each edge.

    Attributes:
        hidden: units of the context network.
        mean, log_gain: of the coefficients.
    """

    hidden: Float[Array, "_n *_sides _hidden"]
    mean: Float[Array, "_n *_sides _depth"]
    log_gain: Float[Array, "_n *_sides _depth"]

    def inside(self) -> "Context":
        """The context without the cells beyond the edges."""
        inner = (slice(None), *[slice(1, -1)] * (self.mean.ndim - 2))
        return Context(*(x[inner] for x in self))

    def coefficients(self, latents: Float[Array, "n *sides depth"]) -> Array:
        """Coefficients of these cells."""
        return self.mean + jnp.exp(self.log_gain) * latents


def top(network: TransformNetwork, n: int, cells: Sequence[int]) -> Context:
    """The context of the top level of ``n`` signals of ``cells`` cells: nothing is above."""
    log_gain = network.params["levels"][network.config.levels - 1]["log_gain"]
    shape, depth = (n, *(side + 2 for side in cells)), log_gain.size
    gains = jnp.broadcast_to(wide(log_gain, len(cells)), (*shape, depth))
    return Context(
        jnp.zeros((*shape, 0), jnp.float32), jnp.zeros((*shape, depth), jnp.float32), gains
    )


def context(
    network: TransformNetwork,
    level: int,
    above: Context,
    coefficients: Float[Array, "n *sides depth"],
) -> Context:
    """The context of the cells of a level.

    Args:
        network: the transform.
        level: number of the level; 0 is the lowest.
        above: context of the level above.
        coefficients: coefficients of the level above, with one cell beyond each edge.
    """
    params = network.params["levels"]
    return level_context(
        network.config, params[level], params[level + 1], above.hidden, coefficients
    )


def level_context(
    config: TransformConfig,
    params: Params,
    upper: Params,
    hidden: Float[Array, "n *sides hidden"],
    coefficients: Float[Array, "n *sides depth"],
) -> Context:
    """As `context`, from the parameters of the level and of the one above, and the hidden units
    there."""
    rank, growth = config.rank, config.factors[1]
    up, mix, head = (params["kernels"][i] for i in range(3))
    b_up, b_mix, b_head = (params["biases"][i] for i in range(3))
    x = coefficients * jnp.exp(wide(params["upper_gain"] - upper["log_gain"], rank))
    x = jnp.concatenate([x, hidden], axis=-1)
    x = jax.nn.gelu(corner_product(x, up, growth) + wide(b_up, rank))
    hidden = jax.nn.gelu(layer(x, mix, b_mix))
    mean, log_gain = jnp.split(layer(hidden, head, b_head), 2, axis=-1)
    gain = wide(params["log_gain"], rank)
    log_gain = gain + _LARGEST_LOG_GAIN * jnp.tanh(log_gain / _LARGEST_LOG_GAIN)
    linear = coefficients[..., : config.linear[1]]
    predicted = corner_product(linear, upper["synthesis"], growth)
    return Context(
        hidden, mean * jnp.exp(gain) + padded_channels(predicted, mean.shape[-1]), log_gain
    )


def synthesise(
    network: TransformNetwork, context: Context, coefficients: Float[Array, "_n *_sides _depth"]
) -> Float[Array, "n *values channels"]:
    """Values of the signal in the cells inside, from the lowest level."""
    config, params, stride = network.config, network.params, network.config.factors[0]
    sides = [(n - 2) * f for n, f in zip(coefficients.shape[1:-1], stride, strict=True)]
    values = corner_product(coefficients, params["levels"][0]["synthesis"], stride)
    # the corners' outputs begin half a cell before the first cell inside
    values = _cut(values, [f // 2 if f > 1 else 1 for f in stride], sides)
    values = values + wide(params["synthesis_bias"], config.rank)
    relative = coefficients * jnp.exp(-wide(params["levels"][0]["log_gain"], config.rank))
    return values + _corrections(
        network, jnp.concatenate([relative, context.hidden], axis=-1), sides
    )


def decode(
    network: TransformNetwork, latents: Sequence[Float[Array | np.ndarray, "_n *_sides _depth"]]
) -> Float[Array, "n *values channels"]:
    """Values of the signal from the latents of all levels.

    Args:
        network: the transform.
        latents: lowest level first, each with one cell beyond every edge: 0 beyond the signal, or
            the neighbour's cell if this is a part of one.
    """
    n, *sides, _ = latents[-1].shape
    above = top(network, n, [side - 2 for side in sides])
    coefficients = above.coefficients(latents[-1])
    for level in reversed(range(network.config.levels - 1)):
        above = context(network, level, above, coefficients)
        coefficients = above.coefficients(latents[level])
    return synthesise(network, above, coefficients)


def _corrections(network, cells, sides):
    config = network.config
    first, up, flat, last = (network.params["correction"][i] for i in range(4))
    b_first, b_up, b_flat, b_last = (network.params["correction_biases"][i] for i in range(4))
    half = [half_side(f) for f in config.factors[0]]
    factors = [f // h for f, h in zip(config.factors[0], half)]
    x = jax.nn.gelu(layer(cells, first, b_first))
    x = corner_product(x, up, factors)
    # one value of half resolution beyond the edges, for the corners on them
    starts = [max(f // 2 - 1, 0) for f in factors]
    x = _cut(x, starts, [side // h + 2 for side, h in zip(sides, half)])
    x = jax.nn.gelu(layer(jax.nn.gelu(x + wide(b_up, config.rank)), flat, b_flat))
    x = corner_product(x, last, half)
    return _cut(x, [1] * config.rank, sides) + wide(b_last, config.rank)


def bordered(latents: Float[Array, "n *sides depth"]) -> Float[Array, "n *bordered_sides depth"]:
    """The latents of a signal with those of one cell beyond each edge, which are 0."""
    return jnp.pad(latents, ((0, 0), *[(1, 1)] * (latents.ndim - 2), (0, 0)))


def wide(vector: Float[Array, "n"], rank: int) -> Array:
    """A vector as it applies to every cell of every signal."""
    return jnp.expand_dims(vector, tuple(range(rank + 1)))


def layer(
    x: Float[Array, "_n *_sides _inputs"], kernel: Array, bias: Array
) -> Float[Array, "n *sides outputs"]:
    """A dense layer applied to every cell."""
    return jnp.matmul(x, kernel, precision=PRECISION) + wide(bias, x.ndim - 2)


def padded_channels(x: Float[Array, "n *sides linear"], depth: int) -> Array:
    """Coefficients that the synthesis sees, followed by zeros for those that it does not."""
    return jnp.pad(x, (*[(0, 0)] * (x.ndim - 1), (0, depth - x.shape[-1])))


def _cut(x, starts, sides):
    inner = (slice(start, start + n) for start, n in zip(starts, sides, strict=True))
    return x[(slice(None), *inner)]
