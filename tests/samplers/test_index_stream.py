"""Twenty thousand coded samples in one file."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import N, codes
from laws import keys as keys_of

import recjax
from recjax import read_indices, write_indices

P = recjax.Normal(0.0, 1.0)
PAIR = recjax.Normal(1.0, 0.25), P
KEYS = keys_of(N, 300)
KL, D_CS, D_INF = (
    float(bits(*PAIR))
    for bits in (recjax.kl_bits, recjax.channel_simulation_bits, recjax.renyi_inf_bits)
)


def zeta_bound(log_index, rate):
    """Bits of the zeta code with exponent a = 1 + 1 / (rate + 1) for E[log2 K] <= log_index: its normaliser is at most
    1 + 1 / (a - 1) = rate + 2."""
    return float(log_index + log_index / (rate + 1) + np.log2(rate + 2))


def tree_bound(rate):
    """The branches to the node cost D_KL + O(1), and its depth, of which the mean is 2.26 D_KL + 9.66 at most, a zeta
    code of the logarithm of that."""
    log_depth = float(np.log2(recjax.limits.branch_and_bound_steps_bound(rate)))
    return rate + 2 + zeta_bound(log_depth, log_depth)


def partition_bound(rate, bits):
    """He, Flamich and Hernández-Lobato, NeurIPS 2024: D + e + log2(D - log2 J + e + 1) + 4, e = log2(e) / e + 1."""
    excess = recjax.limits.a_star_log_index_bound_bits(0.0)
    return rate + excess + np.log2(rate - bits + excess + 1) + 4


# A coder, the rate that its code is tuned for, and a bound of the bits that a sample costs.
CODERS = [
    (recjax.RejectionSampler(), D_INF, zeta_bound(D_INF, D_INF)),
    (recjax.AStar(), KL, zeta_bound(recjax.limits.a_star_log_index_bound_bits(KL), KL)),
    (recjax.GPRS(), KL, float(recjax.limits.gprs_rate_bound_bits(KL))),
    (recjax.GreedyRejectionSampler(), KL, KL + np.log2(KL + 1) + 4),
    (recjax.ParallelGPRS(n_processes=4), KL, KL + np.log2(max(KL - 2, 0) + 1) + 8),
    (recjax.SpacePartitionedAStar(bits=(2,)), KL, partition_bound(KL, 2)),
    (recjax.SpacePartitionedGPRS(bits=(1,)), KL, partition_bound(KL, 1)),
    (recjax.BranchAndBoundGPRS(), KL, tree_bound(KL)),
    (recjax.BranchAndBoundGPRS(split="dyadic"), KL, tree_bound(KL)),
    (recjax.GreedyRejectionCoder(), KL, tree_bound(KL)),
    (recjax.GreedyRejectionCoder(split="dyadic"), KL, tree_bound(KL)),
    (recjax.AStarCoder(), KL, tree_bound(KL)),
    (recjax.AStarCoder(split="dyadic"), KL, tree_bound(KL)),
    (recjax.MinimalRandomCoder(budget_bits=5), KL, 5),
    (recjax.OrderedRandomCoder(budget_bits=5), KL, 5),
    (recjax.BudgetedAStar(budget_bits=5), KL, 5),
]


# Coders whose code differs from another's only by the numbers in it, and the other split of trees.
TWINS = (
    recjax.GPRS,
    recjax.GreedyRejectionSampler,
    recjax.SpacePartitionedGPRS,
    recjax.GreedyRejectionCoder,
    recjax.AStarCoder,
    recjax.BudgetedAStar,
    recjax.ParallelGPRS,
)


def is_twin(coder):
    return type(coder) in TWINS or coder == recjax.BranchAndBoundGPRS(
        split="dyadic", max_steps=1 << 14
    )


@pytest.mark.parametrize(
    "coder,rate,bound",
    [
        pytest.param(*row, id=repr(row[0]), marks=pytest.mark.slow if is_twin(row[0]) else ())
        for row in CODERS
    ],
)
def test_a_file_holds_what_codelength_says_and_less_than_is_proven(coder, rate, bound):
    code = codes(coder, "Normal", (1, 0.25), (0, 1))
    data = write_indices(coder, KEYS, code.index, rate_bits=rate)
    index = read_indices(coder, data, KEYS, rate_bits=rate)
    np.testing.assert_array_equal(index, code.index)
    decode = jax.jit(jax.vmap(coder.decode, (0, 0, None)))
    np.testing.assert_array_equal(decode(KEYS, jnp.asarray(index), P), code.sample)
    length = jax.jit(jax.vmap(lambda key, i: coder.codelength(key, i, P, rate_bits=rate)))
    bits = length(KEYS, jnp.asarray(code.index))
    tolerance = (
        0.05 if isinstance(coder, recjax.OrderedRandomCoder | recjax.BudgetedAStar) else 1e-3
    )
    assert abs(8 * len(data) - np.sum(bits, dtype=float)) < 64 + tolerance * N
    assert 8 * len(data) <= N * bound + 40


def test_damaged_files_are_refused_or_read():
    coder, keys = recjax.BranchAndBoundGPRS(), KEYS[:200]
    code = jax.tree.map(lambda x: x[:200], codes(coder, "Normal", (1, 0.25), (0, 1)))
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


def test_damaged_numbers_are_refused_or_read():
    coder, keys, rng = (
        recjax.ParallelGPRS(n_processes=3),
        np.zeros((200, 2), np.uint32),
        np.random.default_rng(0),
    )
    index = rng.geometric(0.1, 200).astype(np.uint32)
    data = write_indices(coder, keys, index, rate_bits=2.0)
    with pytest.raises(recjax.FormatError):
        read_indices(coder, data + b"x", keys, rate_bits=2.0)
    for place in range(len(data)):
        hostile = bytearray(data)
        hostile[place] ^= 0xAA
        try:
            other = read_indices(coder, bytes(hostile), keys, rate_bits=2.0)
        except recjax.FormatError:
            continue
        assert (other != index).any() and (other < coder.limit).all()


def test_coders_without_such_a_code_are_refused():
    with pytest.raises(ValueError, match="coder"):
        write_indices(
            recjax.MinimalRandomCoder(budget_bits=0), None, np.zeros(3, np.uint32), rate_bits=1.0
        )


@pytest.mark.parametrize(
    "coder", [recjax.GPRS(max_steps=100), recjax.BranchAndBoundGPRS()], ids=repr
)
def test_bad_indices_are_refused(coder):
    keys = jax.random.split(jax.random.key(0), 3)
    good = np.ones(3, np.int64)
    if hasattr(coder, "split"):
        good = np.pad(good[:, None], ((0, 0), (3, 0)))
    write_indices(coder, keys, good, rate_bits=3.0)
    bad = [
        good[:2],
        good + 0.5,
        -good,
        good << 32,
        good[..., None],
        *([0 * good] if good.ndim > 1 else [good + 99]),
    ]
    for index in bad:
        with pytest.raises(ValueError, match="index must"):
            write_indices(coder, keys, index, rate_bits=3.0)


def test_a_partition_of_many_bins():
    """More bins than the range coder can tell apart at once."""
    n, coder = 2000, recjax.SpacePartitionedAStar(bits=(10, 9, 0, 10))
    rng, keys = np.random.default_rng(6), jax.random.split(jax.random.key(6), n)
    p = recjax.Normal(jnp.zeros(4), jnp.ones(4))
    index = np.stack([rng.integers(0, 1 << 29, n), rng.geometric(0.3, n) - 1], axis=1)
    index[:2, 0] = 0, (1 << 29) - 1
    data = write_indices(coder, keys, index, rate_bits=26.0)
    np.testing.assert_array_equal(read_indices(coder, data, keys, rate_bits=26.0), index)
    length = jax.jit(jax.vmap(lambda i: coder.codelength(None, i, p, rate_bits=26.0)))
    bits = length(jnp.asarray(index, jnp.uint32))
    assert abs(8 * len(data) - np.sum(bits, dtype=float)) < 64 + 1e-3 * n
