"""Architecture of a transform: its sizes, and the shapes of its parameters. Needs no JAX."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

_HALF = 2


Params = dict[str, Any]
"""Parameters by name: nested dicts, lists (or dicts with keys 0, 1, ...) of arrays."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformConfig:
    """Architecture of a transform.

    Attributes:
        stride: side of a cell of the lowest level in values, a multiple of 4, or 1 along an axis
            that the lowest level leaves as it is; one number for all axes or one per axis.
        depth: latents of a cell of the lowest level.
        levels: levels of the pyramid, 2 to 8.
        context: latents of a cell of the other levels, besides those that predict the level below.
        hidden: units of a cell's context.
        features: units of the correction at half resolution.
        channels: values of a cell of the signal.
        rank: axes of the signal, 1 to 3.
        growth: side of a cell in cells of the level below, 1 or 2; one number for all axes or one
            per axis.

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
        values = math.prod(self.factors[0]) * self.channels
        if not self.channels <= self.depth <= values:
            raise ValueError(f"depth must be {self.channels} to {values}, the values of a cell")

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


@dataclasses.dataclass(frozen=True, eq=False)
class TransformNetwork:
    """A transform: architecture, which is static, and parameters.

    Attributes:
        config: the architecture.
        params: the parameters by name, see `parameters`.
    """

    config: TransformConfig
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
    half = tuple(half_side(n) for n in config.factors[0])
    up = tuple(n // h for n, h in zip(config.factors[0], half))
    correction = [
        Parameter((config.depth + hidden, hidden)),
        Parameter((window_cells(up) * hidden, math.prod(up) * features)),
        Parameter((features, features)),
        Parameter((window_cells(half) * features, math.prod(half) * channels), 0.01),
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
        "synthesis": Parameter((window_cells(factors) * config.linear[level], outputs)),
    }
    if level + 1 < config.levels:
        above = config.depths[level + 1] + (hidden if level + 2 < config.levels else 0)
        window = window_cells(config.factors[level + 1])
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


def half_side(stride):
    """Values of full resolution per value of half resolution along an axis."""
    return _HALF if stride > 1 else 1


def window_cells(factors):
    """Cells that meet at a corner; axes with factor 1 are not mixed."""
    return math.prod(2 if f > 1 else 1 for f in factors)
