"""The patches of several signals as the rows of one batch, and signals from the latents of their patches."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from recjax import randomness
from recjax.codec.fit import Layout
from recjax.codec.objective import in_chunks, padded_rows
from recjax.codec.partition import source_rows
from recjax.codec.prior import Prior
from recjax.modalities import Signal
from recjax.modalities.image import from_patches, to_gray


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """The patches of several signals as rows, padded to a shape that is compiled only once.

    Attributes:
      counts: patches of each signal.
      slots: number of each row within its signal.
      layout: where the latents of every block are.
    """

    counts: list[int]
    slots: jax.Array
    layout: Layout

    @property
    def rows(self) -> int:
        """Rows that belong to a signal."""
        return sum(self.counts)

    def split(self, rows: np.ndarray) -> list[np.ndarray]:
        """The part of each signal of an array ``[rows, ...]``."""
        return np.split(rows[: self.rows], np.cumsum(self.counts)[:-1])


def make_batch(prior: Prior, counts: Sequence[int]) -> Batch:
    """Rows and layout for signals of so many patches."""
    counts = list(counts)
    padding = padded_rows(sum(counts)) - sum(counts)
    padded = counts + [1] * padding
    n_latents = prior.config.n_latents
    words = randomness.coordinate_bits(
        randomness.stream_key(table_key(prior), randomness.Stream.BRANCH), jnp.uint32(0), n_latents
    )
    source, inverse = source_rows(padded, np.asarray(words))
    member = np.zeros((n_latents + 1, prior.n_blocks), np.float32)
    member[prior.blocks, np.arange(prior.n_blocks)[:, None]] = 1
    layout = Layout(
        source=jnp.asarray(source),
        inverse=jnp.asarray(inverse),
        blocks=jnp.asarray(prior.blocks),
        member=jnp.asarray(member[:-1]),
    )
    slots = np.concatenate([np.arange(count, dtype=np.uint32) for count in padded])
    return Batch(counts=counts, slots=jnp.asarray(slots), layout=layout)


def table_key(prior: Prior) -> jax.Array:
    """The shared randomness of all files of a prior: the first 64 bits of its digest."""
    return jnp.asarray(np.frombuffer(prior.digest[:8], ">u4").astype(np.uint32))


def render(prior: Prior, batch: Batch, z: jax.Array, signals: Sequence[tuple[tuple[int, ...], bool]]) -> list[Signal]:
    """Signals of the given ``(shape, gray)`` from the latents of their patches."""
    points = jnp.arange(prior.config.n_points)
    values = np.asarray(_values(prior.network, z, points)).transpose(0, 2, 1)
    pixels = np.floor((np.clip(values, -0.5, 0.5) + 0.5) * 255 + 0.5).astype(np.uint8)
    out = []
    for patches, (shape, gray) in zip(batch.split(pixels), signals, strict=True):
        image = from_patches(patches.reshape(-1, *prior.patch_shape), shape, prior.patch_shape)
        out.append(Signal(to_gray(image) if gray else image, "image", {"gray": gray}))
    return out


@jax.jit
def _values(network, z, points):
    return in_chunks(lambda rows: network.render(rows, points), z)
