"""All indices of a file as one range-coded byte string.

The stream, that of the range coder of `recjax.bits.stream`, holds first the bin of every index, support by support
from the smallest (file order within one), then, in file order, the place inside the bin of every index whose bin has
more than one member. In a support above 2^24 some bins have more members than a uniform model of 24 bits can tell
apart: of a place in a bin of more than 2^16 only the part above its low 16 bits is written there, and the low bits
follow after all places, again in file order. The last words are cut to the fewest bytes which, followed by zeros,
still decode: each list of indices has exactly one byte string.
"""

import numpy as np
from jaxtyping import Int

from recjax.bits import stream
from recjax.bits.zipf import (
    MAX_LOG2_SIZE,
    PRECISION,
    bin_edges,
    bin_frequencies,
    check_indices,
    zeta_exponent,
)
from recjax.errors import FormatError

_LOW_BITS = 16
_UNIFORM = stream.model.Uniform()
_LOW_PART = stream.model.Uniform(2**_LOW_BITS)


def encode_indices(
    indices: Int[np.ndarray, " n"], log2_sizes: Int[np.ndarray, " n"], a: int
) -> bytes:
    """Range-codes ``indices``; they cost `recjax.bits.zipf.codelength_bits` and less than 8 bits more in all.

    Args:
        indices: 0-based candidate numbers.
        log2_sizes: log2 of the number of candidates of each, 1 .. 31.
        a: the Zipf exponent in units of 1/64.

    Raises:
        ValueError: if an index is outside its support or a size or exponent outside its range.

    >>> data = encode_indices(np.array([0, 3, 70]), np.array([4, 4, 8]), 64)
    >>> len(data), decode_indices(data, np.array([4, 4, 8]), 64)
    (2, array([ 0,  3, 70]))
    """
    encoder = stream.queue.RangeEncoder()
    put_indices(encoder, indices, log2_sizes, a)
    return stream.shortest(encoder)


def decode_indices(data: bytes, log2_sizes: Int[np.ndarray, " n"], a: int) -> Int[np.ndarray, " n"]:
    """The indices that `encode_indices` wrote.

    Args:
        data: the byte string, exactly.
        log2_sizes: as given to the encoder.
        a: as given to the encoder.

    Returns:
        int64 indices, each in ``0 .. 2**log2_size - 1`` whatever ``data`` is.

    Raises:
        FormatError: if no list of indices has the code ``data``.
    """
    try:
        indices = take_indices(stream.reader(data), log2_sizes, a)
    except (
        AssertionError
    ) as error:  # what the decoder raises for a point outside every symbol's interval
        raise FormatError("the index stream is damaged") from error
    if encode_indices(indices, log2_sizes, a) != data:
        raise FormatError("the index stream is damaged or has bytes left over")
    return indices


def encode_zeta(indices: Int[np.ndarray, " n"], rate_bits: float) -> bytes:
    """Range-codes the global indices of coders at ``rate_bits``, at the cost that their ``codelength`` reports.

    Args:
        indices: 0-based candidate numbers, less than 2^31.
        rate_bits: the expected divergence of targets from the proposal, in bits; the decoder must know it too.

    Raises:
        ValueError: if an index is negative or too large, or the rate negative or not finite.

    >>> data = encode_zeta(np.array([0, 5, 2**30]), 8.0)
    >>> len(data), decode_zeta(data, 3, 8.0)
    (6, array([         0,          5, 1073741824]))
    """
    indices = np.asarray(indices)
    return encode_indices(indices, np.full(indices.shape, MAX_LOG2_SIZE), zeta_exponent(rate_bits))


def decode_zeta(data: bytes, n: int, rate_bits: float) -> Int[np.ndarray, " n"]:
    """The ``n`` int64 indices that `encode_zeta` wrote at the same ``rate_bits``.

    Raises:
        FormatError: if no list of ``n`` indices has the code ``data``.
        ValueError: if the rate is negative or not finite.

    >>> decode_zeta(b"", 2, 8.0)
    array([0, 0])
    """
    return decode_indices(data, np.full(n, MAX_LOG2_SIZE), zeta_exponent(rate_bits))


def put_indices(
    encoder, indices: Int[np.ndarray, " n"], log2_sizes: Int[np.ndarray, " n"], a: int
) -> None:
    """Encodes what `encode_indices` does, as a part of a longer stream; same arguments and errors.

    >>> encoder = stream.queue.RangeEncoder()
    >>> put_indices(encoder, np.array([0, 3]), np.array([4, 4]), 64)
    >>> put_indices(encoder, np.array([70]), np.array([8]), 0)
    >>> decoder = stream.reader(stream.shortest(encoder))
    >>> take_indices(decoder, np.array([4, 4]), 64), take_indices(decoder, np.array([8]), 0)
    (array([0, 3]), array([70]))
    """
    indices, log2_sizes = np.asarray(indices), np.asarray(log2_sizes)
    check_indices(indices, log2_sizes)
    counts, places = np.ones(indices.shape, np.int64), np.zeros(indices.shape, np.int64)
    for size in np.unique(log2_sizes):
        where = log2_sizes == size
        edges = np.array(bin_edges(int(size)))
        bins = np.searchsorted(edges, indices[where], side="right") - 1
        encoder.encode(bins.astype(np.int32), _bin_model(int(size), a))
        counts[where], places[where] = np.diff(edges)[bins], indices[where] - edges[bins]
    split = _split(counts, log2_sizes)
    radices = _radices(counts, split)
    wide = radices > 1
    if wide.any():
        encoder.encode(
            np.where(split, places >> _LOW_BITS, places)[wide].astype(np.int32),
            _UNIFORM,
            radices[wide],
        )
    if split.any():
        encoder.encode((places[split] % 2**_LOW_BITS).astype(np.int32), _LOW_PART)


def take_indices(decoder, log2_sizes: Int[np.ndarray, " n"], a: int) -> Int[np.ndarray, " n"]:
    """Decodes what `put_indices` encoded.

    Raises:
        AssertionError: if the stream is at a point outside every symbol's interval.
    """
    log2_sizes = np.asarray(log2_sizes)
    check_indices(np.zeros_like(log2_sizes), log2_sizes)
    starts, counts = np.zeros(log2_sizes.shape, np.int64), np.ones(log2_sizes.shape, np.int64)
    for size in np.unique(log2_sizes):
        where = log2_sizes == size
        edges = np.array(bin_edges(int(size)))
        bins = decoder.decode(_bin_model(int(size), a), int(where.sum()))
        starts[where], counts[where] = edges[bins], np.diff(edges)[bins]
    split = _split(counts, log2_sizes)
    radices, places = _radices(counts, split), np.zeros_like(counts)
    wide = radices > 1
    if wide.any():
        places[wide] = decoder.decode(_UNIFORM, radices[wide])
    if split.any():
        places[split] = (places[split] << _LOW_BITS) + decoder.decode(_LOW_PART, int(split.sum()))
    return starts + places


def _split(counts, log2_sizes):
    """Whether each place is written in two parts; never in supports which files had before there were parts."""
    return (log2_sizes > PRECISION) & (counts > 2**_LOW_BITS)


def _radices(counts, split):
    """Number of values of each place, of its high part if it is split; bins have a power of two members."""
    return np.where(split, counts >> _LOW_BITS, counts).astype(np.int32)


def _bin_model(log2_size, a):
    return stream.model.Categorical(
        stream.weights(np.array(bin_frequencies(log2_size, a))), perfect=False
    )
