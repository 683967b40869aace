"""A fence that XLA's fusion on CPUs does not cross."""

from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

Tree = TypeVar("Tree")


def computed_once(values: Tree, never: Bool[Array, "..."]) -> Tree:
    """Returns the same values; on CPUs every one of them is computed once and stored.

    XLA on CPUs fuses sums, products and bit operations into each of their uses and computes them
    anew there, a cipher or an error function as well, and it removes optimization barriers before.
    A loop separates what comes before it from what comes after it, even if it takes no round.

    Args:
        values: the values.
        never: conditions that are false whenever the program runs, without the compiler's knowing.
            If one was true, the values would be wrong.

    >>> int(computed_once(jnp.int32(3), jnp.int32(7) < 0))
    3
    """

    def fenced(values, never):
        return jax.lax.while_loop(lambda state: state[0], _other, (jnp.any(never), values))[1]

    return jax.lax.platform_dependent(
        values, never, cpu=fenced, default=lambda values, never: values
    )


def _other(state):
    """Other values, because the compiler takes away from a loop what does not change in it."""
    never, values = state
    return ~never, jax.tree.map(lambda x: ~x if x.dtype == bool else x + 1, values)
