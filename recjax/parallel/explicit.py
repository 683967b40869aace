"""Methods of one example under `jax.vmap`, for arrays of meshes with Explicit axes."""

import functools
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar

import jax
from jax.sharding import (
    AxisType,
    NamedSharding,
    PartitionSpec,
)

Tree = TypeVar("Tree")


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
    # numbers have no sharding, and may be too large for a type of JAX
    return (
        isinstance(leaf, jax.Array)
        and AxisType.Explicit in jax.typeof(leaf).sharding.mesh.axis_types
    )


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
