"""Priors: everything that encoder and decoder share, in one file without pickle.

A file is in the safetensors format: tensors, and one JSON text under the metadata key ``recjax``. Its name in
``.rec`` files is the SHA-256 of its bytes. What is in it depends on the network: :mod:`recjax.codec.siren.prior`,
:mod:`recjax.codec.transform.prior`.
"""

import abc
import dataclasses
import json
import os
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import nnx
from jaxtyping import Array, UInt32

FORMAT = 3
"""Format 1 has neither hierarchy nor positional encodings, format 2 no transforms."""


class Network(NamedTuple):
    """A network split by ``nnx.split``."""

    graph: nnx.GraphDef
    params: Any

    def module(self) -> Any:
        """The network put together again."""
        return nnx.merge(self.graph, self.params)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Prior(abc.ABC):
    """A trained prior.

    Attributes:
      name: for people; files name a prior by its digest.
      digest: SHA-256 of the file, 32 bytes.
      beta: price of a nat of KL at which the prior was trained; mean squared error of values in [0, 1].
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
    """Whether an encoder can choose the rate by its Lagrange multiplier; else the prior has one rate."""

    @property
    @abc.abstractmethod
    def patch(self) -> tuple[int, ...]:
        """Cells along every axis of the pieces that signals are made of."""

    @property
    @abc.abstractmethod
    def channels(self) -> int:
        """Values of a cell."""

    @property
    @abc.abstractmethod
    def summary(self) -> dict[str, Any]:
        """Facts for people."""


def stream_key(prior: Prior) -> UInt32[Array, "2"]:
    """Key of the random numbers that all files of a prior share: the first 64 bits of its digest."""
    return jnp.asarray(np.frombuffer(prior.digest[:8], ">u4").astype(np.uint32))


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
      header: what the file says besides its format and modality.
      tensors: besides those of the network.
      modality: name of the modality.
      params: of the network.

    Raises:
      ValueError: the file exists and ``force`` is off, or cannot be written.
    """
    from recjax.atomic import write_atomic

    network = {
        name: np.asarray(leaf).astype(_leaf_dtype(leaf)) for name, leaf in _named_leaves(params)
    }
    text = json.dumps(header | {"format": FORMAT, "modality": modality}, sort_keys=True)
    write_atomic(
        path, safetensors.numpy.save(network | tensors, metadata={"recjax": text}), force=force
    )


def embedded_priors() -> dict[str, Path]:
    """Names and files of the priors inside the package."""
    folder = resources.files("recjax") / "priors"
    return {path.stem: path for path in sorted(Path(str(folder)).glob("*.safetensors"))}


def loaded_params(like: Any, tensors: dict[str, np.ndarray]) -> Any:
    """The parameters of a network in a file's tensors.

    Args:
      like: parameters of the same shapes.

    Raises:
      KeyError, ValueError: one is missing, or of another shape, or not finite.
    """
    names = [name for name, _ in _named_leaves(like)]
    for name, leaf in _named_leaves(like):
        check_tensor(tensors[name], name, _leaf_dtype(leaf), leaf.shape)
    return jax.tree.unflatten(
        jax.tree.structure(like), [jnp.asarray(tensors[name], jnp.float32) for name in names]
    )


def check_tensor(tensor: np.ndarray, name: str, dtype: Any, shape: tuple[int, ...]) -> None:
    """Raises a ValueError unless the tensor is as it should be, and finite."""
    if tensor.dtype != dtype or tensor.shape != tuple(shape) or tensor.ndim != len(shape):
        raise ValueError(
            f"{name} must be {np.dtype(dtype)}{list(shape)}, got {tensor.dtype}{list(tensor.shape)}"
        )
    if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
        raise ValueError(f"{name} is not finite")


def _named_leaves(params):
    pure = params if isinstance(params, dict) else nnx.to_pure_dict(params)
    leaves = jax.tree_util.tree_flatten_with_path(pure)[0]
    return [("params" + jax.tree_util.keystr(path), leaf) for path, leaf in leaves]


def _leaf_dtype(leaf):
    """Matrices and features in half precision, offsets (a thousandth of the file) not."""
    return np.float16 if leaf.ndim == 2 else np.float32
