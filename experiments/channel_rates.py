"""Rates of coders on channels with finitely many inputs, from files that are read again."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recjax import Channel, Coder, RingToss, read_indices, write_indices


def measure(
    coder: Coder, channel: Channel, count: int, rate_bits: float, seed: int = 0
) -> dict[str, float]:
    """Codes ``count`` outputs of inputs drawn from the channel's law into one file.

    Returns:
        Bits of the file an output (``rate``), its standard error (``error``), and mean ``steps``.
    """
    shares = np.asarray(channel.shares)
    inputs = np.random.default_rng(seed).choice(shares.size, count, p=shares / shares.sum())
    keys = jax.random.split(jax.random.key(seed), count)
    targets = jax.tree.map(lambda x: x[inputs], channel.targets)
    proposal: Any = channel if isinstance(coder, RingToss) else channel.proposal
    # one program for channels of one size, and one copy of the channel for all lanes
    code = _encoder(coder)(keys, targets, proposal)
    data = write_indices(coder, keys, code.index, rate_bits=rate_bits, proposal=proposal)
    assert np.array_equal(
        read_indices(coder, data, keys, rate_bits=rate_bits, proposal=proposal), code.index
    )
    bits = np.asarray(_lengths(coder)(keys, code.index, proposal, jnp.float32(rate_bits)), float)
    return {
        "rate": 8 * len(data) / count,
        "error": float(bits.std(ddof=1) / np.sqrt(count)),
        "steps": float(np.mean(code.steps)),
    }


@functools.cache
def _encoder(coder):
    return jax.jit(jax.vmap(coder.encode, (0, 0, None)))


@functools.cache
def _lengths(coder):
    def length(key, index, proposal, rate):
        return coder.codelength(key, index, proposal, rate_bits=rate)

    return jax.jit(jax.vmap(length, (0, 0, None, None)))
