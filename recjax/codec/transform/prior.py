"""Priors of transforms: a network, and statistics of the latents of every level."""

import dataclasses
import math
import os
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32, UInt16

from recjax.bits.zipf import PRECISION
from recjax.codec.prior import Prior, check_tensor, loaded_params, map_named, write_prior
from recjax.codec.transform.architecture import (
    TransformConfig,
    TransformNetwork,
    parameters,
)
from recjax.codec.transform.rate_classes import LEAST
from recjax.codec.transform.symbols import LARGEST, check_frequencies

UNIT = 256
"""Units of a bit of expected KL."""
MOST = 10 * UNIT
"""No latent is expected to have more, so that no block of at least 14 bits is empty."""
MAX_CLASSES = 64
LEAST_TAIL = 0.02
"""The smallest tail, which is as good as normal."""
_NEW_FIELDS = {"rank": 2, "growth": 2}
"""Fields of an architecture that files may lack, and the values that they then have."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TransformPrior(Prior):
    """A trained transform.

    Attributes:
        network: architecture and parameters.
        scales, tails: parameters of the prior of the latents of a cell, level by level, lowest
            first; see `recjax.codec.transform.sinh_prior`.
        class_level: the level whose cells have a rate class; those above it are quantised.
        thresholds: rate in bits of a cell with everything below it, between which the classes lie.
        step_sizes: quantisation steps of the latents of the levels above, lowest first.
        symbol_frequencies: frequencies of the symbols of these latents, see
            `recjax.codec.transform.symbols`.
        expected: expected KL of the latents of a cell at the levels up to the class level, in units
            of 1/256 bit, one row per class. Latents with 0 are not coded.
        frequencies: frequencies of the classes in each context, see
            `recjax.codec.transform.rate_classes`.
    """

    kind = "transform"
    rate_is_free = True

    network: TransformNetwork
    scales: tuple[Float32[np.ndarray, "_depth"], ...]
    tails: tuple[Float32[np.ndarray, "_depth"], ...]
    class_level: int
    thresholds: Float32[np.ndarray, "_classes"]
    step_sizes: tuple[Float32[np.ndarray, "_depth"], ...]
    symbol_frequencies: tuple[Int32[np.ndarray, "_depth _symbols"], ...]
    expected: tuple[UInt16[np.ndarray, "_classes _depth"], ...]
    frequencies: Int32[np.ndarray, "_contexts _classes"]

    @property
    def config(self) -> TransformConfig:
        """The architecture."""
        return self.network.config

    @property
    def patch(self) -> tuple[int, ...]:
        """Cell of the top level."""
        return self.config.cell

    @property
    def channels(self) -> int:
        """Values of a cell of the signal."""
        return self.config.channels

    @property
    def summary(self) -> dict[str, Any]:
        """Kind, latents of a cell of every level, lowest first, and the number of rate classes."""
        return {
            "kind": "transform",
            "latents": list(self.config.depths),
            "classes": len(self.thresholds) + 1,
        }


def save(prior: TransformPrior, path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Writes a prior file atomically. Its digest and name, which follow from the file, are not
    used.

    Raises:
        ValueError: the file exists and ``force`` is off, or cannot be written.
    """
    tensors = {
        name: np.asarray(getattr(prior, field)[place]).astype(dtype)
        for name, field, place, dtype in _tensors(prior.config.levels, prior.class_level)
    }
    tensors |= {
        "thresholds": prior.thresholds.astype(np.float32),
        "frequencies": prior.frequencies.astype(np.int32),
    }
    network = dataclasses.asdict(prior.config)
    header = {
        "kind": prior.kind,
        "network": {k: v for k, v in network.items() if _NEW_FIELDS.get(k) != v},
        "class_level": prior.class_level,
        "beta": prior.beta,
        "budget": prior.budget,
        "metadata": prior.metadata,
    }
    write_prior(
        path, header, tensors, modality=prior.modality, params=prior.network.params, force=force
    )


def _tensors(levels, class_level):
    """Name, attribute, place in it and type of the tensors of every level."""
    for level in range(levels):
        yield f"scale.{level}", "scales", level, np.float32
        yield f"tail.{level}", "tails", level, np.float32
        if level > class_level:
            place = level - class_level - 1
            yield f"step.{level}", "step_sizes", place, np.float32
            yield f"numbers.{level}", "symbol_frequencies", place, np.int32
        else:
            yield f"expected.{level}", "expected", level, np.uint16


def parse(
    header: dict[str, Any], tensors: dict[str, np.ndarray], n_bytes: int, common: dict[str, Any]
) -> TransformPrior:
    """The prior in a file; see `recjax.codec.kinds.Kind`.

    Raises:
        KeyError, TypeError, ValueError: it is damaged.
    """
    config = _config(header["network"], n_bytes)
    thresholds, frequencies = tensors["thresholds"], tensors["frequencies"]
    class_level, n = header["class_level"], len(thresholds) + 1
    check_tensor(thresholds, "thresholds", np.float32, (n - 1,))
    if not 2 <= n <= MAX_CLASSES or (np.diff(thresholds) <= 0).any():
        raise ValueError("thresholds of activity do not increase, or are too many")
    check_tensor(frequencies, "frequencies", np.int32, (2 * n - 1, n))
    sums = frequencies.astype(np.int64).sum(1)
    if (frequencies < LEAST).any() or (sums != 1 << PRECISION).any():
        raise ValueError("frequencies do not add up")
    if not (type(class_level) is int and 0 <= class_level < config.levels):
        raise ValueError(f"class_level {class_level} is out of range")
    fields: dict[str, list[np.ndarray]] = {
        name: [] for name in ("scales", "tails", "step_sizes", "symbol_frequencies", "expected")
    }
    for name, field, _, dtype in _tensors(config.levels, class_level):
        depth = config.depths[int(name.split(".")[1])]
        shapes = {"symbol_frequencies": (depth, 2 * LARGEST + 1), "expected": (n, depth)}
        check_tensor(tensors[name], name, dtype, shapes.get(field, (depth,)))
        _CHECKS.get(field, _check_positive)(name, tensors[name])
        fields[field].append(tensors[name])
    return TransformPrior(
        **common,
        network=TransformNetwork(config, loaded_params(parameters(config), tensors)),
        class_level=class_level,
        thresholds=thresholds,
        frequencies=frequencies,
        **{field: tuple(arrays) for field, arrays in fields.items()},
    )


def _check_positive(name, tensor):
    if (tensor <= 0).any():
        raise ValueError(f"{name} is not positive")


def _check_tail(name, tensor):
    _check_positive(name, tensor)
    if (tensor < LEAST_TAIL).any() or (tensor > 1).any():
        raise ValueError("a tail is out of range")


def _check_expected(name, tensor):
    if (tensor > MOST).any():
        raise ValueError("an expected KL is out of range")


def _check_symbols(name, tensor):
    if not check_frequencies(tensor):
        raise ValueError("frequencies do not add up")


_CHECKS = {
    "tails": _check_tail,
    "expected": _check_expected,
    "symbol_frequencies": _check_symbols,
}


def _config(fields, n_bytes):
    """The architecture, once its numbers are such that a file of ``n_bytes`` can hold it."""
    if not isinstance(fields, dict):
        raise ValueError("a network is described by its sizes")
    sizes = []
    for name, value in fields.items():
        # sides are per axis or the same for all axes
        several = name in ("stride", "growth") and isinstance(value, list) and len(value) <= 3
        sizes += value if several else [value]
    if not all(type(size) is int and 0 <= size <= 1 << 12 for size in sizes):
        raise ValueError("a size of the network is out of range")
    config = TransformConfig(
        **{name: tuple(x) if isinstance(x, list) else x for name, x in fields.items()}
    )
    sizes = []
    map_named(lambda _, parameter: sizes.append(math.prod(parameter.shape)), parameters(config))
    # in half precision at least
    if 2 * sum(sizes) > n_bytes:
        raise ValueError("the network is larger than the file")
    return config
