"""Priors of implicit neural representations: COMBINER's and RECOMBINER's."""

import dataclasses
import functools
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from recjax.codec.prior import Prior, check_tensor, loaded_params, write_prior
from recjax.codec.siren.layout import LatentGroup, kinds, n_rows
from recjax.codec.siren.settings import EncodingConfig, SirenConfig, network_shapes

if TYPE_CHECKING:
    from recjax.codec.siren.objective import SirenNetwork


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class SirenPrior(Prior):
    """A trained prior of the networks of patches.

    Attributes:
        config: architecture, without the latents that carry no information.
        params: parameters that all patches share, see `recjax.codec.siren.network`.
        groups: groups of latents, in coding order; the last one is that of the patches. Their
            latents have mean zero.
        region: patches of a region along every axis.
    """

    kind = "siren"
    rate_is_free = False

    config: SirenConfig
    params: dict[str, Any]
    groups: tuple[LatentGroup, ...]
    region: tuple[int, ...]

    @functools.cached_property
    def network(self) -> "SirenNetwork":
        """The network with the distribution of its latents."""
        import jax  # facts about a prior need none of this
        import jax.numpy as jnp

        from recjax.codec.siren.objective import SirenNetwork
        from recjax.codec.siren.posterior import LatentPrior

        priors = tuple(
            LatentPrior(jnp.zeros(group.n_latents, jnp.float32), jnp.asarray(group.scale))
            for group in self.groups
        )
        return SirenNetwork(self.config, jax.tree.map(jnp.asarray, self.params), priors)

    @property
    def patch(self) -> tuple[int, ...]:
        """Points of a patch along every axis."""
        return self.config.grid

    @property
    def channels(self) -> int:
        """Values per point."""
        return self.config.channels

    @property
    def n_latents(self) -> int:
        """Latents of one row of every group."""
        return sum(group.n_latents for group in self.groups)

    def rows_in(self, patches: tuple[int, ...]) -> tuple[int, ...]:
        """Rows of every group in a signal with these numbers of patches along every axis."""
        return tuple(n_rows(group.kind, patches, self.region) for group in self.groups)

    def blocks_in(self, patches: tuple[int, ...]) -> tuple[int, ...]:
        """Blocks of every group in a signal with these numbers of patches along every axis."""
        rows = self.rows_in(patches)
        return tuple(n * group.n_blocks for n, group in zip(rows, self.groups, strict=True))

    @property
    def n_blocks(self) -> int:
        """Blocks per patch, without those of its region and signal."""
        return self.groups[-1].n_blocks

    @property
    def rate_bits(self) -> float:
        """Nominal bits of KL per patch, without its share of its region and signal."""
        return float(self.n_blocks * self.budget)

    @property
    def summary(self) -> dict[str, Any]:
        """Kind, blocks of a row of every group, and bits per patch."""
        blocks = {group.kind: group.n_blocks for group in self.groups}
        return {"kind": self.kind, "blocks": blocks, "rate_bits": self.rate_bits}


def save(prior: SirenPrior, path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Writes a prior file atomically; the name and the digest of ``prior`` do not matter.

    Args:
        prior: the prior.
        path: the file.
        force: whether an existing file may be replaced.

    Raises:
        ValueError: the file exists and ``force`` is off, or cannot be written.
    """
    tensors = {
        _key(group.kind, name): getattr(group, name).astype(dtype)
        for group in prior.groups
        for name, dtype in _GROUP_DTYPES.items()
    }
    equal = len(set(prior.region)) == 1
    header = {
        "kind": prior.kind,
        "network": dataclasses.asdict(prior.config),
        "levels": len(prior.groups),
        # one number if it is the same along all axes
        "region": prior.region[0] if equal else list(prior.region),
        "beta": prior.beta,
        "budget": prior.budget,
        "metadata": prior.metadata,
    }
    write_prior(path, header, tensors, modality=prior.modality, params=prior.params, force=force)


def parse(
    header: dict[str, Any], tensors: dict[str, np.ndarray], n_bytes: int, common: dict[str, Any]
) -> SirenPrior:
    """The prior in a file; see `recjax.codec.kinds.Kind`.

    Raises:
        KeyError, TypeError, ValueError: the file is damaged.
    """
    if header["format"] == 1:
        header = header | {"levels": 1, "region": 1}
    levels = header["levels"]
    if type(levels) is not int or not 1 <= levels <= 3:
        raise ValueError(f"levels {levels} is out of range")
    config = _siren_config(header["network"], n_bytes)
    return SirenPrior(
        **common,
        config=config,
        params=loaded_params(network_shapes(config), tensors),
        groups=tuple(_group(kind, tensors, config) for kind in kinds(levels)),
        region=_region(header["region"], config.rank),
    )


_GROUP_DTYPES = {"scale": np.float32, "log_std": np.float32, "order": np.int32, "widths": np.int32}
_PREFIXES = {"signal": "image.", "region": "region.", "patch": ""}
"""Names of the groups in files: those of the patches are as in format 1, which had no others."""


def _key(kind, name):
    """Name of a group's tensor."""
    return _PREFIXES[kind] + name


def _region(region, rank):
    sides = tuple(region) if isinstance(region, list) else (region,) * rank
    if len(sides) != rank or not all(type(n) is int and 1 <= n <= 1 << 12 for n in sides):
        raise ValueError(f"region {region} is out of range")
    return sides


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
    """The architecture; refuses one that a file of ``n_bytes`` cannot hold."""
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
    rank, dims = config.rank, config.encoding.layer_dims if config.encoding.depth else ()
    kernels = sum(2**rank * n_in * n_out * factor**rank for n_in, n_out, factor in dims)
    if 2 * (math.prod(grid) * config.features + kernels) > n_bytes:
        raise ValueError("the network is larger than the file")
    return config
