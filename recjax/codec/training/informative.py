"""Latents that are worth coding: the rule that both kinds of priors follow when written."""

import numpy as np
from jaxtyping import Bool, Float

NEGLIGIBLE = 0.005
"""Largest share of the total KL that is dropped with the latents that carry least."""


def informative(
    kl_bits: Float[np.ndarray, "latents"], frequency: Float[np.ndarray, "latents"] | None = None
) -> Bool[np.ndarray, "latents"]:
    """Marks all latents but those that carry least, together at most `NEGLIGIBLE` of the KL.

    Args:
        kl_bits: average KL of every latent, in bits.
        frequency: how often each latent occurs, for the total; by default all alike.

    >>> informative(np.array([5.0, 0.0, 6.0])).tolist()
    [True, False, True]
    """
    order = np.argsort(kl_bits, kind="stable")
    mass = kl_bits if frequency is None else kl_bits * frequency
    carries = np.ones(len(kl_bits), bool)
    carries[order[np.cumsum(mass[order]) <= NEGLIGIBLE * mass.sum()]] = False
    return carries
