"""All indices of a file as one range-coded byte string. Frozen: FORMAT.md, section Indices.

The stream (of the range coder of `recjax.bits.stream`) holds first the bin of every index, support
by support from the smallest and in file order within a support. Then comes, in file order, the
place inside its bin of every index whose bin has more than one member. The last words are cut as
`recjax.bits.stream.shortest` says: each list of indices has exactly one byte string.

Supports above 2^24 occur in the index streams of samplers but in no `.rec` file. They have bins
with more members than a uniform model of 24 bits can tell apart: of a place in a bin of more than
2^16 members, only the part above its low 16 bits is written in file order, and the low bits follow
after all places, again in file order.
"""

import numpy as np
from jaxtyping import Bool, Int

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
    """Range-codes indices.

    The bytes cost the sum of `recjax.bits.zipf.codelength_bits` and less than 8 bits more.

    Args:
        indices: 0-based candidate numbers.
        log2_sizes: log2 of the number of candidates of each index, 1 .. 31.
        a: exponent of the Zipf code in units of 1/64.

    Raises:
        ValueError: an index is outside its support, or a size or the exponent outside its range.

    >>> data = encode_indices(np.array([0, 3, 70]), np.array([4, 4, 8]), 64)
    >>> len(data), decode_indices(data, np.array([4, 4, 8]), 64)
    (2, array([ 0,  3, 70]))
    """
    encoder = stream.queue.RangeEncoder()
    put_indices(encoder, indices, log2_sizes, a)
    return stream.shortest(encoder)


def decode_indices(data: bytes, log2_sizes: Int[np.ndarray, " n"], a: int) -> Int[np.ndarray, " n"]:
    """Decodes the byte string of `encode_indices`.

    Args:
        data: the byte string, exactly.
        log2_sizes: log2 of the numbers of candidates, as given to the encoder.
        a: exponent of the Zipf code, as given to the encoder.

    Returns:
        int64 indices, each in `0 .. 2**log2_size - 1` whatever `data` is.

    Raises:
        FormatError: no list of indices has the code `data`.
    """
    with stream.refusing("index stream"):
        indices = take_indices(stream.reader(data), log2_sizes, a)
    # one byte string per list of indices: any other form is damage
    if encode_indices(indices, log2_sizes, a) != data:
        raise FormatError("the index stream is damaged or has bytes left over")
    return indices


def encode_zeta(indices: Int[np.ndarray, " n"], rate_bits: float) -> bytes:
    """Range-codes the global indices of a coder with the zeta code of a rate.

    The bytes cost what the coder's `codelength` reports at this rate.

    Args:
        indices: 0-based candidate numbers, less than 2^31.
        rate_bits: expected divergence of the targets from the proposal, in bits, which the decoder
            must know too.

    Raises:
        ValueError: an index is negative or too large, or the rate is negative or not finite.

    >>> data = encode_zeta(np.array([0, 5, 2**30]), 8.0)
    >>> len(data), decode_zeta(data, 3, 8.0)
    (6, array([         0,          5, 1073741824]))
    """
    indices = np.asarray(indices)
    return encode_indices(indices, np.full(indices.shape, MAX_LOG2_SIZE), zeta_exponent(rate_bits))


def decode_zeta(data: bytes, n: int, rate_bits: float) -> Int[np.ndarray, " n"]:
    """Decodes the byte string that `encode_zeta` wrote at the same rate.

    Args:
        data: the byte string, exactly.
        n: number of indices.
        rate_bits: the rate given to the encoder, in bits.

    Returns:
        int64 indices.

    Raises:
        FormatError: no list of `n` indices has the code `data`.
        ValueError: the rate is negative or not finite.

    >>> decode_zeta(b"", 2, 8.0)
    array([0, 0])
    """
    return decode_indices(data, np.full(n, MAX_LOG2_SIZE), zeta_exponent(rate_bits))


def put_indices(
    encoder, indices: Int[np.ndarray, " n"], log2_sizes: Int[np.ndarray, " n"], a: int
) -> None:
    """Encodes indices as a part of a longer stream.

    Args:
        encoder: the range encoder of the stream.
        indices, log2_sizes, a: see `encode_indices`, which raises the same errors.

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
    # all indices of one support share a model: one call of the coder encodes their bins
    for size in np.unique(log2_sizes):
        where = log2_sizes == size
        edges = np.array(bin_edges(int(size)))
        bins = np.searchsorted(edges, indices[where], side="right") - 1
        encoder.encode(bins.astype(np.int32), _bin_model(int(size), a))
        counts[where], places[where] = np.diff(edges)[bins], indices[where] - edges[bins]
    put_places(encoder, places, counts, log2_sizes > PRECISION)


def take_indices(decoder, log2_sizes: Int[np.ndarray, " n"], a: int) -> Int[np.ndarray, " n"]:
    """Decodes the indices that `put_indices` encoded.

    Args:
        decoder: the range decoder of the stream.
        log2_sizes, a: as given to the encoder.

    Returns:
        int64 indices.

    Raises:
        AssertionError: the stream is at a point outside every symbol's interval; see
            `recjax.bits.stream.refusing`.
    """
    log2_sizes = np.asarray(log2_sizes)
    check_indices(np.zeros_like(log2_sizes), log2_sizes)
    starts, counts = np.zeros(log2_sizes.shape, np.int64), np.ones(log2_sizes.shape, np.int64)
    for size in np.unique(log2_sizes):
        where = log2_sizes == size
        edges = np.array(bin_edges(int(size)))
        bins = decoder.decode(_bin_model(int(size), a), int(where.sum()))
        starts[where], counts[where] = edges[bins], np.diff(edges)[bins]
    return starts + take_places(decoder, counts, log2_sizes > PRECISION)


def put_places(
    encoder,
    places: Int[np.ndarray, " n"],
    counts: Int[np.ndarray, " n"],
    in_two_parts: Bool[np.ndarray, " n"] | bool = True,
) -> None:
    """Encodes places in bins as a part of a longer stream.

    Args:
        encoder: the range encoder of the stream.
        places: place in the bin of each index, from 0.
        counts: number of members of each bin, a power of two of at most 2^31.
        in_two_parts: whether the low 16 bits of a place follow after all places if its bin has more
            than 2^16 members.
    """
    split = in_two_parts & (counts > 2**_LOW_BITS)
    radices = _radices(counts, split)
    # a bin of one member leaves nothing to say, and the coder refuses models of one symbol
    wide = radices > 1
    if wide.any():
        high = np.where(split, places >> _LOW_BITS, places)[wide]
        encoder.encode(high.astype(np.int32), _UNIFORM, radices[wide])
    if split.any():
        encoder.encode((places[split] % 2**_LOW_BITS).astype(np.int32), _LOW_PART)


def take_places(
    decoder, counts: Int[np.ndarray, " n"], in_two_parts: Bool[np.ndarray, " n"] | bool = True
) -> Int[np.ndarray, " n"]:
    """Decodes the places that `put_places` encoded, from the same counts.

    Raises:
        AssertionError: as for `take_indices`.
    """
    split = in_two_parts & (counts > 2**_LOW_BITS)
    radices, places = _radices(counts, split), np.zeros_like(counts)
    wide = radices > 1
    if wide.any():
        places[wide] = decoder.decode(_UNIFORM, radices[wide])
    if split.any():
        places[split] = (places[split] << _LOW_BITS) + decoder.decode(_LOW_PART, int(split.sum()))
    return places


def _radices(counts, split):
    """Number of values of each place, or of its high part; every bin has 2^n members."""
    return np.where(split, counts >> _LOW_BITS, counts).astype(np.int32)


def _bin_model(log2_size, a):
    frequencies = np.array(bin_frequencies(log2_size, a))
    return stream.model.Categorical(stream.weights(frequencies), perfect=False)
