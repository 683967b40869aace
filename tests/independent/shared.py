"""The random numbers that sender and receiver share, and the samples of blocks."""

from statistics import NormalDist

import numpy as np

from independent.container import File, Prior

_ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)


def threefry(key, hi, lo) -> tuple[np.ndarray, np.ndarray]:
    """Threefry-2x32 with 20 rounds; numbers below 2^32 or arrays of them."""
    first, second, x, y = (
        np.asarray(word, np.uint32) for word in np.broadcast_arrays(*key, hi, lo)
    )
    keys = first, second, first ^ second ^ np.uint32(0x1BD11BDA)
    with np.errstate(over="ignore"):
        x, y = x + first, y + second
        for group in range(5):
            for rotation in _ROTATIONS[group % 2]:
                x = x + y
                y = (y << np.uint32(rotation) | y >> np.uint32(32 - rotation)) ^ x
            x, y = x + keys[(group + 1) % 3], y + keys[(group + 2) % 3] + np.uint32(group + 1)
    return x, y


def normal(word: int) -> float:
    """By AS 241 to 16 digits."""
    value = NormalDist().inv_cdf((word % 2**31 + 0.5) / 2**32)
    return value if word < 2**31 else -value


class Shared:
    """The randomness of a file."""

    def __init__(self, file: File, prior: Prior):
        self.file, self.budget = file, prior.about["budget"]
        self.key = int.from_bytes(prior.digest[:4], "big"), int.from_bytes(prior.digest[4:8], "big")

    def stream_key(self, stream: int, number=0) -> tuple[np.ndarray, np.ndarray]:
        return threefry(self.key, 65536 * self.file.scheme + stream, number)

    def words(self, stream: int, candidate: int, n: int) -> np.ndarray:
        pairs = threefry(self.stream_key(stream), candidate, np.arange(n + 1 >> 1))
        return np.stack(pairs, -1).ravel()[:n]

    def sample(self, index: int, before: int, slot: int, block: int, n: int) -> np.ndarray:
        """The ``n`` latents of a block; ``before`` is the index of the one before in its chain."""
        if self.file.version == 1:
            return self.arranged(index, slot, block, n)
        b, half = self.budget, n // 2
        register, low = before << b | index, (1 << b + self.file.extra_bits) - 1
        first = self.arranged(register >> b - b // 2 & low, slot, 2 * block, half)
        return np.concatenate([first, self.arranged(register & low, slot, 2 * block + 1, n - half)])

    def arranged(self, candidate: int, slot: int, number: int, n: int) -> np.ndarray:
        """``n`` coordinates of a candidate in an order and with signs of their own."""
        pairs = threefry(self.stream_key(3, np.arange(n + 1 >> 1)), slot, number)
        words = np.stack(pairs, -1).ravel()[:n]
        ranks = np.argsort(np.argsort(words >> 1, kind="stable"))
        coordinates = np.array([normal(word) for word in self.words(0, candidate, n).tolist()])
        return coordinates[ranks] * np.where(words & 1, -1.0, 1.0)
