"""64-bit arithmetic on pairs of words, against Python's integers."""

import jax
import jax.numpy as jnp
import numpy as np

from recjax import words

rng = np.random.default_rng(0)
EDGES = [0, 1, 2**16 - 1, 2**16, 2**32 - 1, 2**32, 2**63, 2**64 - 2**32, 2**64 - 1]
DRAWN = [int(x) for x in rng.integers(0, 2**64, 200, np.uint64)]
# every edge beside every other, and equal high words beside each other
A = [a for a in EDGES for _ in EDGES] + DRAWN + DRAWN
B = EDGES * len(EDGES) + DRAWN[::-1] + [x ^ int(y) for x, y in zip(DRAWN, rng.integers(0, 4, 200))]


def pair(numbers):
    return tuple(
        jnp.asarray(np.array(part, np.uint32))
        for part in ([x >> 32 for x in numbers], [x & 0xFFFFFFFF for x in numbers])
    )


def number(word):
    high, low = (np.asarray(part).tolist() for part in word)
    return [(a << 32) + b for a, b in zip(high, low, strict=True)]


def test_arithmetic():
    a, b = pair(A), pair(B)

    @jax.jit
    def everything(a, b):
        return (
            words.add(a, b),
            words.subtract(a, b),
            words.halved(a),
            words.multiply_high(a, b),
            words.product(a[1], b[1]),
        )

    results = everything(a, b)
    expected = (
        lambda x, y: (x + y) % 2**64,
        lambda x, y: (x - y) % 2**64,
        lambda x, y: x // 2,
        lambda x, y: x * y >> 64,
        lambda x, y: (x % 2**32) * (y % 2**32),
    )
    for result, of in zip(results, expected, strict=True):
        assert number(result) == list(map(of, A, B))


def test_order_and_choice():
    a, b = pair(A), pair(B)
    below = jax.jit(words.less)(a, b)
    assert below.tolist() == [x < y for x, y in zip(A, B, strict=True)]
    assert number(words.select(below, a, b)) == list(map(min, A, B))


def test_fractions():
    np.testing.assert_allclose(
        jax.jit(lambda a: words.fraction(a, jnp.float32))(pair(A)),
        np.array(A, float) / 2.0**64,
        rtol=1.3e-7,
    )
