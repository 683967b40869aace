"""The shared random stream that encoder and decoder both regenerate.

Values of ``jax.random`` may change between JAX releases, files must not. Everything a decoder has to
reproduce is therefore derived here, from the Threefry-2x32-20 block cipher in counter mode (Salmon et
al., *Parallel random numbers: as easy as 1, 2, 3*, SC 2011): coordinate ``j`` of candidate ``i`` is a
pure function of (scheme, key, stream, ``i``, ``j``), so any candidate costs O(d) and needs no state.

A scheme number, once released, is frozen: later releases decode every earlier file.
"""

import enum

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt32

from recjax.words import Word

SCHEME = 1
"""Version of the mapping from keys to candidates, stored in every file."""

_INV_2_32 = 2.0**-32
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


class Stream(enum.IntEnum):
    """Independent streams of one key; the numbers are part of the scheme."""

    CANDIDATE = 0
    ARRIVAL = 1
    ACCEPT = 2
    SIGN = 3
    BRANCH = 4


def threefry2x32(
    words: UInt32[Array, "2"] | Word, hi: UInt32[Array, "..."], lo: UInt32[Array, "..."]
) -> tuple[UInt32[Array, "..."], UInt32[Array, "..."]]:
    """Encrypts the counters ``(hi, lo)`` with the 64-bit key ``words``.

    Written out, so that XLA fuses it with its consumers and files do not depend on JAX's own generator.

    >>> import jax.numpy as jnp
    >>> zero = jnp.zeros((), jnp.uint32)
    >>> [hex(int(w)) for w in threefry2x32(jnp.zeros(2, jnp.uint32), zero, zero)]
    ['0x6b200159', '0x99ba4efe']
    """
    keys = (words[0], words[1], words[0] ^ words[1] ^ jnp.uint32(0x1BD11BDA))
    hi, lo = jnp.broadcast_arrays(jnp.asarray(hi, jnp.uint32), jnp.asarray(lo, jnp.uint32))
    left, right = hi + keys[0], lo + keys[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            left = left + right
            right = left ^ ((right << rotation) | (right >> (32 - rotation)))
        left = left + keys[(group + 1) % 3]
        right = right + (keys[(group + 2) % 3] + jnp.uint32(group + 1))
    return left, right


def key_words(key: Array) -> UInt32[Array, "2"]:
    """The 64 bits of a typed JAX key, or ``uint32[2]`` itself, that seed the shared stream.

    Keys of other generators (``rbg``) carry more words, which are chained through the cipher.
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


def stream_key(key: Array, stream: Stream | int, index: int | Array = 0) -> UInt32[Array, "2"]:
    """The key of one stream: a function of (scheme, ``key``, ``stream``, ``index``).

    ``index`` separates what shares a stream (tables, blocks, processes, tree nodes).
    """
    domain = jnp.uint32((SCHEME << 16) | int(stream))
    return jnp.stack(threefry2x32(key_words(key), domain, jnp.asarray(index, jnp.uint32)))


def coordinate_bits(
    words: UInt32[Array, "2"], candidate: UInt32[Array, "..."], d: int, start: int = 0
) -> UInt32[Array, "... d"]:
    """32 random bits for each of the coordinates ``start .. start + d - 1`` of each candidate.

    Narrower candidates are the leading coordinates of wider ones.
    """
    if d == 0:
        return jnp.zeros((*jnp.shape(candidate), 0), jnp.uint32)
    first, last = start // 2, (start + d - 1) // 2
    pair = jnp.arange(first, last + 1, dtype=jnp.uint32)
    even, odd = threefry2x32(words, jnp.asarray(candidate, jnp.uint32)[..., None], pair)
    both = jnp.stack([even, odd], axis=-1).reshape(*even.shape[:-1], 2 * pair.size)
    return both[..., start - 2 * first : start - 2 * first + d]


def uniform(bits: UInt32[Array, "..."], dtype=jnp.float32) -> Float[Array, "..."]:
    """Uniform on the open interval (0, 1): the centre of one of 2^23 cells (2^32 in float64)."""
    if jnp.finfo(dtype).bits == 64:
        return (bits.astype(dtype) + 0.5) * _INV_2_32
    return ((bits >> 9).astype(jnp.int32).astype(dtype) + 0.5) * 2.0**-23


def sign_and_tail(
    bits: UInt32[Array, "..."], dtype=jnp.float32
) -> tuple[Bool[Array, "..."], Float[Array, "..."]]:
    """Whether a uniform variable lies in its lower half, and its distance (m + 1/2) / 2^32 from the nearer end."""
    magnitude = (bits & jnp.uint32(0x7FFFFFFF)).astype(jnp.int32).astype(dtype)
    return (bits >> 31) == 0, (magnitude + 0.5) * _INV_2_32


def bits_at_quantile(quantile: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """The random bits whose ``sign_and_tail`` lie at quantile / 2^32: in the upper half they count from its end.

    >>> import jax.numpy as jnp
    >>> [f"{float(x):.2f}" for x in normal(bits_at_quantile(jnp.uint32([1 << 30, 3 << 30])))]
    ['-0.67', '0.67']
    """
    return jnp.where(quantile >> 31 == 0, quantile, quantile ^ jnp.uint32(0x7FFFFFFF))


def _from_median(bits, dtype):
    """The distance of that variable from 1/2, taken from the integer so that small values keep their precision."""
    magnitude = (bits & jnp.uint32(0x7FFFFFFF)).astype(jnp.int32)
    return ((jnp.int32(0x7FFFFFFF) - magnitude).astype(dtype) + 0.5) * _INV_2_32


def exponential(bits: UInt32[Array, "..."], dtype=jnp.float32) -> Float[Array, "..."]:
    """Unit exponential, with full relative accuracy in both tails (2^-33 to 22.9)."""
    lower, tail = sign_and_tail(bits, dtype)
    return jnp.where(lower, -jnp.log(tail), -jnp.log1p(-tail))


def laplace(bits: UInt32[Array, "..."], dtype=jnp.float32) -> Float[Array, "..."]:
    """Standard Laplace (scale 1), accurate relative to its size at the median and in the tails (to 22.2)."""
    lower, tail = sign_and_tail(bits, dtype)
    return _laplace(lower, tail, _from_median(bits, dtype))


def normal(bits: UInt32[Array, "..."], dtype=jnp.float32) -> Float[Array, "..."]:
    """Standard normal by the inverse distribution function: 4e-7 relative error, out to 6.3 sigma.

    The rational approximations PPND7 of Wichura, *Algorithm AS 241*, Applied Statistics 37 (1988), as continued
    fractions: no product meets a sum, which compilers may or may not fuse into one rounding, so that every kernel
    computes the same bits. float64 evaluates the same approximations, both agree to about 4e-7 relative.

    >>> import jax.numpy as jnp
    >>> float(normal(jnp.uint32(0xFFFFFFFF)).round(4))
    0.0
    """
    lower, tail = sign_and_tail(bits, dtype)
    # r = 0.425^2 - q^2 in integers: the square of a 31-bit number, of which the upper half counts
    distance = jnp.uint32(0x7FFFFFFF) - (bits & jnp.uint32(0x7FFFFFFF))
    return _normal(lower, tail, _from_median(bits, dtype), _from_square(distance, dtype))


def quantile_parts(high: UInt32[Array, "..."], low: UInt32[Array, "..."], dtype):
    """Of a uniform variable of 64 bits: whether it lies in the lower half, its distances from the nearer end and from
    the median, each with full relative precision."""
    below = (high >> 31) == 0
    end, end_low = jnp.where(below, high, ~high), jnp.where(below, low, ~low)
    centre, centre_low = jnp.uint32(0x7FFFFFFF) - end, ~end_low

    def value(a, b):
        return (
            a.astype(jnp.int32).astype(dtype) * _INV_2_32
            + ((b >> 1).astype(jnp.int32).astype(dtype) + 0.5) * 2.0**-63
        )

    return below, value(end, end_low), value(centre, centre_low)


def normal_quantile(
    high: UInt32[Array, "..."], low: UInt32[Array, "..."], dtype=jnp.float32
) -> Float[Array, "..."]:
    """Standard normal from 64 bits, as ``normal``, out to 9.2 sigma."""
    lower, tail, q = quantile_parts(high, low, dtype)
    if jnp.finfo(dtype).bits == 64:
        r = 0.425**2 - q * q
    else:
        distance = jnp.uint32(0x7FFFFFFF) - jnp.where(lower, high, ~high)
        r = _from_square(distance, dtype)
    return _normal(lower, tail, q, r)


def laplace_quantile(
    high: UInt32[Array, "..."], low: UInt32[Array, "..."], dtype=jnp.float32
) -> Float[Array, "..."]:
    """Standard Laplace from 64 bits, as ``laplace``, out to 43."""
    return _laplace(*quantile_parts(high, low, dtype))


def _from_square(distance, dtype):
    """0.425^2 - (distance / 2^32)^2 from a 31-bit number."""
    high, low = distance >> 15, distance & jnp.uint32(0x7FFF)
    square = ((high * high) >> 2) + ((high * low) >> 16)
    return (jnp.int32(775778469) - square.astype(jnp.int32)).astype(dtype) * _INV_2_32


def _laplace(lower, tail, centre):
    magnitude = jnp.where(centre < 0.25, -jnp.log1p(-2 * centre), -jnp.log(2 * tail))
    return jnp.where(lower, -magnitude, magnitude)


def _normal(lower, tail, q, r):
    central = q * (
        0.8797666049018631
        + 1.3395736074921316
        / (
            (r + 0.7867666677659935)
            - 0.06476423756977692
            / ((r + 0.27682116536157003) - 0.00220939683638122 / (r + 0.10861954341734219))
        )
    )
    s = jnp.sqrt(-2.0055028851946837 * jnp.log(tail)) - 2.2658524634446944
    outer = (s + 2.187962358736141) - 3.2028332125628522 / (
        (s + 4.699986045389359) - 2.033668082884277 / (s + 3.982312197080436)
    )
    value = jnp.where(q <= 0.425, central, outer)
    return jnp.where(lower, -value, value)
