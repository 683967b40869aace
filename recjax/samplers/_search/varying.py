"""What `jax.shard_map` wants of the first state of a loop."""

import functools
import operator
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

Tree = TypeVar("Tree")


def varying(state: Tree, *like: Array) -> Tree:
    """The same state, marked as varying over every mesh axis that the integers ``like`` vary over.

    >>> int(varying(jnp.int32(3), jnp.uint32(7)))
    3
    """
    zero = functools.reduce(operator.add, [x.astype(jnp.int32) & 0 for x in like])
    return jax.tree.map(
        lambda x: x | (zero == 1) if x.dtype == bool else x + zero.astype(x.dtype), state
    )
