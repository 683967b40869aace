"""Several devices: each works on its part of a batch, and has all that is shared. The only file that says mesh.

The devices are those of this process; without accelerators there is one, or as many as
``XLA_FLAGS=--xla_force_host_platform_device_count`` says.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Tree = TypeVar("Tree")

AXIS = "batch"
SHARED = PartitionSpec()
"""The whole of an array is on every device."""


def divided(axis: int = 0) -> PartitionSpec:
    """An array of whose ``axis`` every device has a part."""
    return PartitionSpec(*[None] * axis, AXIS)


def devices_for(count: int) -> int:
    """The largest number of devices among which ``count`` can be divided evenly.

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
    """The arrays of a tree on the first so many devices, all laid out alike."""
    return jax.device_put(tree, NamedSharding(_mesh(devices), spec))


def laid_out(tree: Tree, devices: int, spec: PartitionSpec = SHARED) -> Tree:
    """Inside a compiled function, says how the arrays of a tree are to be laid out."""
    return jax.lax.with_sharding_constraint(tree, NamedSharding(_mesh(devices), spec))


def on_parts(function: Callable, devices: int, in_specs: Any, out_specs: Any) -> Callable:
    """The function as every device runs it on its part; `total` adds up what they found."""
    # gradients of shared arrays are added up by hand, with what else is added up
    return jax.shard_map(
        function, mesh=_mesh(devices), in_specs=in_specs, out_specs=out_specs, check_vma=False
    )


def total(tree: Tree) -> Tree:
    """Inside `on_parts`: the sum over all devices."""
    return jax.lax.psum(tree, AXIS)
