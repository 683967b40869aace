"""Priors: everything that encoder and decoder share, in one file without pickle.

A file is in the safetensors format: tensors, and one JSON text under the metadata key ``recjax``. Its name in
``.rec`` files is the SHA-256 of its bytes.
"""

import dataclasses
import functools
import hashlib
import json
import math
import os
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from flax import nnx

from recjax.codec.objective import Network
from recjax.codec.partition import block_table
from recjax.codec.posterior import LatentPrior
from recjax.inr.siren import Siren, SirenConfig

FORMAT = 1
MAX_BYTES = 1 << 28


@dataclasses.dataclass(frozen=True, eq=False)
class Prior:
    """A trained prior.

    Attributes:
      name: for people; files name a prior by its digest.
      digest: SHA-256 of the file, 32 bytes.
      config: architecture.
      network: shared parameters and the distribution of the latents.
      log_std: ``[n_latents]``, where the fit of a posterior starts.
      beta: price of a nat of KL at which the prior was trained; mean squared error of values in [0, 1].
      order, widths: the latents in coding order, and how many of them each block takes.
      budget: bits of KL a block is meant to have.
      metadata: provenance (training data and licence, command, seed, versions, results).
    """

    name: str
    digest: bytes
    config: SirenConfig
    network: Network
    log_std: np.ndarray
    beta: float
    order: np.ndarray
    widths: np.ndarray
    budget: int
    modality: str
    metadata: dict[str, Any]

    @property
    def patch_shape(self) -> tuple[int, ...]:
        """Grid and channels of a patch."""
        return (*self.config.grid, self.config.channels)

    @property
    def n_blocks(self) -> int:
        """Blocks a patch."""
        return len(self.widths)

    @property
    def rate_bits(self) -> float:
        """Nominal bits of KL a patch."""
        return float(self.n_blocks * self.budget)

    @functools.cached_property
    def blocks(self) -> np.ndarray:
        """Latents of every block, padded with ``n_latents``."""
        return block_table(self.order, self.widths, self.config.n_latents)


def save_prior(
    path: str | os.PathLike,
    *,
    config: SirenConfig,
    params: Any,
    scale: np.ndarray,
    log_std: np.ndarray,
    beta: float,
    order: np.ndarray,
    widths: np.ndarray,
    budget: int,
    metadata: dict[str, Any],
    force: bool = False,
) -> None:
    """Writes a prior file atomically.

    Args:
      config, params: of the network without its uninformative latents.
      scale: the latents' standard deviations; their means are zero.

    The others are the attributes of :class:`Prior`.

    Raises:
      ValueError: the file exists and ``force`` is off, or cannot be written.
    """
    from recjax.atomic import write_atomic

    tensors = {name: np.asarray(leaf).astype(_leaf_dtype(leaf)) for name, leaf in _named_leaves(params)}
    tensors |= {
        "scale": np.asarray(scale, np.float32),
        "log_std": np.asarray(log_std, np.float32),
        "order": order.astype(np.int32),
        "widths": widths.astype(np.int32),
    }
    header = {
        "format": FORMAT,
        "modality": "image",
        "network": dataclasses.asdict(config),
        "beta": beta,
        "budget": budget,
        "metadata": metadata,
    }
    blob = safetensors.numpy.save(tensors, metadata={"recjax": json.dumps(header, sort_keys=True)})
    write_atomic(path, blob, force=force)


def embedded_priors() -> dict[str, Path]:
    """Names and files of the priors inside the package."""
    folder = resources.files("recjax") / "priors"
    return {path.stem: path for path in sorted(Path(str(folder)).glob("*.safetensors"))}


def load_prior(name_or_path: str | os.PathLike) -> Prior:
    """An embedded prior by name, or any prior by path.

    Raises:
      ValueError: there is no such prior, or the file is damaged or not a prior.

    >>> load_prior("photo-high").patch_shape
    (32, 32, 3)
    """
    embedded = embedded_priors()
    path = embedded.get(str(name_or_path), Path(name_or_path))
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ValueError(f"prior {path} is larger than {MAX_BYTES >> 20} MiB")
        blob = path.read_bytes()
    except OSError as error:
        names = ", ".join(embedded) or "none"
        reason = error.strerror or error
        raise ValueError(f"prior {name_or_path} cannot be read: {reason} (embedded priors: {names})") from None
    try:
        return _parse(blob, path.stem)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"prior {name_or_path} is damaged or not a recjax prior: {error}") from None


@functools.lru_cache(maxsize=8)
def _parse(blob: bytes, name: str) -> Prior:
    header = _header(blob)
    if header["format"] != FORMAT:
        raise ValueError(f"format {header['format']} is not known (this release reads {FORMAT})")
    if header["modality"] != "image" or not isinstance(header["metadata"], dict):
        raise ValueError("modality or metadata is not of a known kind")
    config = _config(header["network"], len(blob))
    tensors = safetensors.numpy.load(blob)
    graph, params = nnx.split(nnx.eval_shape(lambda: Siren(config)))
    for leaf_name, leaf in _named_leaves(params):
        _check(tensors[leaf_name], leaf_name, _leaf_dtype(leaf), leaf.shape)
    leaves = [jnp.asarray(tensors[leaf_name], jnp.float32) for leaf_name, _ in _named_leaves(params)]
    params = jax.tree.unflatten(jax.tree.structure(params), leaves)
    for key in ("scale", "log_std"):
        _check(tensors[key], key, np.float32, (config.n_latents,))
    order, widths = tensors["order"], tensors["widths"]
    _check(order, "order", np.int32, (len(order),))
    _check(widths, "widths", np.int32, (len(widths),))
    if not config.n_latents or not np.array_equal(np.sort(order), np.arange(config.n_latents)):
        raise ValueError("order does not list every latent once")
    if not len(widths) or widths.min() < 1 or widths.sum() != len(order):
        raise ValueError("widths do not add up to the latents")
    budget, beta = header["budget"], float(header["beta"])
    if not (isinstance(budget, int) and 4 <= budget <= 20 and 0 < beta < 1):
        raise ValueError(f"budget {budget} or beta {beta} is out of range")
    if (tensors["scale"] <= 0).any():
        raise ValueError("scale is not positive")
    return Prior(
        name=name,
        digest=hashlib.sha256(blob).digest(),
        config=config,
        network=Network(
            graph, params, LatentPrior(jnp.zeros(config.n_latents, jnp.float32), jnp.asarray(tensors["scale"]))
        ),
        log_std=tensors["log_std"],
        beta=beta,
        order=order,
        widths=widths,
        budget=budget,
        modality=header["modality"],
        metadata=header["metadata"],
    )


def _header(blob):
    length = int.from_bytes(blob[:8], "little")
    try:
        return json.loads(json.loads(blob[8 : 8 + length])["__metadata__"]["recjax"])
    except (KeyError, TypeError, ValueError, RecursionError):
        raise ValueError("it does not begin with the description of a prior") from None


def _config(fields, n_bytes):
    """The architecture, once its numbers are such that a file of ``n_bytes`` can hold the network."""
    grid, latents = tuple(fields["grid"]), tuple(fields["latents"])
    sizes = (*grid, *latents, *(fields[key] for key in ("channels", "width", "layers", "features")))
    if not all(type(size) is int and 0 <= size <= 1 << 16 for size in sizes) or len(grid) > 4 or fields["layers"] > 64:
        raise ValueError("a size of the network is out of range")
    if 2 * math.prod(grid) * fields["features"] > n_bytes:
        raise ValueError("the network is larger than the file")
    if not all(isinstance(fields[key], bool) for key in ("reparameterise", "learn_features")):
        raise ValueError("a switch of the network is not true or false")
    return SirenConfig(**fields | {"grid": grid, "latents": latents})


def _named_leaves(params):
    leaves = jax.tree_util.tree_flatten_with_path(nnx.to_pure_dict(params))[0]
    return [("params" + jax.tree_util.keystr(path), leaf) for path, leaf in leaves]


def _leaf_dtype(leaf):
    """Matrices and features in half precision, offsets (a thousandth of the file) not."""
    return np.float16 if leaf.ndim == 2 else np.float32


def _check(tensor, name, dtype, shape):
    if tensor.dtype != dtype or tensor.shape != tuple(shape) or tensor.ndim != len(shape):
        raise ValueError(f"{name} must be {np.dtype(dtype)}{list(shape)}, got {tensor.dtype}{list(tensor.shape)}")
    if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
        raise ValueError(f"{name} is not finite")
