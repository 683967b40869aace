"""The transform as a Flax module: what training changes. Its forward pass is that of `network`."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from recjax.codec.transform.architecture import (
    Parameter,
    TransformConfig,
    TransformNetwork,
    parameters,
)


class PerPrice(nnx.Param):
    """A vector, of which every price has one; all prices share the matrices."""


class Transform(nnx.Module):
    """The parameters of a transform, with the names of `architecture.parameters`.

    Args:
        config: architecture.
        seed: seed of the initial matrices; if None they are 0.
    """

    def __init__(self, config: TransformConfig, seed: int | None = None):
        self.config = config
        rng = None if seed is None else np.random.default_rng(seed)
        for name, tree in parameters(config).items():
            setattr(self, name, _drawn(tree, rng))

    def network(self) -> TransformNetwork:
        """The transform for the plain functions."""
        return TransformNetwork(self.config, nnx.to_pure_dict(nnx.state(self)))


def _drawn(tree: Any, rng: np.random.Generator | None) -> Any:
    """Parameters in place of their shapes; matrices are drawn in the order of the tree."""
    if isinstance(tree, Parameter):
        if len(tree.shape) == 1:
            return PerPrice(jnp.zeros(tree.shape, jnp.float32))
        if rng is None:
            return nnx.Param(jnp.zeros(tree.shape, jnp.float32))
        draws = rng.standard_normal(tree.shape) * tree.scale * math.sqrt(2 / tree.shape[0])
        return nnx.Param(jnp.asarray(draws.astype(np.float32)))
    if isinstance(tree, dict):
        return nnx.Dict({name: _drawn(branch, rng) for name, branch in tree.items()})
    return nnx.List([_drawn(branch, rng) for branch in tree])
