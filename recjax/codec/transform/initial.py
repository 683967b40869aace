"""Initial parameters of a transform, and which of them belong to one price."""

import math

import jax.numpy as jnp
import numpy as np
from flax import nnx


class PerPrice(nnx.Param):
    """A vector that every price of a training run has for itself; matrices are shared by all prices."""


class Initial:
    """Parameters to start from.

    Args:
      seed: of the matrices; if None they are 0, as a shape to load a file into.
    """

    def __init__(self, seed: int | None):
        self._rng = None if seed is None else np.random.default_rng(seed)

    def matrix(self, n_in: int, n_out: int, scale: float = 1.0) -> nnx.Param:
        """``[n_in, n_out]``, with outputs of about ``scale`` times the size of the inputs."""
        if self._rng is None:
            return nnx.Param(jnp.zeros((n_in, n_out), jnp.float32))
        draws = self._rng.standard_normal((n_in, n_out)) * scale * math.sqrt(2 / n_in)
        return nnx.Param(jnp.asarray(draws.astype(np.float32)))

    def vector(self, size: int) -> PerPrice:
        return PerPrice(jnp.zeros(size, jnp.float32))
