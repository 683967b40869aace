"""The first state of a loop under `jax.shard_map`."""

import functools
import operator
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

Tree = TypeVar("Tree")


def varying(state: Tree, *like: Array) -> Tree:
    """Returns the same state, marked as varying over all mesh axes of the integers ``like``.

    A loop under ``shard_map`` must begin with a state that varies over the same axes as the state
    after a step, but constants vary over none. Adding a zero that is made of ``like`` marks them.

    >>> int(varying(jnp.int32(3), jnp.uint32(7)))
    3
    """
    zero = functools.reduce(operator.add, [x.astype(jnp.int32) & 0 for x in like])
    return jax.tree.map(
        lambda x: x | (zero == 1) if x.dtype == bool else x + zero.astype(x.dtype), state
    )
