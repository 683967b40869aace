"""Targets of a fit: values of many patches, split into subsets of their points."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Int32

N_SUBSETS = 4
"""Random subsets of a patch: a gradient step takes a quarter of the points, as in COMBINER."""


class Targets(NamedTuple):
    """Values of every patch, and how much their errors count.

    Attributes:
        values: in [-1/2, 1/2].
        weights: 0 beyond a signal's edge, in padding rows and where the signal is masked, else 1.
        points: numbers of the points of each subset, row-major; the subsets partition the patch.
        phase: number of each subset if the subsets are the phases of the patch, else None.
    """

    values: Float[Array, "subsets rows channels points"]
    weights: Float[Array, "subsets rows points"]
    points: Int[Array, "subsets points"]
    phase: Int[Array, "subsets"] | None = None


def subsets_of(n_points: int) -> Int32[np.ndarray, "subsets points"]:
    """A fixed random partition of the points into ``N_SUBSETS`` (or 1, if that does not divide)."""
    n_subsets = N_SUBSETS if n_points % N_SUBSETS == 0 else 1
    return np.random.default_rng(0).permutation(n_points).reshape(n_subsets, -1).astype(np.int32)


def phases_of(grid: Sequence[int]) -> Int32[np.ndarray, "phases points"]:
    """The partition of a grid of even sides by the parities of its coordinates.

    >>> phases_of((2, 4)).tolist()
    [[0, 2], [1, 3], [4, 6], [5, 7]]
    """
    rank = len(grid)
    pairs = itertools.chain.from_iterable((side // 2, 2) for side in grid)
    points = np.arange(np.prod(grid), dtype=np.int32).reshape(*pairs)
    order = (*range(1, 2 * rank, 2), *range(0, 2 * rank, 2))
    return points.transpose(order).reshape(2**rank, -1)


def make_targets(
    patches: Float32[np.ndarray, "rows *grid channels"],
    weights: Float32[np.ndarray, "rows *grid"] | None = None,
    *,
    split: str = "random",
) -> Targets:
    """Targets of patches.

    Args:
        patches: values in [-1/2, 1/2].
        weights: weights of their errors; by default 1.
        split: the subsets of the points: ``"random"`` ones, or the ``"phases"`` of the patch, for
            networks with positional encodings.
    """
    rows, *grid, channels = patches.shape
    flat = patches.reshape(rows, -1, channels)
    subsets = phases_of(grid) if split == "phases" else subsets_of(flat.shape[1])
    values = flat[:, subsets]
    weights = np.ones(flat.shape[:2], np.float32) if weights is None else weights.reshape(rows, -1)
    return Targets(
        values=jnp.asarray(values.transpose(1, 0, 3, 2)),
        weights=jnp.asarray(weights[:, subsets].astype(np.float32).transpose(1, 0, 2)),
        points=jnp.asarray(subsets),
        phase=jnp.arange(len(subsets), dtype=jnp.int32) if split == "phases" else None,
    )


def take_subset(targets: Targets, index: int | Int[Array, ""]) -> Targets:
    """One subset, without its leading axis."""
    return jax.tree.map(
        lambda leaf: jax.lax.dynamic_index_in_dim(leaf, index, keepdims=False), targets
    )
