"""Paths in binary trees as one range-coded byte string. Frozen: index streams, in no .rec file.

A path leads from the root to a node of depth `D`, 1 at the root, by `D - 1` branches. `D - 1` is
written as an index of the Zipf code of support 2^7 (`recjax.bits.zipf`). Then come, level by level,
the branches of all paths that reach beyond this level. The probability that a branch goes left is
an integer frequency out of 2^24; the decoder computes it from the path so far.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from recjax.bits import stream
from recjax.bits.range_coder import put_indices, take_indices
from recjax.bits.zipf import PRECISION, codelength_bits
from recjax.errors import FormatError

LOG2_DEPTHS = 7
MAX_DEPTH = 2**LOG2_DEPTHS


def encode_paths(
    depths: Int[np.ndarray, " n"],
    branches: Bool[np.ndarray, "n L"],
    left_frequencies: Int[np.ndarray, "n L"],
    a: int,
) -> bytes:
    """Range-codes paths.

    The bytes cost the sum of `path_lengths` and less than 8 bits more.

    Args:
        depths: number of nodes on each path, the root included, 1 .. 128 and at most `L + 1`.
        branches: True where a path goes right at a level; ignored beyond the path's end.
        left_frequencies: probability that the path goes left at the level, in units of 2^-24;
            clipped to 1 .. 2^24 - 1, so that both branches can be coded; ignored beyond the path's
            end.
        a: exponent of the Zipf code of the depths, in units of 1/64, 0 .. 255.

    Raises:
        ValueError: a shape or dtype is wrong, or a depth or the exponent outside its range.

    >>> branches = np.array([[0, 0], [1, 0]], bool)
    >>> data = encode_paths(np.array([1, 3]), branches, np.full((2, 2), 2**23), 64)
    >>> data.hex()
    '0f'
    >>> decode_paths(data, 2, 64, lambda level, so_far: np.full(2, 2**23))
    (array([1, 3]), array([[False, False], [ True, False]]))
    """
    depths, branches, left = _checked(depths, branches, left_frequencies)
    encoder = stream.queue.RangeEncoder()
    put_indices(encoder, depths - 1, np.full(depths.shape, LOG2_DEPTHS), a)
    put_branches(encoder, depths, branches, left)
    return stream.shortest(encoder)


def put_branches(
    encoder,
    depths: Int[np.ndarray, " n"],
    branches: Bool[np.ndarray, "n L"],
    left_frequencies: Int[np.ndarray, "n L"],
) -> None:
    """Encodes the branches of paths, whose depths are known, as a part of a longer stream.

    Arguments and errors are those of `encode_paths`.
    """
    depths, branches, left = _checked(depths, branches, left_frequencies)
    for level in range(branches.shape[1]):
        goes_on = depths - 1 > level  # the other paths have ended above this level
        if goes_on.any():
            encoder.encode(
                branches[goes_on, level].astype(np.int32),
                stream.PAIRS,
                _weights(left[goes_on, level]),
            )


def decode_paths(
    data: bytes,
    n: int,
    a: int,
    next_frequencies: Callable[[int, Bool[np.ndarray, "n level"]], Int[np.ndarray, " n"]],
) -> tuple[Int[np.ndarray, " n"], Bool[np.ndarray, "n L"]]:
    """Decodes the byte string of `encode_paths`.

    Args:
        data: the byte string, exactly.
        n: number of paths.
        a: exponent of the Zipf code of the depths, as given to the encoder.
        next_frequencies: function of a level and of the branches at the levels before it (False
            beyond a path's end) that returns the encoder's `left_frequencies` at the level, and any
            integer for a path that has ended. It is called with each level from 0 to that of the
            deepest path, at most 126.

    Returns:
        int64 depths, and branches up to the end of the deepest path: `L` is the largest depth
        minus 1, and branches beyond a path's end are False.

    Raises:
        FormatError: no list of `n` paths has the code `data`.
        ValueError: `next_frequencies` returns anything but `n` integers, or the exponent is
            outside its range.
    """
    with stream.refusing("path stream"):
        decoder = stream.reader(data)
        depths = 1 + take_indices(decoder, np.full(n, LOG2_DEPTHS), a)
        branches, left = take_branches(decoder, depths, next_frequencies)
    # one byte string per list of paths: any other form is damage
    if encode_paths(depths, branches, left, a) != data:
        raise FormatError("the path stream is damaged or has bytes left over")
    return depths, branches


def take_branches(
    decoder,
    depths: Int[np.ndarray, " n"],
    next_frequencies: Callable[[int, Bool[np.ndarray, "n level"]], Int[np.ndarray, " n"]],
) -> tuple[Bool[np.ndarray, "n L"], Int[np.ndarray, "n L"]]:
    """Decodes the branches that `put_branches` encoded.

    Args:
        decoder: the range decoder of the stream.
        depths: number of nodes on each path.
        next_frequencies: as for `decode_paths`.

    Returns:
        The branches, as `decode_paths` returns them, and the frequencies that they were coded with.

    Raises:
        AssertionError: the decoder is at a point outside every symbol's interval.
        ValueError: as for `decode_paths`.
    """
    n, levels = len(depths), int(depths.max(initial=1)) - 1
    branches, left = np.zeros((n, levels), bool), np.zeros((n, levels), np.int64)
    for level in range(levels):
        frequencies = np.asarray(next_frequencies(level, branches[:, :level]))
        if frequencies.shape != (n,) or not np.issubdtype(frequencies.dtype, np.integer):
            raise ValueError(
                f"next_frequencies must return {n} integers, "
                f"got {frequencies.dtype}{list(frequencies.shape)}"
            )
        goes_on = depths - 1 > level  # the other paths have ended above this level
        left[:, level] = _codable(frequencies)
        branches[goes_on, level] = decoder.decode(stream.PAIRS, _weights(left[goes_on, level]))
    return branches, left


def path_lengths(
    depths: Int[np.ndarray, " n"],
    branches: Bool[np.ndarray, "n L"],
    left_frequencies: Int[np.ndarray, "n L"],
    a: int,
) -> Float[np.ndarray, " n"]:
    """Code length of each path in the stream of `encode_paths`, in bits.

    Arguments and errors are those of `encode_paths`.

    >>> branches, left_frequencies = np.array([[True, False]]), np.array([[2**22, 2**22]])
    >>> path_lengths(np.array([3]), branches, left_frequencies, 0).round(3)  # 7 bits for D
    array([9.415])
    """
    depths, branches, left = _checked(depths, branches, left_frequencies)
    bits = PRECISION - np.log2(np.where(branches, 2**PRECISION - left, left))
    on_path = np.arange(branches.shape[1]) < depths[:, None] - 1
    return codelength_bits(depths - 1, LOG2_DEPTHS, a) + np.sum(bits, axis=1, where=on_path)


def _checked(depths, branches, left_frequencies):
    depths, branches, left = np.asarray(depths), np.asarray(branches), np.asarray(left_frequencies)
    if (
        depths.ndim != 1
        or branches.ndim != 2
        or len(branches) != len(depths)
        or left.shape != branches.shape
    ):
        raise ValueError(
            f"depths, branches and left_frequencies must have the shapes n, (n, L) and (n, L), "
            f"got {depths.shape}, {branches.shape} and {left.shape}"
        )
    if branches.dtype != bool:
        raise ValueError(f"branches must be booleans, got {branches.dtype}")
    if not (np.issubdtype(depths.dtype, np.integer) and np.issubdtype(left.dtype, np.integer)):
        raise ValueError(
            f"depths and left_frequencies must be integers, got {depths.dtype} and {left.dtype}"
        )
    deepest = min(MAX_DEPTH, branches.shape[1] + 1)
    if np.any((depths < 1) | (depths > deepest)):
        raise ValueError(f"depths must be in 1..{deepest}")
    return depths.astype(np.int64), branches, _codable(left)


def _codable(left):
    """Clips frequencies so that both branches can be coded."""
    return np.clip(left, 1, 2**PRECISION - 1).astype(np.int64)


def _weights(left):
    return stream.weights(np.stack([left, 2**PRECISION - left], -1))
