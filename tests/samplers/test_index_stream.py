"""Ten thousand coded samples in one file."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recjax
from recjax.samplers import read_indices, write_indices

N = 10_000
CODERS = [
    recjax.RejectionSampler(),
    recjax.AStar(),
    recjax.GPRS(),
    recjax.BranchAndBoundGPRS(),
    recjax.BranchAndBoundGPRS(split="dyadic"),
    recjax.GreedyRejectionCoder(),
    recjax.GreedyRejectionCoder(split="dyadic"),
    recjax.AStarCoder(),
    recjax.AStarCoder(split="dyadic"),
]


@pytest.mark.parametrize("coder", CODERS, ids=repr)
def test_a_file_holds_what_codelength_says(coder):
    keys, p = jax.random.split(jax.random.key(4), N), recjax.Normal(0.0, 1.0)
    code = coder.encode_batch(keys, recjax.Normal(jnp.full(N, 1.0), jnp.full(N, 0.25)), p)
    data = write_indices(coder, keys, code.index, rate_bits=2.0)
    index = read_indices(coder, data, keys, rate_bits=2.0)
    np.testing.assert_array_equal(index, code.index)
    np.testing.assert_array_equal(jax.vmap(coder.decode, (0, 0, None))(keys, jnp.asarray(index), p), code.sample)
    bits = jax.vmap(lambda key, i: coder.codelength(key, i, p, rate_bits=2.0))(keys, code.index)
    assert abs(8 * len(data) - np.sum(bits, dtype=float)) < 64 + 1e-3 * N
    # I + log2 (I + 1) + 4 bits, I = 2.045
    assert 8 * len(data) / N < 2.045 + np.log2(3.045) + 4 or isinstance(coder, recjax.RejectionSampler)


def test_damaged_files_are_refused_or_read():
    coder, keys = CODERS[3], jax.random.split(jax.random.key(5), 200)
    code = coder.encode_batch(keys, recjax.Normal(jnp.full(200, 1.0), jnp.full(200, 0.25)), recjax.Normal(0.0, 1.0))
    data = write_indices(coder, keys, code.index, rate_bits=2.0)
    with pytest.raises(recjax.FormatError):
        read_indices(coder, data + b"x", keys, rate_bits=2.0)
    for place in range(0, len(data), 7):
        hostile = bytearray(data)
        hostile[place] ^= 0x55
        try:
            index = read_indices(coder, bytes(hostile), keys, rate_bits=2.0)
        except recjax.FormatError:
            continue
        assert index.shape == (200, 4) and (index != code.index).any()


def test_coders_without_such_a_code_are_refused():
    with pytest.raises(ValueError, match="coder"):
        write_indices(recjax.MinimalRandomCoder(), None, np.zeros(3, np.uint32), rate_bits=1.0)
