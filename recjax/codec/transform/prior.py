"""Priors of transforms: a network, and what is to be expected of the latents of every level."""

import dataclasses
import functools
from typing import Any

import numpy as np
from flax import nnx
from jaxtyping import Float32, Int32, UInt16

from recjax.bits.zipf import PRECISION
from recjax.codec.prior import Network, Prior, check_tensor, loaded_params, write_prior
from recjax.codec.transform.allocation import MOST
from recjax.codec.transform.network import Transform, TransformConfig
from recjax.codec.transform.rate_classes import LEAST
from recjax.codec.transform.sinh_prior import LEAST_TAIL
from recjax.codec.transform.symbols import LARGEST, check_frequencies

MAX_CLASSES = 64


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TransformPrior(Prior):
    """A trained transform.

    Attributes:
      config: architecture.
      network: its parameters.
      scales, tails: of the latents of a cell, level by level, lowest first; see
        :mod:`recjax.codec.transform.sinh_prior`.
      class_level: the level whose cells have a class of activity; those above it are quantised.
      steps, numbers: of the latents of the levels above, and the frequencies of their numbers, see
        :mod:`recjax.codec.transform.symbols`.
      thresholds: in bits of a cell with what is below it, between which the classes lie.
      expected: KL of the latents of a cell at the levels up to that one, in units of
        :mod:`recjax.codec.transform.allocation`: a row for each class. What has 0 is not coded.
      frequencies: of the classes in each context, see :mod:`recjax.codec.transform.rate_classes`.
    """

    kind = "transform"
    rate_is_free = True

    config: TransformConfig
    network: Network
    scales: tuple[Float32[np.ndarray, "depth"], ...]
    tails: tuple[Float32[np.ndarray, "depth"], ...]
    class_level: int
    thresholds: Float32[np.ndarray, "classes-1"]
    steps: tuple[Float32[np.ndarray, "depth"], ...]
    numbers: tuple[Int32[np.ndarray, "depth numbers"], ...]
    expected: tuple[UInt16[np.ndarray, "classes depth"], ...]
    frequencies: Int32[np.ndarray, "contexts classes"]

    @property
    def patch(self) -> tuple[int, ...]:
        """Cell of the top level."""
        return self.config.cell, self.config.cell

    @property
    def channels(self) -> int:
        """Values of a cell of the signal."""
        return self.config.channels

    @property
    def summary(self) -> dict[str, Any]:
        """Kind, latents of a cell of every level, lowest first, and the classes of activity."""
        return {
            "kind": "transform",
            "latents": list(self.config.depths),
            "classes": len(self.thresholds) + 1,
        }


def save_transform_prior(
    path,
    *,
    config: TransformConfig,
    params: Any,
    modality: str,
    scales: list[np.ndarray],
    tails: list[np.ndarray],
    class_level: int,
    thresholds: np.ndarray,
    steps: list[np.ndarray],
    numbers: list[np.ndarray],
    expected: list[np.ndarray],
    frequencies: np.ndarray,
    beta: float,
    budget: int,
    metadata: dict[str, Any],
    force: bool = False,
) -> None:
    """Writes a prior file atomically; the arguments are the attributes of :class:`TransformPrior`.

    Raises:
      ValueError: the file exists and ``force`` is off, or cannot be written.
    """
    tensors = {
        "thresholds": thresholds.astype(np.float32),
        "frequencies": frequencies.astype(np.int32),
    }
    for level, (scale, tail) in enumerate(zip(scales, tails, strict=True)):
        tensors |= {
            f"scale.{level}": scale.astype(np.float32),
            f"tail.{level}": tail.astype(np.float32),
        }
    for level, units in enumerate(expected):
        tensors[f"expected.{level}"] = units.astype(np.uint16)
    for level, (step, frequency) in enumerate(zip(steps, numbers, strict=True), class_level + 1):
        tensors |= {
            f"step.{level}": step.astype(np.float32),
            f"numbers.{level}": frequency.astype(np.int32),
        }
    header = {
        "kind": TransformPrior.kind,
        "network": dataclasses.asdict(config),
        "class_level": class_level,
    }
    write_prior(
        path,
        header | {"beta": beta, "budget": budget, "metadata": metadata},
        tensors,
        modality=modality,
        params=params,
        force=force,
    )


def parse(
    header: dict[str, Any], tensors: dict[str, np.ndarray], n_bytes: int, common: dict[str, Any]
):
    """The prior in a file.

    Raises:
      KeyError, TypeError, ValueError: it is damaged.
    """
    config = _config(header["network"], n_bytes)
    graph, params = _structure(config)
    thresholds, frequencies, class_level = (
        tensors["thresholds"],
        tensors["frequencies"],
        header["class_level"],
    )
    n = len(thresholds) + 1
    check_tensor(thresholds, "thresholds", np.float32, (n - 1,))
    if not 2 <= n <= MAX_CLASSES or (np.diff(thresholds) <= 0).any():
        raise ValueError("thresholds of activity do not increase, or are too many")
    check_tensor(frequencies, "frequencies", np.int32, (2 * n - 1, n))
    if (frequencies < LEAST).any() or (frequencies.astype(np.int64).sum(1) != 1 << PRECISION).any():
        raise ValueError("frequencies do not add up")
    if not (type(class_level) is int and 0 <= class_level < config.levels):
        raise ValueError(f"class_level {class_level} is out of range")
    scales, tails, steps, numbers, expected = [], [], [], [], []
    for level, depth in enumerate(config.depths):
        scales.append(_positive(tensors, f"scale.{level}", depth))
        tails.append(_positive(tensors, f"tail.{level}", depth))
        if (tails[-1] < LEAST_TAIL).any() or (tails[-1] > 1).any():
            raise ValueError("a tail is out of range")
        if level > class_level:
            steps.append(_positive(tensors, f"step.{level}", depth))
            numbers.append(tensors[f"numbers.{level}"])
            check_tensor(numbers[-1], f"numbers.{level}", np.int32, (depth, 2 * LARGEST + 1))
            if not check_frequencies(numbers[-1]):
                raise ValueError("frequencies do not add up")
        else:
            expected.append(tensors[f"expected.{level}"])
            check_tensor(expected[-1], f"expected.{level}", np.uint16, (n, depth))
            if (expected[-1] > MOST).any():
                raise ValueError("an expected KL is out of range")
    network = Network(graph, loaded_params(params, tensors))
    return TransformPrior(
        **common, config=config, network=network, scales=tuple(scales), tails=tuple(tails), class_level=class_level,
        steps=tuple(steps), numbers=tuple(numbers), thresholds=thresholds, expected=tuple(expected),
        frequencies=frequencies,
    )  # fmt: skip


@functools.lru_cache(maxsize=4)
def _structure(config):
    """Graph and shapes of the parameters; finding them takes most of the time of reading a prior."""
    return nnx.split(nnx.eval_shape(lambda: Transform(config)))


def _positive(tensors, name, depth):
    check_tensor(tensors[name], name, np.float32, (depth,))
    if (tensors[name] <= 0).any():
        raise ValueError(f"{name} is not positive")
    return tensors[name]


def _config(fields, n_bytes):
    """The architecture, once its numbers are such that a file of ``n_bytes`` can hold it."""
    if not isinstance(fields, dict) or not all(
        type(size) is int and 0 <= size <= 1 << 12 for size in fields.values()
    ):
        raise ValueError("a size of the network is out of range")
    config = TransformConfig(**fields)
    kernels = (
        8 * config.depth * config.channels * config.stride**2
        + config.hidden * config.features * config.stride**2
    )
    if 2 * kernels + 2 * config.levels * config.hidden**2 > n_bytes:
        raise ValueError("the network is larger than the file")
    return config
