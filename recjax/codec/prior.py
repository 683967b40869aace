"""Priors: everything that encoder and decoder share, in one file without pickle.

A file is in the safetensors format: tensors, and one JSON text under the metadata key ``recjax``.
Its name in ``.rec`` files is the SHA-256 of its bytes. What is in it depends on the kind, see
`recjax.codec.siren.prior`, `recjax.codec.transform.prior` and `recjax.codec.staged.prior`.
"""

import abc
import dataclasses
import json
import os
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import safetensors.numpy
from jaxtyping import UInt32

# functions that need JAX import it: `recjax info` and `recjax priors` do without

FORMAT = 4
"""Format 1 has neither hierarchy nor positional encodings, format 2 no transforms, format 3 no
staged coefficients."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Prior(abc.ABC):
    """A trained prior.

    Attributes:
      name: for people; files name a prior by its digest.
      digest: SHA-256 of the file, 32 bytes.
      beta: price of a nat of KL at which the prior was trained, in units of the mean squared error
          of values in [0, 1].
      budget: bits of KL a block is meant to have.
      modality: name of the modality of the signals that it is for.
      metadata: provenance (training data and licence, command, seed, versions, results).
    """

    name: str
    digest: bytes
    beta: float
    budget: int
    modality: str
    metadata: dict[str, Any]

    kind: ClassVar[str]
    """Name of the kind in `recjax.codec.kinds.KINDS` and in prior files."""
    rate_is_free: ClassVar[bool]
    """Whether an encoder chooses the rate by its Lagrange multiplier; else the prior has one."""
    price_range: ClassVar[tuple[float, float]] = (0.01, 100)
    """Lagrange multipliers that an encoder may use, relative to the one of the training."""

    @property
    @abc.abstractmethod
    def patch(self) -> tuple[int, ...]:
        """Cells along every axis of the pieces that signals are made of."""

    @property
    @abc.abstractmethod
    def channels(self) -> int | None:
        """Values of a cell; None if any number will do."""

    @property
    @abc.abstractmethod
    def summary(self) -> dict[str, Any]:
        """Facts for people."""


def stream_key(prior: Prior) -> UInt32[np.ndarray, "2"]:
    """Key of the random numbers of all files of a prior: the first 64 bits of its digest."""
    return np.frombuffer(prior.digest[:8], ">u4").astype(np.uint32)


def write_prior(
    path: str | os.PathLike[str],
    header: dict[str, Any],
    tensors: dict[str, np.ndarray],
    *,
    modality: str,
    params: Any,
    force: bool,
) -> None:
    """Writes a prior file atomically.

    Args:
        path: the file.
        header: description of the prior, without its format and modality.
        tensors: arrays by name, without those of the network.
        modality: name of the modality.
        params: parameters of the network: nested dictionaries and lists of arrays.
        force: whether an existing file may be replaced.

    Raises:
        ValueError: the file exists and ``force`` is off, or cannot be written.
    """
    from recjax.atomic import write_atomic

    network: dict[str, np.ndarray] = {}
    map_named(
        lambda name, leaf: network.update({name: np.asarray(leaf).astype(_dtype(leaf.shape))}),
        params,
    )
    text = json.dumps(header | {"format": FORMAT, "modality": modality}, sort_keys=True)
    write_atomic(
        path, safetensors.numpy.save(network | tensors, metadata={"recjax": text}), force=force
    )


def loaded_params(like: Any, tensors: dict[str, np.ndarray]) -> Any:
    """The parameters of a network in a file's tensors, as NumPy arrays.

    Args:
        like: nested dictionaries and lists with anything that has a shape, such as an array.
        tensors: the tensors of the file by name.

    Raises:
        KeyError, ValueError: one is missing, or of another shape, or not finite.
    """

    def load(name: str, leaf: Any) -> np.ndarray:
        check_tensor(tensors[name], name, _dtype(leaf.shape), leaf.shape)
        return tensors[name].astype(np.float32)

    return map_named(load, like)


def check_tensor(tensor: np.ndarray, name: str, dtype: Any, shape: tuple[int, ...]) -> None:
    """Raises a ValueError unless the tensor is as it should be, and finite."""
    if tensor.dtype != dtype or tensor.shape != tuple(shape) or tensor.ndim != len(shape):
        raise ValueError(
            f"{name} must be {np.dtype(dtype)}{list(shape)}, got {tensor.dtype}{list(tensor.shape)}"
        )
    if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
        raise ValueError(f"{name} is not finite")


def map_named(function: Callable[[str, Any], Any], tree: Any, name: str = "params") -> Any:
    """A function of name and value of every leaf; a leaf's name is its path, as JAX prints it."""
    if isinstance(tree, dict):
        return {key: map_named(function, tree[key], f"{name}[{key!r}]") for key in sorted(tree)}
    if isinstance(tree, list):
        return [map_named(function, x, f"{name}[{i}]") for i, x in enumerate(tree)]
    return function(name, tree)


def _dtype(shape: tuple[int, ...]) -> Any:
    """Matrices and features in half precision, offsets (a thousandth of the file) not."""
    return np.float16 if len(shape) == 2 else np.float32
