"""Which latents form a block, and how blocks mix the patches of one signal.

All of it is integers, stored in the prior or derived from its digest by integer arithmetic: nothing that the
decoder needs hangs on floating point.
"""

import numpy as np
from jaxtyping import Bool, Int

NEGLIGIBLE = 0.005
"""Share of the total KL that may be dropped with the latents that carry least."""


def informative(kl_bits: np.ndarray) -> Bool[np.ndarray, "latents"]:
    """All latents but those that carry least and together less than ``NEGLIGIBLE`` of the KL.

    >>> informative(np.array([5.0, 0.0, 6.0])).tolist()
    [True, False, True]
    """
    rank = np.argsort(kl_bits, kind="stable")
    kept = np.ones(len(kl_bits), bool)
    kept[rank[np.cumsum(kl_bits[rank]) <= NEGLIGIBLE * kl_bits.sum()]] = False
    return kept


def partition(
    kl_bits: np.ndarray, budget: float, seed: int
) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "blocks"]]:
    """Fills blocks with randomly ordered latents until their average KL is as close to the budget as it gets.

    Args:
      kl_bits: average KL of every latent over the training signals, in bits.
      budget: bits a block.
      seed: of the order.

    Returns:
      The latents in order, and the number of them in each successive block.

    >>> order, widths = partition(np.array([5.0, 5.0, 6.0]), 11, seed=0)
    >>> sorted(order.tolist()), widths.tolist()
    ([0, 1, 2], [2, 1])
    """
    order = np.random.default_rng(seed).permutation(len(kl_bits))
    widths, filled = [0], 0.0
    for bits in kl_bits[order]:
        if widths[-1] and filled + bits / 2 > budget:
            widths.append(0)
            filled = 0.0
        widths[-1] += 1
        filled += bits
    return order.astype(np.int32), np.array(widths, np.int32)


def block_table(
    order: np.ndarray, widths: np.ndarray, n_latents: int
) -> Int[np.ndarray, "blocks width"]:
    """Latents of every block, padded with ``n_latents`` (out of range) to the widest."""
    table = np.full((len(widths), widths.max(initial=0)), n_latents, np.int32)
    ends = np.cumsum(widths)
    for row, end, width in zip(table, ends, widths, strict=True):
        row[:width] = order[end - width : end]
    return table


def source_rows(
    counts: list[int], words: np.ndarray
) -> tuple[Int[np.ndarray, "rows latents"], np.ndarray]:
    """Cyclic shifts across the patches of each signal, one a latent.

    A block of *slot* ``r`` then holds latents of many patches, so that its KL is close to the average of the
    signal: busy patches get more bits than flat ones at a fixed budget a block (RECOMBINER's permutation
    across patches, ICLR 2024, section 3.3, as a shift that needs no table).

    Args:
      counts: patches of each signal; their rows follow one another.
      words: ``uint32[latents]``, the latent's shift modulo the number of patches.

    Returns:
      ``source``: the row whose latent stands in slot ``r``; and its inverse.
    """
    source, inverse, start = [], [], 0
    for count in counts:
        slot = np.arange(count, dtype=np.int64)[:, None]
        shift = (words.astype(np.int64) % count)[None, :]
        source.append(start + (slot + shift) % count)
        inverse.append(start + (slot - shift) % count)
        start += count
    return np.concatenate(source).astype(np.int32), np.concatenate(inverse).astype(np.int32)
