"""Priors of implicit neural representations: COMBINER's and RECOMBINER's."""

import dataclasses
import functools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from recjax.codec.prior import Prior, check_tensor, loaded_params, write_prior
from recjax.codec.siren.groups import LatentGroup, kinds, n_rows
from recjax.codec.siren.network import Siren, SirenConfig
from recjax.codec.siren.objective import SirenNetwork
from recjax.codec.siren.posterior import LatentPrior
from recjax.codec.siren.upsampler import EncodingConfig


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class SirenPrior(Prior):
    """A trained prior of the networks of patches.

    Attributes:
      config: architecture.
      network: shared parameters and the distribution of the latents.
      groups: of latents, in coding order; the last one is that of the patches.
      region: patches along a side of a region.
    """

    kind = "siren"
    rate_is_free = False

    config: SirenConfig
    network: SirenNetwork
    groups: tuple[LatentGroup, ...]
    region: int

    @property
    def patch(self) -> tuple[int, ...]:
        """Cells of a patch along every axis."""
        return self.config.grid

    @property
    def channels(self) -> int:
        """Values of a cell."""
        return self.config.channels

    @property
    def n_latents(self) -> int:
        """Latents of one row of every group."""
        return sum(group.n_latents for group in self.groups)

    def blocks_in(self, patches: tuple[int, int]) -> tuple[int, ...]:
        """Blocks of every group in an image of so many (rows, columns) of patches."""
        return tuple(
            n_rows(group.kind, patches, self.region) * group.n_blocks for group in self.groups
        )

    @property
    def n_blocks(self) -> int:
        """Blocks of a patch of its own."""
        return self.groups[-1].n_blocks

    @property
    def summary(self) -> dict[str, Any]:
        """Kind, blocks of a row of every group, and bits of a patch."""
        blocks = {group.kind: group.n_blocks for group in self.groups}
        return {
            "kind": "implicit neural representation",
            "blocks": blocks,
            "rate_bits": self.rate_bits,
        }

    @property
    def rate_bits(self) -> float:
        """Nominal bits of KL of a patch, without its share of its region and image."""
        return float(self.n_blocks * self.budget)


def save_prior(
    path,
    *,
    config: SirenConfig,
    params: Any,
    modality: str,
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

    The others are the attributes of :class:`SirenPrior`.

    Raises:
      ValueError: the file exists and ``force`` is off, or cannot be written.
    """
    tensors = {
        _key(group.kind, name): getattr(group, name).astype(dtype)
        for group in groups
        for name, dtype in _GROUP_DTYPES.items()
    }
    header = {
        "kind": SirenPrior.kind,
        "network": dataclasses.asdict(config),
        "levels": len(groups),
        "region": region,
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
) -> SirenPrior:
    """The prior in a file.

    Raises:
      KeyError, TypeError, ValueError: it is damaged.
    """
    if header["format"] == 1:
        header = header | {"levels": 1, "region": 1}
    levels, region = header["levels"], header["region"]
    if not (
        type(levels) is int and 1 <= levels <= 3 and type(region) is int and 1 <= region <= 1 << 12
    ):
        raise ValueError(f"levels {levels} or region {region} is out of range")
    config = _siren_config(header["network"], n_bytes)
    graph, params = _structure(config)
    params = loaded_params(params, tensors)
    groups = tuple(_group(kind, tensors, config) for kind in kinds(levels))
    priors = tuple(
        LatentPrior(jnp.zeros(g.n_latents, jnp.float32), jnp.asarray(g.scale)) for g in groups
    )
    return SirenPrior(
        **common,
        config=config,
        network=SirenNetwork(graph, params, priors),
        groups=groups,
        region=region,
    )


@functools.lru_cache(maxsize=4)
def _structure(config):
    """Graph and shapes of the parameters; finding them takes most of the time of reading a prior."""
    return nnx.split(nnx.eval_shape(lambda: Siren(config)))


_GROUP_DTYPES = {"scale": np.float32, "log_std": np.float32, "order": np.int32, "widths": np.int32}


def _key(kind, name):
    """Name of a group's tensor; those of the patches are as in format 1."""
    return name if kind == "patch" else f"{kind}.{name}"


def _group(kind, tensors, config):
    n_latents = config.n_latents if kind == "patch" else config.n_weight_latents
    parts = {name: tensors[_key(kind, name)] for name in _GROUP_DTYPES}
    for name, dtype in _GROUP_DTYPES.items():
        shape = (n_latents,) if dtype == np.float32 else (len(parts[name]),)
        check_tensor(parts[name], _key(kind, name), dtype, shape)
    order, widths = parts["order"], parts["widths"]
    if len(np.unique(order)) != len(order) or (order < 0).any() or (order >= n_latents).any():
        raise ValueError("order lists a latent twice, or one that does not exist")
    if (widths < 1).any() or widths.sum() != len(order) or (kind == "patch" and not len(widths)):
        raise ValueError("widths do not add up to the latents")
    if (parts["scale"] <= 0).any():
        raise ValueError("scale is not positive")
    return LatentGroup(kind=kind, **parts)


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
    sizes += tuple(
        size
        for value in encoding.values()
        for size in (value if isinstance(value, tuple) else (value,))
    )
    if (
        not all(type(size) is int and 0 <= size <= 1 << 16 for size in sizes)
        or fields["layers"] > 64
    ):
        raise ValueError("a size of the network is out of range")
    if not all(isinstance(fields[key], bool) for key in ("reparameterise", "learn_features")):
        raise ValueError("a switch of the network is not true or false")
    config = SirenConfig(
        **fields | {"grid": grid, "latents": latents, "encoding": EncodingConfig(**encoding)}
    )
    dims = config.encoding.layer_dims if config.encoding.depth else ()
    kernels = sum(4 * n_in * n_out * factor**2 for n_in, n_out, factor in dims)
    if 2 * (math.prod(grid) * config.features + kernels) > n_bytes:
        raise ValueError("the network is larger than the file")
    return config
