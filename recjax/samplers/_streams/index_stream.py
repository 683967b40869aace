"""Strings of many indices."""

from typing import Any

from jaxtyping import Array

from recjax.bits import stream
from recjax.samplers.base import Coder
from recjax.samplers.index_code import refuse


def write_indices(
    coder: Coder, keys: Array, index: Any, *, rate_bits: float, proposal: Any = None
) -> bytes:
    """Returns the indices of many samples as one string.

    It takes the sum of their `Coder.codelength`, and at most 8 bits more for all together.

    Args:
        coder: any coder whose `Coder.index_code` can put and take; not those of a budget of 0 bits,
            which need no string.
        keys: keys of the samples, known to the reader.
        index: the indices, with a leading batch axis: uint32 [n], [n, 2] or [n, 4], or whatever
            else the coder's index is.
        rate_bits: the divergence in bits that the code is tuned for, known to the reader.
        proposal: the proposal of all samples, known to the reader. `RingToss`, `HybridCoder` and
            `DitheredQuantizer` need it.

    Raises:
        ValueError: the coder's indices have no such code, the proposal is missing, an index is out
            of range, or the numbers of keys and indices differ.

    >>> import jax, jax.numpy as jnp, recjax
    >>> coder, keys = recjax.BranchAndBoundGPRS(), jax.random.split(jax.random.key(0), 100)
    >>> q, p = recjax.Normal(jnp.full(100, 1.0), jnp.full(100, 0.25)), recjax.Normal(0.0, 1.0)
    >>> index = coder.encode_batch(keys, q, p).index
    >>> data = recjax.write_indices(coder, keys, index, rate_bits=2.0)
    >>> bool((recjax.read_indices(coder, data, keys, rate_bits=2.0) == index).all())
    True
    """
    encoder = stream.queue.RangeEncoder()
    coder.index_code(proposal, rate_bits).put(encoder, keys, index)
    return stream.shortest(encoder)


def read_indices(
    coder: Coder, data: bytes, keys: Array, *, rate_bits: float, proposal: Any = None
) -> Any:
    """Returns the indices that `write_indices` wrote with the same coder, keys, rate and proposal.

    Raises:
        FormatError: no such indices have the code ``data``.
        ValueError: as for `write_indices`.
    """
    with stream.refusing("index stream"):
        index = coder.index_code(proposal, rate_bits).take(stream.reader(data), keys)
    # A string is valid only as the writer makes it: one list of indices has one string.
    refuse(write_indices(coder, keys, index, rate_bits=rate_bits, proposal=proposal) != data)
    return index
