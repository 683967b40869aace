"""Gauss-Legendre quadrature on [0, 1]."""

import functools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def gauss_legendre(n: int, dtype) -> tuple[Float[Array, "n"], Float[Array, "n"]]:
    """Nodes and weights that integrate polynomials up to degree 2n - 1 over [0, 1] exactly.

    >>> nodes, weights = gauss_legendre(4, jnp.float32)
    >>> float(jnp.sum(weights * nodes**7).round(5))
    0.125
    """
    nodes, weights = _rule(n)
    return jnp.asarray(nodes, dtype), jnp.asarray(weights, dtype)


@functools.cache
def _rule(n: int):
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return (nodes + 1) / 2, weights / 2


def integral(f: Callable[[Array], Array], n: int, dtype):
    """Integrates `f` over [0, 1] by `n` nodes.

    The nodes are written out as a sum, which a compiler fuses into one loop over a batch.

    >>> float(integral(lambda t: t**7, 4, jnp.float32).round(5))
    0.125
    """
    nodes, weights = _rule(n)
    return sum(
        jnp.asarray(w, dtype) * f(jnp.asarray(t, dtype))
        for t, w in zip(nodes, weights, strict=True)
    )
