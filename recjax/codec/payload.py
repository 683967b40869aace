"""An index stream between a kind of prior and the file."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Payload:
    """An index stream and the account of its bits.

    Attributes:
        stream: the bytes.
        exponent: exponent of the Zipf code of the indices, in units of 1/64.
        stream_bits: length of the code; the stream is rounded up to bytes.
        kl_bits: KL divergence of the posteriors when they were coded, by group of latents, in bits.
        latents: the coded latents by group of latents.
    """

    stream: bytes
    exponent: int
    stream_bits: float
    kl_bits: dict[str, float]
    latents: dict[str, np.ndarray]
