"""The patches of several signals as the rows of one batch, and signals from the latents of their patches."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from recjax import randomness
from recjax.codec.prior import stream_key
from recjax.codec.siren.fit import Arrangement, Layout
from recjax.codec.siren.geometry import make_geometry
from recjax.codec.siren.groups import LatentGroup, n_rows
from recjax.codec.siren.objective import in_chunks, padded_rows
from recjax.codec.siren.partition import source_rows
from recjax.codec.siren.prior import SirenPrior
from recjax.codec.siren.refine import Blocks
from recjax.modalities.grid import join


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """Several signals as rows of latents, padded to shapes that are compiled only once.

    Attributes:
      counts: for every group the rows of each signal; those of one signal follow one another.
      arrangement: how the latents belong together.
      blocks: of every group.
    """

    counts: list[list[int]]
    arrangement: Arrangement
    blocks: list[Blocks]

    @property
    def rows(self) -> list[int]:
        """Rows of every group that belong to a signal."""
        return [sum(counts) for counts in self.counts]

    def split(self, rows: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
        """For each signal its part of every group's array ``[rows, ...]``."""
        groups = zip(rows, self.counts, strict=True)
        parts = [np.split(array[: sum(counts)], np.cumsum(counts)[:-1]) for array, counts in groups]
        return [list(signal) for signal in zip(*parts, strict=True)]


def make_batch(prior: SirenPrior, patches: Sequence[tuple[int, int]]) -> Batch:
    """The batch of images of so many (rows, columns) of patches each."""
    patches = list(patches)
    padding = padded_rows(sum(rows * columns for rows, columns in patches)) - sum(
        r * c for r, c in patches
    )
    patches_padded = patches + [(1, 1)] * padding
    words = np.asarray(_words(stream_key(prior), prior.n_latents))
    width = max(group.blocks.shape[1] for group in prior.groups)
    counts, layouts, blocks, first, start = [], [], [], 0, 0
    for group in prior.groups:
        counts.append([n_rows(group.kind, image, prior.region) for image in patches])
        extra = padded_rows(sum(counts[-1])) - sum(counts[-1])
        padded = counts[-1] + [1] * extra
        layouts.append(_layout(group, padded, words[start : start + group.n_latents], width))
        slots = np.concatenate([np.arange(count, dtype=np.uint32) for count in padded])
        blocks.append(Blocks(jnp.asarray(slots), jnp.asarray(group.widths), jnp.uint32(first)))
        first, start = first + group.n_blocks, start + group.n_latents
    upper = [group.kind for group in prior.groups[:-1]]
    cells = prior.config.grid_shape
    geometry = make_geometry(patches_padded, upper, prior.region, cells[:2] if cells else None)
    # padding patches have no weight and so no influence, whatever image they are said to lie in
    parents = tuple(
        jnp.minimum(parent, len(b.slots) - 1)
        for parent, b in zip(geometry.parents, blocks, strict=False)
    )
    arrangement = Arrangement(tuple(layouts), geometry._replace(parents=parents))
    return Batch(counts, arrangement, blocks)


@functools.partial(jax.jit, static_argnums=1)
def _words(key, count):
    words = randomness.stream_key(key, randomness.Stream.BRANCH)
    return randomness.coordinate_bits(words, jnp.uint32(0), count)


def _layout(group: LatentGroup, counts: list[int], words: np.ndarray, width: int) -> Layout:
    source, inverse = source_rows(counts, words)
    blocks = np.pad(
        group.blocks, ((0, 0), (0, width - group.blocks.shape[1])), constant_values=group.n_latents
    )
    member = np.zeros((group.n_latents + 1, group.n_blocks), np.float32)
    member[blocks, np.arange(group.n_blocks)[:, None]] = 1
    return Layout(*map(jnp.asarray, (source, inverse, blocks, member[:-1])))


def render(
    prior: SirenPrior,
    batch: Batch,
    z: tuple[jax.Array, ...],
    sides: Sequence[tuple[int, ...]],
) -> list[np.ndarray]:
    """Values of signals of the given sides, ``float32[*sides, channels]``, from the latents of all groups."""
    points = jnp.arange(prior.config.n_points)
    values = np.asarray(_values(prior.network, z, batch.arrangement.geometry, points))
    rows, ends = values.swapaxes(1, 2), np.cumsum(batch.counts[-1])
    return [
        join(patches.reshape(-1, *prior.patch, prior.channels), own, prior.patch)
        for patches, own in zip(np.split(rows[: ends[-1]], ends[:-1]), sides, strict=True)
    ]


@jax.jit
def _values(network, z, geometry, points):
    return in_chunks(lambda inputs: network.values(inputs, points), network.inputs(z, geometry))
