"""Shared randomness of encoder and decoder. Frozen: FORMAT.md, section Shared randomness.

Values of `jax.random` may change between JAX releases, files must not. Everything that a decoder
has to reproduce is therefore derived here, from the Threefry-2x32-20 block cipher in counter mode
(Salmon et al., *Parallel random numbers: as easy as 1, 2, 3*, SC 2011). Coordinate `j` of candidate
`i` is a pure function of (scheme, key, stream, `i`, `j`): any candidate costs O(d) and needs no
state.

A scheme number, once released, is frozen: later releases decode every earlier file.
"""

import enum

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Integer, Key, UInt32

from recjax.words import Word

SCHEME = 1
"""Version of the mapping from keys to candidates, stored in every file."""

SharedKey = Key[Array, ""] | UInt32[Array | np.ndarray, " words"]
"""A typed JAX key, or its words."""

_INV_2_32 = 2.0**-32
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


class Stream(enum.IntEnum):
    """Independent streams of one key. The numbers are part of the scheme."""

    CANDIDATE = 0
    ARRIVAL = 1
    ACCEPT = 2
    SIGN = 3
    BRANCH = 4
    VECTOR = 5
    CHUNK = 6


def threefry2x32(
    words: UInt32[Array | np.ndarray, "2"] | Word,
    hi: UInt32[Array | np.ndarray, "*#n"],
    lo: UInt32[Array | np.ndarray, "*#n"],
) -> tuple[UInt32[Array, "*#n"], UInt32[Array, "*#n"]]:
    """Encrypts the counters `(hi, lo)` with the 64-bit key `words`.

    The cipher is written out here, so that XLA fuses it with its consumers and files do not depend
    on JAX's own generator.

    Args:
        words: the key, more significant word first.
        hi, lo: words of the counters, broadcast against each other.

    Returns:
        The two words of every encrypted counter.

    >>> import jax.numpy as jnp
    >>> zero = jnp.zeros((), jnp.uint32)
    >>> [hex(int(w)) for w in threefry2x32(jnp.zeros(2, jnp.uint32), zero, zero)]
    ['0x6b200159', '0x99ba4efe']
    """
    # the key schedule has a third word, the parity of the key (constant of Skein)
    keys = (words[0], words[1], words[0] ^ words[1] ^ jnp.uint32(0x1BD11BDA))
    hi, lo = jnp.broadcast_arrays(jnp.asarray(hi, jnp.uint32), jnp.asarray(lo, jnp.uint32))
    left, right = hi + keys[0], lo + keys[1]
    # 20 rounds; the key is injected after every fourth
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            left = left + right
            right = left ^ ((right << rotation) | (right >> (32 - rotation)))
        left = left + keys[(group + 1) % 3]
        right = right + (keys[(group + 2) % 3] + jnp.uint32(group + 1))
    return left, right


def key_words(key: SharedKey) -> UInt32[Array | np.ndarray, "2"]:
    """Returns the 64 bits that seed the shared randomness.

    Args:
        key: a typed JAX key, or its words as uint32[2]. Keys of other generators (`rbg`) have more
            words, which are chained through the cipher.

    Raises:
        ValueError: `key` is anything else, for example a batch of keys.
    """
    words = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    if words.dtype != jnp.uint32 or words.ndim != 1 or words.size % 2:
        raise ValueError(
            f"key must be one typed JAX key or uint32[2], got {words.dtype}{list(words.shape)}"
        )
    first = words[:2]
    for start in range(2, words.size, 2):
        pair = words[start : start + 2]
        first = jnp.stack(threefry2x32(first, pair[0], pair[1]))
    return first


def stream_key(
    key: SharedKey, stream: Stream | int, index: Integer[ArrayLike, ""] = 0
) -> UInt32[Array, "2"]:
    """Derives the key of one stream from (scheme, `key`, `stream`, `index`).

    Args:
        key: a typed JAX key, or its words.
        stream: number of the stream, below 2^16.
        index: number below 2^32 that separates users of one stream (tables, blocks, processes,
            nodes of a tree).
    """
    domain = jnp.uint32((SCHEME << 16) | int(stream))
    return jnp.stack(threefry2x32(key_words(key), domain, jnp.asarray(index, jnp.uint32)))


def coordinate_bits(
    words: UInt32[Array | np.ndarray, "2"],
    candidate: Integer[ArrayLike, "*n"],
    d: int,
    start: int = 0,
) -> UInt32[Array, "*n d"]:
    """Returns 32 random bits per coordinate of candidates.

    Narrower candidates are the leading coordinates of wider ones.

    Args:
        words: key of the stream.
        candidate: numbers of the candidates.
        d: number of coordinates.
        start: first coordinate.
    """
    if d == 0:
        return jnp.zeros((*jnp.shape(candidate), 0), jnp.uint32)
    # one call of the cipher yields the words of an even and the next odd coordinate
    first, last = start // 2, (start + d - 1) // 2
    pair = jnp.arange(first, last + 1, dtype=jnp.uint32)
    even, odd = threefry2x32(words, jnp.asarray(candidate, jnp.uint32)[..., None], pair)
    both = jnp.stack([even, odd], axis=-1).reshape(*even.shape[:-1], 2 * pair.size)
    return both[..., start - 2 * first : start - 2 * first + d]


def uniform(bits: UInt32[Array, "*n"], dtype=jnp.float32) -> Float[Array, "*n"]:
    """Uniform on the open interval (0, 1): the centre of one of 2^23 cells (2^32 in float64)."""
    if jnp.finfo(dtype).bits == 64:
        return (bits.astype(dtype) + 0.5) * _INV_2_32
    # 23 bits and the half fill a float32 significand: the conversion and the sum are exact
    return ((bits >> 9).astype(jnp.int32).astype(dtype) + 0.5) * 2.0**-23


def sign_and_tail(
    bits: UInt32[Array, "*n"], dtype=jnp.float32
) -> tuple[Bool[Array, "*n"], Float[Array, "*n"]]:
    """Splits a uniform variable into its half and its tail probability.

    Returns:
        Whether the variable is below 1/2, and its distance (m + 1/2) / 2^32 from the nearer end of
        (0, 1), which keeps its relative precision in both tails.
    """
    # signed conversions are faster, and 31 bits fit
    magnitude = (bits & jnp.uint32(0x7FFFFFFF)).astype(jnp.int32).astype(dtype)
    return (bits >> 31) == 0, (magnitude + 0.5) * _INV_2_32


def bits_at_quantile(quantile: UInt32[Array, "*n"]) -> UInt32[Array, "*n"]:
    """Returns the random bits whose `sign_and_tail` lies at the quantile `quantile / 2^32`.

    In the upper half, `sign_and_tail` counts from the upper end: there the lower 31 bits are
    inverted.

    >>> import jax.numpy as jnp
    >>> [f"{float(x):.2f}" for x in normal(bits_at_quantile(jnp.uint32([1 << 30, 3 << 30])))]
    ['-0.67', '0.67']
    """
    return jnp.where(quantile >> 31 == 0, quantile, quantile ^ jnp.uint32(0x7FFFFFFF))


def _from_median(bits, dtype):
    """Distance of the variable of `sign_and_tail` from 1/2.

    It is computed from the integer: small distances keep their relative precision.
    """
    magnitude = (bits & jnp.uint32(0x7FFFFFFF)).astype(jnp.int32)
    return ((jnp.int32(0x7FFFFFFF) - magnitude).astype(dtype) + 0.5) * _INV_2_32


def exponential(bits: UInt32[Array, "*n"], dtype=jnp.float32) -> Float[Array, "*n"]:
    """Unit exponential, with full relative accuracy in both tails (2^-33 to 22.9)."""
    lower, tail = sign_and_tail(bits, dtype)
    return jnp.where(lower, -jnp.log(tail), -jnp.log1p(-tail))


def laplace(bits: UInt32[Array, "*n"], dtype=jnp.float32) -> Float[Array, "*n"]:
    """Standard Laplace (scale 1), relatively accurate at the median and in the tails (to 22.2)."""
    lower, tail = sign_and_tail(bits, dtype)
    return _laplace(lower, tail, _from_median(bits, dtype))


def normal(bits: UInt32[Array, "*n"], dtype=jnp.float32) -> Float[Array, "*n"]:
    """Standard normal by the inverse distribution function: 4e-7 relative error, to 6.3 sigma.

    The rational approximations PPND7 of Wichura (*Algorithm AS 241*, Applied Statistics 37, 1988)
    are evaluated as continued fractions. These contain no sum of a product, which compilers may or
    may not fuse into one rounding: every kernel computes the same bits. float64 evaluates the same
    approximations, and agrees with float32 to about 4e-7 relative.

    >>> import jax.numpy as jnp
    >>> float(normal(jnp.uint32(0xFFFFFFFF)).round(4))
    0.0
    """
    lower, tail = sign_and_tail(bits, dtype)
    # r = 0.425^2 - q^2 in integers, from the upper half of the square of a 31-bit number
    distance = jnp.uint32(0x7FFFFFFF) - (bits & jnp.uint32(0x7FFFFFFF))
    return _normal(lower, tail, _from_median(bits, dtype), _from_square(distance, dtype))


def quantile_parts(
    high: UInt32[Array | np.ndarray, "*n"], low: UInt32[Array | np.ndarray, "*n"], dtype
) -> tuple[Bool[Array, "*n"], Float[Array, "*n"], Float[Array, "*n"]]:
    """Splits a uniform variable of 64 bits as `sign_and_tail` splits one of 32 bits.

    Args:
        high, low: words of the variable.
        dtype: dtype of the distances.

    Returns:
        Whether the variable is below 1/2, its distance from the nearer end of (0, 1), and its
        distance from the median, each with full relative precision.
    """
    # in the upper half, count from the upper end: a negation of all 64 bits
    below = (high >> 31) == 0
    end, end_low = jnp.where(below, high, ~high), jnp.where(below, low, ~low)
    centre, centre_low = jnp.uint32(0x7FFFFFFF) - end, ~end_low

    def value(a, b):
        # products with powers of two are exact: fused multiply-adds change nothing
        return (
            a.astype(jnp.int32).astype(dtype) * _INV_2_32
            + ((b >> 1).astype(jnp.int32).astype(dtype) + 0.5) * 2.0**-63
        )

    return below, value(end, end_low), value(centre, centre_low)


def normal_quantile(
    high: UInt32[Array | np.ndarray, "*n"], low: UInt32[Array | np.ndarray, "*n"], dtype=jnp.float32
) -> Float[Array, "*n"]:
    """Standard normal from 64 bits by the method of `normal`, to 9.2 sigma."""
    lower, tail, q = quantile_parts(high, low, dtype)
    if jnp.finfo(dtype).bits == 64:
        r = 0.425**2 - q * q
    else:
        distance = jnp.uint32(0x7FFFFFFF) - jnp.where(lower, high, ~high)
        r = _from_square(distance, dtype)
    return _normal(lower, tail, q, r)


def laplace_quantile(
    high: UInt32[Array | np.ndarray, "*n"], low: UInt32[Array | np.ndarray, "*n"], dtype=jnp.float32
) -> Float[Array, "*n"]:
    """Standard Laplace from 64 bits by the method of `laplace`, to 43."""
    return _laplace(*quantile_parts(high, low, dtype))


def _from_square(distance, dtype):
    """0.425^2 - (distance / 2^32)^2 from a 31-bit number."""
    # integers: compilers could fuse a product of floats with the difference
    high, low = distance >> 15, distance & jnp.uint32(0x7FFF)
    square = ((high * high) >> 2) + ((high * low) >> 16)
    return (jnp.int32(775778469) - square.astype(jnp.int32)).astype(dtype) * _INV_2_32


def _laplace(lower, tail, centre):
    magnitude = jnp.where(centre < 0.25, -jnp.log1p(-2 * centre), -jnp.log(2 * tail))
    return jnp.where(lower, -magnitude, magnitude)


def _normal(lower, tail, q, r):
    """Normal quantile from the tail probability, q = |u - 1/2| and r = 0.425^2 - q^2."""
    central = q * (
        0.8797666049018631
        + 1.3395736074921316
        / (
            (r + 0.7867666677659935)
            - 0.06476423756977692
            / ((r + 0.27682116536157003) - 0.00220939683638122 / (r + 0.10861954341734219))
        )
    )
    # the factor of the logarithm scales the argument of AS 241 into the continued fraction
    s = jnp.sqrt(-2.0055028851946837 * jnp.log(tail)) - 2.2658524634446944
    outer = (s + 2.187962358736141) - 3.2028332125628522 / (
        (s + 4.699986045389359) - 2.033668082884277 / (s + 3.982312197080436)
    )
    value = jnp.where(q <= 0.425, central, outer)
    return jnp.where(lower, -value, value)
