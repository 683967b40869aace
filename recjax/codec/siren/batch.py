"""Several signals as rows of latents, and signals from the latents of their patches."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Shaped

from recjax import randomness
from recjax.codec.prior import stream_key
from recjax.codec.siren.layout import Layout, group_layout, make_geometry, n_rows
from recjax.codec.siren.objective import in_chunks, padded_rows
from recjax.codec.siren.prior import SirenPrior
from recjax.modalities.grid import join


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """The layout of several signals, with rows padded to numbers that are compiled only once.

    Attributes:
        counts: for every group the rows of each signal, without padding.
        layout: places of the latents, as NumPy arrays, with the rows of padding last.
    """

    counts: list[list[int]]
    layout: Layout

    @property
    def rows(self) -> list[int]:
        """Rows of every group that belong to a signal."""
        return [sum(counts) for counts in self.counts]

    @property
    def padded(self) -> list[int]:
        """Rows of every group with those of padding."""
        return [len(group.source) for group in self.layout.groups]

    def split(
        self, arrays: Sequence[Shaped[np.ndarray, "_rows ..."]]
    ) -> list[list[Shaped[np.ndarray, "_signal_rows ..."]]]:
        """The rows of each signal, from an array per group, padded or not."""
        groups = zip(arrays, self.counts, strict=True)
        parts = [np.split(array[: sum(counts)], np.cumsum(counts)[:-1]) for array, counts in groups]
        return [list(signal) for signal in zip(*parts, strict=True)]


def make_batch(prior: SirenPrior, patches: Sequence[tuple[int, ...]]) -> Batch:
    """The batch of signals with these numbers of patches along every axis."""
    counts = [[n_rows(group.kind, n, prior.region) for n in patches] for group in prior.groups]
    # padding rows are signals of one row each; none of them shares a slot with a signal
    padded = [rows + [1] * (padded_rows(sum(rows)) - sum(rows)) for rows in counts]
    words = np.asarray(_shift_words(stream_key(prior), prior.n_latents))
    words = np.split(words, np.cumsum([group.n_latents for group in prior.groups])[:-1])
    firsts = np.cumsum([0, *(group.n_blocks for group in prior.groups)])[:-1]
    width = max(group.blocks.shape[1] for group in prior.groups)
    groups = tuple(
        group_layout(group, rows, shifts, int(first), width)
        for group, rows, shifts, first in zip(prior.groups, padded, words, firsts, strict=True)
    )
    extra = len(padded[-1]) - len(patches)
    geometry = make_geometry(
        [*patches, *[(1,) * len(prior.patch)] * extra],
        [group.kind for group in prior.groups[:-1]],
        prior.region,
        prior.config.cells,
    )
    # There may be more padding patches than padding rows above them. They have no weight and so no
    # influence, whatever signal they are said to lie in.
    parents = tuple(
        np.minimum(parent, np.int32(len(group.source) - 1))
        for parent, group in zip(geometry.parents, groups, strict=False)
    )
    return Batch(counts, Layout(groups, geometry._replace(parents=parents)))


@functools.partial(jax.jit, static_argnums=1)
def _shift_words(key, count):
    words = randomness.stream_key(key, randomness.Stream.BRANCH)
    return randomness.coordinate_bits(words, jnp.uint32(0), count)


def render(
    prior: SirenPrior,
    batch: Batch,
    z: tuple[Float[Array | np.ndarray, "_rows _latents"], ...],
    sides: Sequence[tuple[int, ...]],
) -> list[Float32[np.ndarray, "*_sides _channels"]]:
    """Values of the signals.

    Args:
        prior: their prior.
        batch: their layout.
        z: latents of the rows of every group, padding included.
        sides: sides of every signal.
    """
    points = np.arange(prior.config.n_points, dtype=np.int32)
    values = np.asarray(_values(prior.network, z, batch.layout.geometry, points)).swapaxes(1, 2)
    patches = values.reshape(-1, *prior.patch, prior.channels)
    ends = np.cumsum(batch.counts[-1])
    signals = np.split(patches[: ends[-1]], ends[:-1])
    return [join(part, shape, prior.patch) for part, shape in zip(signals, sides, strict=True)]


@jax.jit
def _values(network, z, geometry, points):
    return in_chunks(lambda inputs: network.values(inputs, points), network.inputs(z, geometry))
