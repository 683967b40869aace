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

from recjax.codec.groups import LatentGroup, kinds, n_rows
from recjax.codec.objective import Network
from recjax.codec.posterior import LatentPrior
from recjax.inr.siren import Siren, SirenConfig
from recjax.inr.transform import Transform, TransformConfig
from recjax.inr.upsampler import EncodingConfig

FORMAT = 3
"""Format 1 has neither hierarchy nor positional encodings, format 2 no transforms."""
MAX_BYTES = 1 << 28


@dataclasses.dataclass(frozen=True, eq=False)
class Prior:
    """A trained prior.

    Attributes:
      name: for people; files name a prior by its digest.
      digest: SHA-256 of the file, 32 bytes.
      config: architecture.
      network: shared parameters and the distribution of the latents.
      groups: of latents, in coding order; the last one is that of the patches.
      region: patches along a side of a region.
      beta: price of a nat of KL at which the prior was trained; mean squared error of values in [0, 1].
      budget: bits of KL a block is meant to have.
      metadata: provenance (training data and licence, command, seed, versions, results).
    """

    name: str
    digest: bytes
    config: SirenConfig | TransformConfig
    network: Network
    groups: tuple[LatentGroup, ...]
    region: int
    beta: float
    budget: int
    modality: str
    metadata: dict[str, Any]

    @property
    def patch_shape(self) -> tuple[int, ...]:
        """Grid and channels of a patch."""
        return (*self.config.grid, self.config.channels)

    @property
    def n_latents(self) -> int:
        """Latents of one row of every group."""
        return sum(group.n_latents for group in self.groups)

    def blocks_in(self, patches: tuple[int, int]) -> tuple[int, ...]:
        """Blocks of every group in an image of so many (rows, columns) of patches."""
        return tuple(n_rows(group.kind, patches, self.region) * group.n_blocks for group in self.groups)

    @property
    def n_blocks(self) -> int:
        """Blocks of a patch of its own."""
        return self.groups[-1].n_blocks

    @property
    def rate_bits(self) -> float:
        """Nominal bits of KL of a patch, without its share of its region and image."""
        return float(self.n_blocks * self.budget)


def save_prior(
    path: str | os.PathLike,
    *,
    config: SirenConfig | TransformConfig,
    params: Any,
    groups: tuple[LatentGroup, ...],
    region: int,
    beta: float,
    budget: int,
    metadata: dict[str, Any],
    force: bool = False,
) -> None:
    """Writes a prior file atomically.

    Args:
      config, params: of the network without its uninformative latents.
      groups: whose latents have mean zero.

    The others are the attributes of :class:`Prior`.

    Raises:
      ValueError: the file exists and ``force`` is off, or cannot be written.
    """
    from recjax.atomic import write_atomic

    tensors = {name: np.asarray(leaf).astype(_leaf_dtype(leaf)) for name, leaf in _named_leaves(params)}
    for group in groups:
        tensors |= {_key(group.kind, name): getattr(group, name).astype(dtype) for name, dtype in _GROUP_DTYPES.items()}
    header = {
        "format": FORMAT,
        "modality": "image",
        "kind": "siren" if isinstance(config, SirenConfig) else "transform",
        "network": dataclasses.asdict(config),
        "levels": len(groups),
        "region": region,
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
    if header["format"] not in range(1, FORMAT + 1):
        raise ValueError(f"format {header['format']} is not known (this release reads 1 to {FORMAT})")
    if header["format"] == 1:
        header = header | {"levels": 1, "region": 1}
    if header["modality"] != "image" or not isinstance(header["metadata"], dict):
        raise ValueError("modality or metadata is not of a known kind")
    levels, region, budget, beta = header["levels"], header["region"], header["budget"], float(header["beta"])
    if not (type(levels) is int and 1 <= levels <= 3 and type(region) is int and 1 <= region <= 1 << 12):
        raise ValueError(f"levels {levels} or region {region} is out of range")
    if not (isinstance(budget, int) and 4 <= budget <= 20 and 0 < beta < 1):
        raise ValueError(f"budget {budget} or beta {beta} is out of range")
    kind = header.get("kind", "siren")
    if kind not in ("siren", "transform"):
        raise ValueError(f"networks of kind {kind} are not known")
    config = (_siren_config if kind == "siren" else _transform_config)(header["network"], len(blob))
    tensors = safetensors.numpy.load(blob)
    graph, params = nnx.split(nnx.eval_shape(lambda: _module(config)))
    for leaf_name, leaf in _named_leaves(params):
        _check(tensors[leaf_name], leaf_name, _leaf_dtype(leaf), leaf.shape)
    leaves = [jnp.asarray(tensors[leaf_name], jnp.float32) for leaf_name, _ in _named_leaves(params)]
    params = jax.tree.unflatten(jax.tree.structure(params), leaves)
    groups = tuple(_group(kind, tensors, config) for kind in kinds(levels))
    priors = tuple(LatentPrior(jnp.zeros(g.n_latents, jnp.float32), jnp.asarray(g.scale)) for g in groups)
    return Prior(
        name=name,
        digest=hashlib.sha256(blob).digest(),
        config=config,
        network=Network(graph, params, priors),
        groups=groups,
        region=region,
        beta=beta,
        budget=budget,
        modality=header["modality"],
        metadata=header["metadata"],
    )


_GROUP_DTYPES = {"scale": np.float32, "log_std": np.float32, "order": np.int32, "widths": np.int32}


def _key(kind, name):
    """Name of a group's tensor; those of the patches are as in format 1."""
    return name if kind == "patch" else f"{kind}.{name}"


def _group(kind, tensors, config):
    n_latents = config.n_latents if kind == "patch" else config.n_weight_latents
    parts = {name: tensors[_key(kind, name)] for name in _GROUP_DTYPES}
    for name, dtype in _GROUP_DTYPES.items():
        shape = (n_latents,) if dtype == np.float32 else (len(parts[name]),)
        _check(parts[name], _key(kind, name), dtype, shape)
    order, widths = parts["order"], parts["widths"]
    if len(np.unique(order)) != len(order) or (order < 0).any() or (order >= n_latents).any():
        raise ValueError("order lists a latent twice, or one that does not exist")
    if (widths < 1).any() or widths.sum() != len(order) or (kind == "patch" and not len(widths)):
        raise ValueError("widths do not add up to the latents")
    if (parts["scale"] <= 0).any():
        raise ValueError("scale is not positive")
    return LatentGroup(kind=kind, **parts)


def _header(blob):
    length = int.from_bytes(blob[:8], "little")
    try:
        return json.loads(json.loads(blob[8 : 8 + length])["__metadata__"]["recjax"])
    except (KeyError, TypeError, ValueError, RecursionError):
        raise ValueError("it does not begin with the description of a prior") from None


def _module(config):
    return Siren(config) if isinstance(config, SirenConfig) else Transform(config)


def _transform_config(fields, n_bytes):
    """The architecture of a transform, once its numbers are such that a file of ``n_bytes`` can hold it."""
    fields = fields | {"grid": tuple(fields["grid"])}
    sizes = [*fields["grid"], *(value for name, value in fields.items() if name != "grid")]
    if not all(type(size) is int and 0 <= size <= 1 << 12 for size in sizes):
        raise ValueError("a size of the network is out of range")
    config = TransformConfig(**fields)
    kernels = 4 * config.depth * config.channels * config.stride**2 + config.hidden * config.features * config.stride**2
    if 2 * kernels + 8 * config.n_latents > n_bytes:
        raise ValueError("the network is larger than the file")
    return config


def _siren_config(fields, n_bytes):
    """The architecture, once its numbers are such that a file of ``n_bytes`` can hold the network."""
    grid, latents = tuple(fields["grid"]), tuple(fields["latents"])
    encoding = fields.get("encoding", dataclasses.asdict(EncodingConfig()))
    if not isinstance(encoding, dict):
        raise ValueError("the encoding of the network is not described")
    encoding: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in encoding.items()
    }
    sizes = (*grid, *latents, *(fields[key] for key in ("channels", "width", "layers", "features")))
    sizes += tuple(size for value in encoding.values() for size in (value if isinstance(value, tuple) else (value,)))
    if not all(type(size) is int and 0 <= size <= 1 << 16 for size in sizes) or len(grid) > 4 or fields["layers"] > 64:
        raise ValueError("a size of the network is out of range")
    if not all(isinstance(fields[key], bool) for key in ("reparameterise", "learn_features")):
        raise ValueError("a switch of the network is not true or false")
    config = SirenConfig(**fields | {"grid": grid, "latents": latents, "encoding": EncodingConfig(**encoding)})
    dims = config.encoding.layer_dims if config.encoding.depth else ()
    kernels = sum(4 * n_in * n_out * factor**2 for n_in, n_out, factor in dims)
    if 2 * (math.prod(grid) * config.features + kernels) > n_bytes:
        raise ValueError("the network is larger than the file")
    return config


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
