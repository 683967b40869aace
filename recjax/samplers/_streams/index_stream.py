"""Strings of many indices. Frozen: FORMAT.md, section Strings.

A string has a byte for its version and the scheme of the shared randomness, a byte that names the
coder, a range-coded stream, and a checksum.
"""

import binascii
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Array

from recjax.bits import stream
from recjax.errors import FormatError
from recjax.randomness import SCHEME
from recjax.samplers._streams.coder_numbers import name_of, number_of
from recjax.samplers.base import Coder
from recjax.samplers.index_code import IndexCode, refuse
from recjax.samplers.vector_coder import VectorCoder

VERSION = 1
"""Version of the layout of strings."""

_HEAD, _CHECK = 2, 2  # bytes


def write_indices(
    coder: Coder | VectorCoder,
    keys: Array | None,
    index: Any,
    *,
    rate_bits: float | None = None,
    kl_bits: Sequence[npt.ArrayLike] | None = None,
    proposal: Any = None,
) -> bytes:
    """Returns the indices of many samples as one string.

    It takes the sum of their `Coder.codelength`, 32 bits for the head and the checksum, at most 8
    for the last byte, and rounding in the range coder of less than 0.001 bits per sample.
    (`OrderedRandomCoder` and `BudgetedAStar` tuned for a rate: within 0.05 bits per sample.)

    Args:
        coder: any coder, with the reader's settings.
        keys: keys of the samples, known to the reader. The one key of a `VectorCoder`, or None.
        index: the indices, with a leading batch axis: uint32 [n], [n, 2] or [n, 4], or whatever
            else the coder's index is. For a `VectorCoder` a sequence, one entry per call.
        rate_bits: the divergence in bits that the code is tuned for, known to the reader. None, for
            readers that do not know it, writes numbers in Elias delta. It does not matter to
            `MinimalRandomCoder`, `RingToss` and `DitheredQuantizer`.
        kl_bits: for a `VectorCoder` alone, the ``kl_bits`` of each call, known to the reader.
        proposal: the proposal of all samples, known to the reader. `RingToss`, `HybridCoder`,
            `DitheredQuantizer` and `VectorCoder` need it.

    Raises:
        ValueError: an index is out of range, the numbers of keys and indices differ, or an argument
            is missing or not one of this coder.

    >>> import jax, jax.numpy as jnp, recjax
    >>> coder, keys = recjax.BranchAndBoundGPRS(), jax.random.split(jax.random.key(0), 100)
    >>> q, p = recjax.Normal(jnp.full(100, 1.0), jnp.full(100, 0.25)), recjax.Normal(0.0, 1.0)
    >>> index = coder.encode_batch(keys, q, p).index
    >>> data = recjax.write_indices(coder, keys, index, rate_bits=2.0)
    >>> bool((recjax.read_indices(coder, data, keys, rate_bits=2.0) == index).all())
    True

    Two vectors of different divergence, calls 0 and 1 under one key:

    >>> coder, key = recjax.VectorCoder(block_bits=10), keys[0]
    >>> p = recjax.Normal(jnp.zeros(99), 1.0)
    >>> q = [recjax.Normal(jnp.full(99, mean), 1.0) for mean in (0.5, 0.2)]
    >>> kl = [float(recjax.kl_bits(target, p)) for target in q]
    >>> code = [coder.encode(key, q[i], p, kl_bits=kl[i], call=i) for i in (0, 1)]
    >>> index = [c.index for c in code]
    >>> data = recjax.write_indices(coder, key, index, kl_bits=kl, proposal=p)
    >>> [i.shape for i in recjax.read_indices(coder, data, key, kl_bits=kl, proposal=p)]
    [(3,), (1,)]
    """
    code = coder.string_code(keys, proposal, rate_bits, kl_bits)
    body = bytes([VERSION << 4 | SCHEME, number_of(coder)]) + _written(code, keys, index)
    return body + _checksum(body, code.settings(keys))


def read_indices(
    coder: Coder | VectorCoder,
    data: bytes,
    keys: Array | None,
    *,
    rate_bits: float | None = None,
    kl_bits: Sequence[npt.ArrayLike] | None = None,
    proposal: Any = None,
) -> Any:
    """Returns the indices that `write_indices` wrote with the same coder and arguments.

    The checksum also covers the number of samples and what the rate and settings decide, so that
    other ones are found out. Other keys or proposals may lead to other indices.

    Raises:
        FormatError: the string is of another coder or version, damaged, cut short or continued, or
            written for another number of samples, rate or setting.
        ValueError: as for `write_indices`.
    """
    stream_bytes = _opened(coder, data)
    code = coder.string_code(keys, proposal, rate_bits, kl_bits)
    if _checksum(data[:-_CHECK], code.settings(keys)) != data[-_CHECK:]:
        raise FormatError(
            "the string of indices is damaged, or written for another number of samples, "
            "another rate or other settings: its checksum is wrong"
        )
    with stream.refusing("index stream"):
        index = code.take(stream.reader(stream_bytes), keys)
    # A string is valid only as the writer makes it: one list of indices has one string.
    refuse(_written(code, keys, index) != stream_bytes)
    return index


def _written(code: IndexCode, keys: Any, index: Any) -> bytes:
    encoder = stream.queue.RangeEncoder()
    code.put(encoder, keys, index)
    return stream.shortest(encoder)


def _opened(coder: Coder | VectorCoder, data: bytes) -> bytes:
    """The stream of a string.

    Raises:
        FormatError: the string is too short, or its head is not that of this coder.
        ValueError: the string is not made of bytes.
    """
    if not isinstance(data, bytes):
        raise ValueError(f"data must be bytes, got {type(data).__name__}")
    if len(data) < _HEAD + _CHECK:
        raise FormatError(f"the string of indices is cut short: it has {len(data)} bytes")
    version, scheme = data[0] >> 4, data[0] & 15
    if (version, scheme) != (VERSION, SCHEME):
        raise FormatError(
            f"the string of indices has version {version} and scheme {scheme}; "
            f"this release reads version {VERSION} and scheme {SCHEME}"
        )
    if data[1] != number_of(coder):
        raise FormatError(
            f"the string holds indices of {name_of(data[1])}, not of {type(coder).__name__}"
        )
    return data[_HEAD:-_CHECK]


def _checksum(body: bytes, settings: tuple[int, ...]) -> bytes:
    """CRC-16/CCITT-FALSE, which finds every change of up to two bytes side by side."""
    known = np.array(settings, ">u4").tobytes()
    return binascii.crc_hqx(body + known, 0xFFFF).to_bytes(_CHECK, "big")
