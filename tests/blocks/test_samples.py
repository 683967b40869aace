"""Samples of many blocks by one program: those of a single call, in order, without what is beyond a block's width."""

import jax
import numpy as np
import pytest

from recjax.blocks.ordered_random import BlockCoder
from recjax.blocks.samples import block_samples
from recjax.blocks.trellis import TrellisCoder

KEY = jax.random.key_data(jax.random.key(3))


@pytest.mark.parametrize(
    "coder", [BlockCoder(budget=8, extra_bits=1), TrellisCoder(budget=8)], ids=["block", "trellis"]
)
@pytest.mark.parametrize(
    ("count", "widest"),
    [
        (0, 0),
        (257, 65),
        (3, 300),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in [(1, 64), (255, 9), (256, 5)]),
    ],
)
def test_samples_are_those_of_one_call(coder, count, widest):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 1 << 20, (count, 2), np.uint32)
    numbers = [
        rng.integers(0, 256, count, np.int32) for _ in range(1 + isinstance(coder, TrellisCoder))
    ]
    widths = rng.integers(0, widest + 1, count, np.int32)
    widths[-1:] = widest
    samples = block_samples(coder, KEY, ids, *numbers, widths)
    assert samples.shape == (widths.sum(),)
    if count:
        whole = np.asarray(coder.decode(KEY, ids, *numbers, widths, widest))
        np.testing.assert_array_equal(samples, whole[np.arange(widest) < widths[:, None]])
