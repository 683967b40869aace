"""A learned transform: values of a signal from a pyramid of grids of Gaussian latents.

A cell of a level is a few cells of the level below (2 x 2 of an image); a cell of the lowest level is a few values of
the signal. From the top down, all mixing by products around the corners between cells (`recjax.codec.corners`):

* the *context* of a cell, from the level above: mean and gain of its latents. A latent z ~ N(0, 1) becomes the
  coefficient mean + gain z, so that the gain is the scale of the coefficient's prior: the scale hyperprior of Balle et
  al. (ICLR 2018) as a part of the network, so that the coder sees independent N(0, 1);
* a linear *synthesis*: the first coefficients of every cell are predicted by a lapped transform of the level above,
  and the signal is one of the lowest level. Learning starts from the Karhunen-Loeve transform of blocks, and of blocks
  of their first coefficients, and so on, as in a wavelet packet;
* a *correction* of the signal by a small network, from the lowest level's coefficients and context.

However many levels there are, a cell depends on itself, those next to it and the cells above these.

Everything here is a plain function of the architecture and of the parameters: a nested dict and lists of arrays, by
the names that prior files give them, such as ``params["levels"][0]["kernels"][1]``.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from recjax.codec.corners import PRECISION, corner_product

Params = dict[str, Any]
"""Parameters by name: nested dicts, lists (or dicts with keys 0, 1, ...) of arrays."""

_LARGEST_LOG_GAIN = 6.0
_HALF = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformConfig:
    """Architecture of a transform.

    Attributes:
        stride: side of a cell of the lowest level in values, a multiple of 4, or 1 along an axis that
            the lowest level leaves as it is; one number for all axes or one per axis.
        depth: latents of a cell of the lowest level.
        levels: levels of the pyramid, 2 to 8.
        context: latents of a cell of the other levels, besides those that predict the level below.
        hidden: units of a cell's context.
        features: units of the correction at half resolution.
        channels: values of a cell of the signal.
        rank: axes of the signal, 1 to 3.
        growth: side of a cell in cells of the level below, 1 or 2; one number for all axes or one per
            axis.

    Raises:
        ValueError: a number is out of its range.
    """

    stride: int | tuple[int, ...] = 4
    depth: int = 48
    levels: int = 5
    context: int = 6
    hidden: int = 48
    features: int = 24
    channels: int = 3
    rank: int = 2
    growth: int | tuple[int, ...] = 2

    def __post_init__(self) -> None:
        for name in ("depth", "context", "hidden", "features", "channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 1 <= self.rank <= 3:
            raise ValueError(f"rank must be 1 to 3, got {self.rank}")
        if not 2 <= self.levels <= 8:
            raise ValueError(f"levels must be 2 to 8, got {self.levels}")
        for name, allowed, words in (
            ("stride", lambda n: n == 1 or (n > 0 and n % 4 == 0), "a multiple of 4"),
            ("growth", lambda n: n in (1, 2), "1 or 2"),
        ):
            sides = self._per_axis(getattr(self, name))
            # an int cannot be 1: no axis would be transformed
            if len(sides) != self.rank or not all(map(allowed, sides)) or max(sides) == 1:
                raise ValueError(f"{name} must be {words}, got {getattr(self, name)}")
        if not self.channels <= self.depth <= math.prod(self.factors[0]) * self.channels:
            raise ValueError(
                f"depth must be {self.channels} to the {math.prod(self.factors[0]) * self.channels} "
                "values of a cell"
            )

    def _per_axis(self, sides: int | tuple[int, ...]) -> tuple[int, ...]:
        return (sides,) * self.rank if isinstance(sides, int) else tuple(sides)

    @property
    def factors(self) -> tuple[tuple[int, ...], ...]:
        """Sides of a cell of every level in those of the level below, lowest first."""
        return (self._per_axis(self.stride), *[self._per_axis(self.growth)] * (self.levels - 1))

    @property
    def cell(self) -> tuple[int, ...]:
        """Sides of a cell of the top level in values of the signal."""
        return tuple(math.prod(sides) for sides in zip(*self.factors))

    @property
    def children(self) -> int:
        """Cells of the level below in a cell of the other levels."""
        return math.prod(self._per_axis(self.growth))

    @property
    def linear(self) -> tuple[int, ...]:
        """Coefficients of a cell that the synthesis sees, at every level, lowest first."""
        return (self.depth, *[self.children * self.channels] * (self.levels - 1))

    @property
    def depths(self) -> tuple[int, ...]:
        """Latents of a cell of every level, lowest first."""
        return (
            self.depth,
            *[self.children * self.channels + self.context] * (self.levels - 1),
        )

    def cells(self, level: int, top: Sequence[int]) -> tuple[int, ...]:
        """Cells of a level along every axis, of a signal with ``top`` cells of the top level."""
        above = self.levels - 1 - level
        return tuple(n * g**above for n, g in zip(top, self._per_axis(self.growth), strict=True))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class TransformNetwork:
    """A transform: architecture, which is static, and parameters.

    Attributes:
        config: the architecture.
        params: the parameters by name, see `parameters`.
    """

    config: TransformConfig = dataclasses.field(metadata={"static": True})
    params: Params


class Parameter(NamedTuple):
    """Shape of a parameter and the deviation of its initial values.

    Attributes:
        shape: one axis for a vector, which starts at 0; two for a matrix.
        scale: size of the outputs of a matrix relative to its inputs, when learning starts.
    """

    shape: tuple[int, ...]
    scale: float = 1.0


def parameters(config: TransformConfig) -> dict[str, Any]:
    """The `Parameter` of every name, in the order in which initial values are drawn."""
    hidden, features, channels = config.hidden, config.features, config.channels
    half = tuple(_half(n) for n in config.factors[0])
    up = tuple(n // h for n, h in zip(config.factors[0], half))
    correction = [
        Parameter((config.depth + hidden, hidden)),
        Parameter((_window(up) * hidden, math.prod(up) * features)),
        Parameter((features, features)),
        Parameter((_window(half) * features, math.prod(half) * channels), 0.01),
    ]
    return {
        "levels": [_level_parameters(config, level) for level in range(config.levels)],
        "synthesis_bias": Parameter((channels,)),
        "correction": correction,
        "correction_biases": [Parameter((n,)) for n in (hidden, features, features, channels)],
        "analysis": _analysis_parameters(config),
    }


def _level_parameters(config, level):
    depth, hidden, factors = config.depths[level], config.hidden, config.factors[level]
    outputs = math.prod(factors) * config.channels
    out = {
        "log_gain": Parameter((depth,)),
        "synthesis": Parameter((_window(factors) * config.linear[level], outputs)),
    }
    if level + 1 < config.levels:
        above = config.depths[level + 1] + (hidden if level + 2 < config.levels else 0)
        window = _window(config.factors[level + 1])
        out["upper_gain"] = Parameter((config.depths[level + 1],))
        out["kernels"] = [
            Parameter((window * above, config.children * hidden)),
            Parameter((hidden, hidden)),
            Parameter((hidden, 2 * depth), 0.01),
        ]
        out["biases"] = [Parameter((n,)) for n in (hidden, hidden, 2 * depth)]
    return out


def _analysis_parameters(config):
    levels, hidden, linear = range(config.levels), config.hidden, config.linear
    lapped = [math.prod(f if f == 1 else 2 * f for f in factors) for factors in config.factors]
    taps = 3**config.rank
    inputs = [(1 if level == levels[-1] else 2) * hidden + 2 * linear[level] for level in levels]
    return {
        "lapped": [Parameter((n * config.channels, m)) for n, m in zip(lapped, linear)],
        "log_curvature": [Parameter((n,)) for n in linear],
        "seen": [
            Parameter(((taps if level == 0 else 1) * 2 * linear[level], hidden)) for level in levels
        ],
        "below": [Parameter((taps * hidden, hidden)) for _ in levels[1:]],
        "seen_bias": [Parameter((hidden,)) for _ in levels],
        "mix": [Parameter((n, hidden)) for n in inputs],
        "mix_bias": [Parameter((hidden,)) for _ in levels],
        "head": [
            Parameter((hidden, 2 * n), 0.1 if level else 0.01)
            for level, n in enumerate(config.depths)
        ],
        "head_bias": [Parameter((2 * n,)) for n in config.depths],
    }


class Context(NamedTuple):
    """Prior of the latents of a level, for its cells and one cell beyond each edge.

    Attributes:
        hidden: units of the context network.
        mean, log_gain: of the coefficients.
    """

    hidden: Float[Array, "n *sides hidden"]
    mean: Float[Array, "n *sides depth"]
    log_gain: Float[Array, "n *sides depth"]

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
    """As `context`, from the parameters of the level and of the one above, and the hidden units there."""
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
    network: TransformNetwork, context: Context, coefficients: Float[Array, "n *sides depth"]
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
    network: TransformNetwork, latents: Sequence[Float[Array, "n *sides depth"]]
) -> Float[Array, "n *values channels"]:
    """Values of the signal from the latents of all levels.

    Args:
        network: the transform.
        latents: lowest level first, each with one cell beyond every edge: 0 beyond the signal, or the
            neighbour's cell if this is a part of one.
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
    half = [_half(f) for f in config.factors[0]]
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
    x: Float[Array, "n *sides inputs"], kernel: Array, bias: Array
) -> Float[Array, "n *sides outputs"]:
    """A dense layer applied to every cell."""
    return jnp.matmul(x, kernel, precision=PRECISION) + wide(bias, x.ndim - 2)


def padded_channels(x: Float[Array, "n *sides linear"], depth: int) -> Array:
    """Coefficients that the synthesis sees, followed by zeros for those that it does not."""
    return jnp.pad(x, (*[(0, 0)] * (x.ndim - 1), (0, depth - x.shape[-1])))


def _cut(x, starts, sides):
    inner = (slice(start, start + n) for start, n in zip(starts, sides, strict=True))
    return x[(slice(None), *inner)]


def _half(stride):
    """Values of full resolution per value of half resolution along an axis."""
    return _HALF if stride > 1 else 1


def _window(factors):
    """Cells that meet at a corner; axes with factor 1 are not mixed."""
    return math.prod(2 if f > 1 else 1 for f in factors)
