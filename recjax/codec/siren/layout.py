"""Frozen by FORMAT.md: the place of every latent of a signal, in rows, blocks and chains.

The patches of a signal are *rows* of latents. With a hierarchy (RECOMBINER, He et al., ICLR 2024,
section 3.3) there are rows for regions of patches and for the signal as well; rows of one kind are
a *group*, with a prior and a partition into *blocks* that all of its rows share. The weights'
latents of a patch are the sum over its signal, its region and itself; the latents of its grid are
its alone. A file holds the groups in the order signal, region, patch.

Within a group, a block takes each of its latents from another row of the signal: *slot* r of block
b. The blocks of a slot are one chain of the trellis.

Everything here is integers, stored in the prior or derived from its digest by integer arithmetic:
nothing that the decoder needs depends on floating point.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int, Int32, UInt32

from recjax.modalities.grid import join

KINDS = ("signal", "region", "patch")


def kinds(levels: int) -> tuple[str, ...]:
    """Kinds of rows of a hierarchy.

    >>> kinds(2)
    ('signal', 'patch')
    """
    return {1: ("patch",), 2: ("signal", "patch"), 3: KINDS}[levels]


def patches_per_row(kind: str, patches: Sequence[int], region: Sequence[int]) -> tuple[int, ...]:
    """Patches along every axis that a row of one kind spans.

    Args:
        kind: ``"signal"``, ``"region"`` or ``"patch"``.
        patches: patches of the signal along every axis.
        region: patches of a region along every axis.
    """
    return {"signal": tuple(patches), "region": tuple(region), "patch": (1,) * len(patches)}[kind]


def rows_along(kind: str, patches: Sequence[int], region: Sequence[int]) -> tuple[int, ...]:
    """Rows of one kind along every axis of a signal; arguments as `patches_per_row`.

    >>> [rows_along(kind, (8, 12), (4, 4)) for kind in KINDS]
    [(1, 1), (2, 3), (8, 12)]
    """
    spans = patches_per_row(kind, patches, region)
    return tuple(-(-n // span) for n, span in zip(patches, spans, strict=True))


def n_rows(kind: str, patches: Sequence[int], region: Sequence[int]) -> int:
    """Rows of one kind in a signal; arguments as `patches_per_row`."""
    return math.prod(rows_along(kind, patches, region))


@dataclasses.dataclass(frozen=True, eq=False)
class LatentGroup:
    """Prior and blocks of the latents of one kind of row.

    Attributes:
        kind: ``"signal"``, ``"region"`` or ``"patch"``.
        scale: standard deviation of every latent.
        log_std: log of a posterior's standard deviation relative to the prior's, where a fit
            starts.
        order: the latents in coding order; those not listed are 0.
        widths: number of latents in each block.
    """

    kind: str
    scale: Float32[np.ndarray, "latents"]
    log_std: Float32[np.ndarray, "latents"]
    order: Int32[np.ndarray, "coded"]
    widths: Int32[np.ndarray, "blocks"]

    @property
    def n_latents(self) -> int:
        """Latents per row."""
        return len(self.scale)

    @property
    def n_blocks(self) -> int:
        """Blocks per row."""
        return len(self.widths)

    @functools.cached_property
    def blocks(self) -> Int32[np.ndarray, "blocks width"]:
        """Latents of every block, padded with ``n_latents``."""
        return block_table(self.order, self.widths, self.n_latents)


def block_table(
    order: Int[np.ndarray, "coded"], widths: Int[np.ndarray, "blocks"], n_latents: int
) -> Int32[np.ndarray, "blocks width"]:
    """Latents of every block, padded with ``n_latents`` (out of range) to the widest."""
    table = np.full((len(widths), widths.max(initial=0)), n_latents, np.int32)
    ends = np.cumsum(widths)
    for row, end, width in zip(table, ends, widths, strict=True):
        row[:width] = order[end - width : end]
    return table


def source_rows(
    counts: Sequence[int], words: UInt32[np.ndarray, "latents"]
) -> tuple[Int32[np.ndarray, "rows latents"], Int32[np.ndarray, "rows latents"]]:
    """Cyclic shifts across the rows of each signal, one per latent.

    A block of slot r then holds latents of many patches, so that its KL is close to the average of
    the signal: busy patches get more bits than flat ones at a fixed budget per block (RECOMBINER's
    permutation across patches, section 3.3, as a shift that needs no table).

    Args:
        counts: rows of each signal; they follow one another.
        words: the shift of each latent, modulo the number of rows.

    Returns:
        ``source``, the row whose latent stands in slot r; and its inverse, the slot of a row's
        latent.
    """
    source, inverse, start = [], [], 0
    for count in counts:
        slot = np.arange(count, dtype=np.int64)[:, None]
        shift = (words.astype(np.int64) % count)[None, :]
        source.append(start + (slot + shift) % count)
        inverse.append(start + (slot - shift) % count)
        start += count
    return np.concatenate(source).astype(np.int32), np.concatenate(inverse).astype(np.int32)


class GroupLayout(NamedTuple):
    """Places of the latents of one group in a batch of signals.

    Attributes:
        source: see `source_rows`.
        inverse: see `source_rows`.
        blocks: latents of every block, padded with the number of latents.
        member: 1 where a latent belongs to a block.
        widths: latents per block.
        ids: the two words that tell a block apart from all others of its signal: its slot, and its
            number among the blocks of all groups.
    """

    source: Int32[np.ndarray, "rows latents"]
    inverse: Int32[np.ndarray, "rows latents"]
    blocks: Int32[np.ndarray, "blocks width"]
    member: Float32[np.ndarray, "latents blocks"]
    widths: Int32[np.ndarray, "blocks"]
    ids: UInt32[np.ndarray, "rows blocks 2"]


def group_layout(
    group: LatentGroup,
    counts: Sequence[int],
    words: UInt32[np.ndarray, "latents"],
    first: int,
    width: int,
) -> GroupLayout:
    """The layout of one group.

    Args:
        group: the group.
        counts: rows of each signal.
        words: random words of the shifts, see `source_rows`.
        first: number of the group's first block among those of all groups.
        width: columns of the table of blocks, at least the width of the widest.
    """
    source, inverse = source_rows(counts, words)
    # out of range beyond a block's width, so that what is read or written there is dropped
    padding = [(0, 0), (0, width - group.blocks.shape[1])]
    blocks = np.pad(group.blocks, padding, constant_values=group.n_latents)
    member = np.zeros((group.n_latents + 1, group.n_blocks), np.float32)
    member[blocks, np.arange(group.n_blocks)[:, None]] = 1
    slots = np.concatenate([np.arange(count, dtype=np.uint32) for count in counts])
    numbers = first + np.arange(group.n_blocks, dtype=np.uint32)
    ids = np.stack(np.broadcast_arrays(slots[:, None], numbers[None, :]), axis=-1)
    return GroupLayout(source, inverse, blocks, member[:-1], group.widths, ids)


class Geometry(NamedTuple):
    """Tables of row numbers that say where the patches of a batch lie.

    Attributes:
        parents: the row of the signal, then of the region that each patch lies in, as far as there
            are such groups.
        cells: for every patch the cells of its latent grid and one of each neighbour around it,
            numbered over all patches of the batch; beyond the signal a number that is out of range.
            None if every signal is a single patch: then all around it is beyond the signal.
    """

    parents: tuple[Int32[np.ndarray, "_rows"], ...] = ()
    cells: Int32[np.ndarray, "rows *bordered_cells"] | None = None


def make_geometry(
    patches: Sequence[Sequence[int]],
    upper: Sequence[str],
    region: Sequence[int],
    cells: Sequence[int] | None,
) -> Geometry:
    """Geometry of a batch of signals; the rows of each kind follow one another.

    Args:
        patches: for every signal, its patches along every axis.
        upper: kinds of the groups above the patches.
        region: patches of a region along every axis.
        cells: cells of a patch's latent grid along every axis, if it has one.
    """
    parents = tuple(_parents(kind, patches, region) for kind in upper)
    if cells is None or all(math.prod(counts) == 1 for counts in patches):
        return Geometry(parents, None)
    return Geometry(parents, _bordered_cells(patches, cells))


def _parents(kind, patches, region):
    """The row of one kind that each patch lies in."""
    tables, start = [], 0
    for counts in patches:
        spans, along = patches_per_row(kind, counts, region), rows_along(kind, counts, region)
        place = np.unravel_index(np.arange(math.prod(counts)), counts)
        parent = [at // span for at, span in zip(place, spans, strict=True)]
        tables.append(start + np.ravel_multi_index(parent, along))
        start += math.prod(along)
    return np.concatenate(tables).astype(np.int32)


def _bordered_cells(patches, cells):
    """Numbers of the cells of every patch and of those around it."""
    outside = sum(math.prod(counts) for counts in patches) * math.prod(cells)
    tables, start, window = [], 0, [n + 2 for n in cells]
    for counts in patches:
        n_cells = math.prod(counts) * math.prod(cells)
        numbers = start + np.arange(n_cells, dtype=np.int32).reshape(-1, *cells)
        sides = [count * n for count, n in zip(counts, cells, strict=True)]
        # beyond the signal the number is out of range: `with_border` reads 0 there
        stitched = np.pad(join(numbers, sides, cells), 1, constant_values=outside)
        windows = np.lib.stride_tricks.sliding_window_view(stitched, window)
        tables.append(windows[tuple(slice(None, None, n) for n in cells)].reshape(-1, *window))
        start += n_cells
    return np.concatenate(tables)


class Layout(NamedTuple):
    """Places of all latents of a batch of signals.

    Attributes:
        groups: layouts of the groups.
        geometry: where the patches lie.
    """

    groups: tuple[GroupLayout, ...]
    geometry: Geometry
