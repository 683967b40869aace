"""Training and fitting targets: pixels of many patches, split into subsets of the grid."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

N_SUBSETS = 4
"""Gradient steps see one subset of the grid each: a quarter of the cells, as in COMBINER."""


@struct.dataclass
class Targets:
    """Values in [-1/2, 1/2] and weights (0 beyond an image's edge) of every patch.

    ``points`` lists the grid cells of each subset; the subsets are a fixed partition of the grid. ``phase`` is there if
    they are its four phases of every second row and column.
    """

    values: Float[Array, "subsets rows channels points"]
    weights: Float[Array, "subsets rows points"]
    points: Int[Array, "subsets points"]
    phase: Int[Array, "subsets"] | None = None


def subsets_of(n_points: int) -> np.ndarray:
    """A fixed random partition of the grid into ``N_SUBSETS`` (or 1, if it does not divide)."""
    n_subsets = N_SUBSETS if n_points % N_SUBSETS == 0 else 1
    return np.random.default_rng(0).permutation(n_points).reshape(n_subsets, -1).astype(np.int32)


def phases_of(grid: tuple[int, int]) -> np.ndarray:
    """The partition of a grid of even sides into cells of even and odd rows and columns.

    >>> phases_of((2, 4)).tolist()
    [[0, 2], [1, 3], [4, 6], [5, 7]]
    """
    cells = np.arange(grid[0] * grid[1], dtype=np.int32).reshape(grid[0] // 2, 2, grid[1] // 2, 2)
    return cells.transpose(1, 3, 0, 2).reshape(4, -1)


def make_targets(
    patches: np.ndarray, weights: np.ndarray | None = None, *, split: str = "random"
) -> Targets:
    """Targets from values ``float32[rows, *grid, channels]`` and optional weights ``[rows, *grid]``.

    Args:
      split: the subsets of the grid: ``"random"`` ones, or its ``"phases"`` (for networks with positional encodings).
    """
    rows, channels = len(patches), patches.shape[-1]
    flat = patches.reshape(rows, -1, channels)
    subsets = phases_of(patches.shape[1:3]) if split == "phases" else subsets_of(flat.shape[1])
    values = flat[:, subsets]
    weights = np.ones(flat.shape[:2], np.float32) if weights is None else weights.reshape(rows, -1)
    return Targets(
        values=jnp.asarray(values.transpose(1, 0, 3, 2)),
        weights=jnp.asarray(weights[:, subsets].astype(np.float32).transpose(1, 0, 2)),
        points=jnp.asarray(subsets),
        phase=jnp.arange(len(subsets), dtype=jnp.int32) if split == "phases" else None,
    )


def take_subset(targets: Targets, index: int | Array) -> Targets:
    """One subset, without its leading axis."""
    return jax.tree.map(
        lambda leaf: jax.lax.dynamic_index_in_dim(leaf, index, keepdims=False), targets
    )
