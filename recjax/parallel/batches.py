"""Batches of independent examples, divided among devices."""

import functools
import math
import os
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import (
    Mesh,
    NamedSharding,
    PartitionSpec,
    Sharding,
    SingleDeviceSharding,
)

from recjax.parallel.training import AXIS, SHARED

Tree = TypeVar("Tree")


def cores() -> int:
    """Number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux only
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def few_sizes(n: int, least: int) -> int:
    """The next of ``least`` times 1, 3/2, 2, 3, 4, 6, 8, ..., rounded to whole numbers.

    >>> [few_sizes(n, 64) for n in (1, 64, 65, 97)], [few_sizes(n, 1) for n in (1, 2, 3, 5)]
    ([64, 64, 96, 128], [1, 2, 3, 6])
    """
    power = least << (-(-n // least) - 1).bit_length()
    between = power * 3 // 4
    return between if least < power and n <= between else power


class _Layout(NamedTuple):
    """Division of a batch among devices.

    Attributes:
        mesh: the devices.
        axes: axes of the mesh that divide the batch; the devices along the others do equal work.
    """

    mesh: Mesh
    axes: tuple[str, ...]

    @property
    def count(self) -> int:
        """Number of shares."""
        return math.prod(self.mesh.shape[axis] for axis in self.axes)

    @property
    def spec(self) -> PartitionSpec:
        """Sharding of arrays with a leading batch axis."""
        return PartitionSpec(self.axes)


def over_devices(
    function: Callable[..., Tree],
    config: Hashable,
    batch: tuple,
    shared: tuple = (),
    least: int = 64,
) -> Tree:
    """Maps a function over the shares of a batch, one per device; not for use when tracing.

    A batch that is sharded along its leading axis stays where it is, also on the devices of several
    processes, and the results are sharded likewise. A replicated batch is divided among its
    devices, and the results are replicated. A batch on one device is divided among all devices of
    this process, in shares of at least ``least`` examples, unless it is committed to its device;
    the results are on its device.

    Shares are filled up with copies of their last example to few different sizes, so that few
    programs are compiled. On a single CPU device the function is called with concrete arrays,
    otherwise it is traced, and each device runs it without waiting for others.

    Args:
        function: maps ``config``, the trees of ``batch`` and those of ``shared`` to results with a
            leading batch axis, each of which depends on its example alone.
        config: settings, a part of the compiled program.
        batch: trees of arrays with a leading batch axis.
        shared: trees of arrays that every device needs.
        least: least number of examples per share.
    """
    n = jax.tree.leaves(batch)[0].shape[0]
    layout, home = _layout_of(batch, -(-n // least))
    if layout.mesh.size == 1:
        (device,) = layout.mesh.devices.flat
        run = function if device.platform == "cpu" else _run
        config = config if device.platform == "cpu" else _Bound(function, config)
        meshes = [
            leaf.sharding
            for leaf in jax.tree.leaves(batch)
            if isinstance(leaf, jax.Array) and isinstance(leaf.sharding, NamedSharding)
        ]
        if meshes:  # those of an Explicit mesh do not mix with other arrays, even on one device
            home = NamedSharding(meshes[0].mesh, PartitionSpec(*meshes[0].spec[:1]))
            batch, shared = jax.device_put((batch, shared), SingleDeviceSharding(device))
        results = _resized(run(config, *_resized(batch, few_sizes(n, least)), *shared), n)
        return jax.device_put(results, home) if meshes else results
    share = -(-n // layout.count)
    divided = NamedSharding(layout.mesh, layout.spec)
    batch = _put(_resized(batch, share * layout.count), divided)
    batch = _resize_shares(layout, few_sizes(share, least), batch)
    results = _run_shares(
        _Bound(function, config), layout, batch, _put(shared, NamedSharding(layout.mesh, SHARED))
    )
    return _resized(jax.device_put(_resize_shares(layout, share, results), home), n)


def _layout_of(batch: tuple, most: int) -> tuple[_Layout, Sharding]:
    """The layout of a batch, and the sharding of its results.

    The first array that is sharded decides; without one the first that is replicated. A batch that
    is on one device is divided among at most ``most``.
    """
    arrays = [leaf for leaf in jax.tree.leaves(batch) if isinstance(leaf, jax.Array)]
    several = [leaf.sharding for leaf in arrays if len(leaf.sharding.device_set) > 1]
    meshes = [sharding for sharding in several if hasattr(sharding, "spec")]
    for sharding in meshes:
        if sharding.spec and sharding.spec[0] is not None:
            first = sharding.spec[0]
            axes = first if isinstance(first, tuple) else (first,)
            home = NamedSharding(sharding.mesh, PartitionSpec(first))
            return _layout_on(sharding.mesh, axes), home
    if meshes:
        mesh = meshes[0].mesh
        return _layout_on(mesh, mesh.axis_names), NamedSharding(mesh, SHARED)
    fixed = [leaf for leaf in arrays if leaf.committed] or arrays
    first = (
        min(fixed[0].devices(), key=lambda device: device.id) if fixed else jax.local_devices()[0]
    )
    committed = any(leaf.committed for leaf in arrays)
    devices = [first] if committed else jax.local_devices(backend=first.platform)[:most]
    mesh = Mesh(np.array(devices), (AXIS,))
    return _Layout(mesh, (AXIS,)), SingleDeviceSharding(first)


def _layout_on(mesh: Mesh, axes: tuple[str, ...]) -> _Layout:
    """A layout on the devices of a mesh: one for all kinds and names of its axes."""
    names = {name: f"{AXIS}{i}" for i, name in enumerate(mesh.axis_names)}
    same = Mesh(mesh.devices, tuple(names.values()))
    return _Layout(same, tuple(names[axis] for axis in axes))


def _put(tree: Tree, sharding: NamedSharding) -> Tree:
    """The arrays of a tree with another sharding.

    An array of this process alone has to be the same in all processes of the sharding.
    """

    def put(leaf):
        alone = not isinstance(leaf, jax.Array) or leaf.is_fully_addressable
        if sharding.is_fully_addressable or not alone:
            return jax.device_put(leaf, sharding)
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            words = put(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf))
        values = np.asarray(leaf)
        return jax.make_array_from_callback(values.shape, sharding, lambda part: values[part])

    return jax.tree.map(put, tree)


def _resized(tree: Tree, size: int) -> Tree:
    """The first ``size`` rows of arrays; the last row again and again where they are too short."""

    def resize(x):
        n = x.shape[0]
        return x if n == size else x[:size] if n > size else x[np.minimum(np.arange(size), n - 1)]

    return jax.tree.map(resize, tree)


class _Bound(NamedTuple):
    """A function with its settings; equal ones have one compiled program."""

    function: Callable
    config: Hashable


@functools.partial(jax.jit, static_argnums=0)
def _run(bound: _Bound, *arguments: Any) -> Any:
    return bound.function(bound.config, *arguments)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _run_shares(bound: _Bound, layout: _Layout, batch: tuple, shared: tuple) -> Any:
    def run(batch, shared):
        return bound.function(bound.config, *batch, *shared)

    specs = (layout.spec, SHARED)
    # loops begin with constants, which check_vma would refuse
    return jax.shard_map(
        run, mesh=layout.mesh, in_specs=specs, out_specs=layout.spec, check_vma=False
    )(batch, shared)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _resize_shares(layout: _Layout, size: int, tree: Tree) -> Tree:
    resize = functools.partial(_resized, size=size)
    return jax.shard_map(
        resize, mesh=layout.mesh, in_specs=layout.spec, out_specs=layout.spec, check_vma=False
    )(tree)
