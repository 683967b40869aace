"""Data parallelism over devices and processes. No other file builds a mesh.

A batch is divided among the devices; shared arrays are replicated. Without accelerators there is
one device, or the number in `XLA_FLAGS=--xla_force_host_platform_device_count`.
"""

import functools
import math
import os
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import (
    AxisType,
    Mesh,
    NamedSharding,
    PartitionSpec,
    Sharding,
    SingleDeviceSharding,
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
        on_cpu = layout.mesh.devices.flat[0].platform == "cpu"
        run = function if on_cpu else _run
        config = config if on_cpu else _Bound(function, config)
        return _resized(run(config, *_resized(batch, few_sizes(n, least)), *shared), n)
    share = -(-n // layout.count)
    divided = NamedSharding(layout.mesh, layout.spec)
    batch = _put(_resized(batch, share * layout.count), divided)
    batch = _resize_shares(layout, few_sizes(share, least), batch)
    results = _run_shares(
        _Bound(function, config), layout, batch, _put(shared, NamedSharding(layout.mesh, SHARED))
    )
    return _resized(jax.device_put(_resize_shares(layout, share, results), home), n)


def _layout_of(batch: tuple, most: int) -> tuple[_Layout, Sharding]:
    """The layout of a batch, on at most ``most`` devices if it is on one; and the results' sharding.

    The first array that is sharded decides; without one the first that is replicated.
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


class _Mapped(NamedTuple):
    """A method of one example under some `jax.vmap`, as a function of flat arguments.

    Attributes:
        method: the method; its first argument is ``config``.
        config: the object that it is a method of.
        structure: tree structure of the other arguments.
        axes: for each `jax.vmap`, the innermost one first, the batch axes of the arguments: 0 or
            None.
    """

    method: Callable
    config: Hashable
    structure: Any
    axes: tuple[tuple[int | None, ...], ...] = ()

    def __call__(self, *leaves: Any) -> Any:
        def one(*leaves):
            arguments, options = jax.tree.unflatten(self.structure, leaves)
            return self.method(self.config, *arguments, **options)

        for axes in self.axes:
            one = jax.vmap(one, axes)
        return one(*leaves)


def per_device(method: Callable[..., Tree]) -> Callable[..., Tree]:
    """Decorates a method of one example so that `jax.vmap` of it takes arrays of an Explicit mesh.

    Each device then treats the examples that it has. (JAX types arrays of such meshes by their
    sharding, which constants in loops do not have; and the automatic partitioner of other meshes
    makes the devices of a loop wait for each other at every step.)

    Args:
        method: a method of a hashable object; its other arguments are trees of arrays.
    """

    @functools.wraps(method)
    def wrapper(self, *arguments, **options):
        leaves, structure = jax.tree.flatten((arguments, options))
        if not any(map(_is_explicit, leaves)):
            return method(self, *arguments, **options)
        return _under_vmap(_Mapped(method, self, structure), *leaves)

    return wrapper


def _is_explicit(leaf: Any) -> bool:
    return AxisType.Explicit in jax.typeof(leaf).sharding.mesh.axis_types


def _under_vmap(mapped: _Mapped, *leaves: Any) -> Any:
    @jax.custom_batching.custom_vmap
    def run(*leaves):
        return _map_explicit(mapped, *leaves)

    @run.def_vmap
    def batch(_, batched, *leaves):
        axes = tuple(0 if each else None for each in batched)
        results = _under_vmap(mapped._replace(axes=(*mapped.axes, axes)), *leaves)
        return results, jax.tree.map(lambda _: True, results)

    return run(*leaves)


# unused arguments tell the devices of a constant result
@functools.partial(jax.jit, static_argnums=0, keep_unused=True)
def _map_explicit(mapped: _Mapped, *leaves: Any) -> Any:
    """Calls a method with all batch axes, which are the leading axes of arguments and results."""
    shardings = [jax.typeof(leaf).sharding for leaf in leaves]
    # under `jit` the mesh of arrays without a sharding is empty
    mesh = next(sharding.mesh for sharding in shardings if not sharding.mesh.empty)
    # the vmaps that give each argument a batch axis, the outermost one first
    levels = range(len(mapped.axes))[::-1]
    present = [[k for k in levels if mapped.axes[k][i] == 0] for i in range(len(leaves))]
    names: dict[int, Any] = {}
    for sharding, mine in zip(shardings, present, strict=True):
        for k, name in zip(mine, sharding.spec, strict=False):  # the event axes follow
            if name is not None:
                names.setdefault(k, name)
    specs = tuple(PartitionSpec(*(names.get(k) for k in mine)) for mine in present)
    leaves = tuple(
        jax.sharding.reshard(leaf, NamedSharding(mesh, spec))
        for leaf, spec in zip(leaves, specs, strict=True)
    )
    out_specs = PartitionSpec(*(names.get(k) for k in levels))
    return jax.shard_map(mapped, mesh=mesh, in_specs=specs, out_specs=out_specs, check_vma=False)(
        *leaves
    )
