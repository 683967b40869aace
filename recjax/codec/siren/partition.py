"""Partition of the latents into blocks with about one budget of KL each, when a prior is written.

The result is stored in the prior; another rule would write other priors and change no file.
"""

import numpy as np
from jaxtyping import Float, Int32


def partition(
    kl_bits: Float[np.ndarray, "latents"], budget: float, seed: int
) -> tuple[Int32[np.ndarray, "latents"], Int32[np.ndarray, "blocks"]]:
    """Fills blocks with randomly ordered latents, each to the KL that is closest to the budget.

    Args:
        kl_bits: average KL of every latent over the training signals, in bits.
        budget: bits per block.
        seed: seed of the order.

    Returns:
        The latents in order, and the number of latents in each successive block.

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
