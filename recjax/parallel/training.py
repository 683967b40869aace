"""Data parallelism of training, over the devices of this process."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import (
    Mesh,
    NamedSharding,
    PartitionSpec,
)

Tree = TypeVar("Tree")

AXIS = "batch"
SHARED = PartitionSpec()
"""Sharding of a replicated array: every device has all of it."""


def divided(axis: int = 0) -> PartitionSpec:
    """Sharding of an array that is divided along `axis` among the devices."""
    return PartitionSpec(*[None] * axis, AXIS)


def devices_for(count: int) -> int:
    """Returns the largest number of devices that divides `count` evenly.

    Raises:
        ValueError: the program runs on several hosts, which would all write the same files.

    >>> devices_for(1)
    1
    """
    if jax.process_count() > 1:
        raise ValueError(
            "training on several hosts is not supported: run it on one, with all of its devices"
        )
    return max(n for n in range(1, jax.local_device_count() + 1) if count % n == 0)


@functools.cache
def _mesh(devices: int) -> Mesh:
    return Mesh(np.array(jax.local_devices()[:devices]), (AXIS,))


def placed(tree: Tree, devices: int, spec: PartitionSpec = SHARED) -> Tree:
    """Puts the arrays of a tree on the first `devices` devices, all with the same sharding."""
    return jax.device_put(tree, NamedSharding(_mesh(devices), spec))


def laid_out(tree: Tree, devices: int, spec: PartitionSpec = SHARED) -> Tree:
    """Constrains the sharding of the arrays of a tree inside a compiled function."""
    return jax.lax.with_sharding_constraint(tree, NamedSharding(_mesh(devices), spec))


def on_parts(function: Callable, devices: int, in_specs: Any, out_specs: Any) -> Callable:
    """Maps a function over the shards of its arguments, one per device; `total` sums over devices.

    Args:
        function: function of shards.
        devices: number of devices.
        in_specs, out_specs: shardings of the arguments and results, as for `jax.shard_map`.
    """
    # check_vma would insert sums over devices into gradients of replicated arrays; callers sum
    # gradients with `total`, together with the losses
    return jax.shard_map(
        function, mesh=_mesh(devices), in_specs=in_specs, out_specs=out_specs, check_vma=False
    )


def total(tree: Tree) -> Tree:
    """Sums over all devices, inside a function of `on_parts`."""
    return jax.lax.psum(tree, AXIS)
