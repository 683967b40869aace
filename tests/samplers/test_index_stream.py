"""Strings of indices: as long as codelength says, read back, golden, read with NumPy alone, refused if damaged."""

import binascii
import dataclasses
import functools
import itertools
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from independent import strings
from laws import N, codes
from laws import keys as keys_of

import recjax
from recjax import FormatError, HybridIndex, Normal, VectorCoder, read_indices, write_indices
from recjax.bits import zipf
from recjax.samplers import BudgetCoder
from recjax.samplers._search.vectors import plan_for
from recjax.samplers._streams import index_stream
from recjax.samplers._streams.coder_numbers import CoderNumber, number_of

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
    assert abs(8 * len(data) - lengths(coder, KEYS, code.index, P, rate)) < 64 + slack(coder, N)
    assert 8 * len(data) <= N * bound + 40
    unrated = write_indices(coder, KEYS, code.index)
    np.testing.assert_array_equal(read_indices(coder, unrated, KEYS), code.index)
    assert abs(8 * len(unrated) - lengths(coder, KEYS, code.index, P, None)) < 64 + 1e-3 * N


def lengths(coder, keys, index, proposal, rate):
    """Sum of the lengths of all indices."""
    length = jax.jit(jax.vmap(lambda key, i: coder.codelength(key, i, proposal, rate_bits=rate)))
    return np.sum(length(keys, jax.tree.map(jnp.asarray, index)), dtype=float)


def slack(coder, n):
    """Bits that a string of n indices may differ by, beside a constant."""
    tuned = isinstance(coder, recjax.OrderedRandomCoder | recjax.BudgetedAStar)
    return n * (0.05 if tuned else 1e-3)


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


# Short strings of every coder.


def channel():
    inputs = Normal(np.float32([-1, 0, 1]), np.full(3, 0.5, np.float32))
    return recjax.Channel([1, 2, 1], inputs, P)


PLANE = Normal(np.zeros(2, np.float32), np.ones(2, np.float32))
CASES = {
    "RejectionSampler": (recjax.RejectionSampler(), P),
    "GreedyRejectionSampler": (recjax.GreedyRejectionSampler(), P),
    "GreedyRejectionCoder sample": (recjax.GreedyRejectionCoder(), P),
    "GreedyRejectionCoder dyadic": (recjax.GreedyRejectionCoder(split="dyadic"), P),
    "AStar": (recjax.AStar(), P),
    "AStarCoder sample": (recjax.AStarCoder(), P),
    "AStarCoder dyadic": (recjax.AStarCoder(split="dyadic"), P),
    "GPRS": (recjax.GPRS(), P),
    "ParallelGPRS 4": (recjax.ParallelGPRS(n_processes=4), P),
    "ParallelGPRS 3": (recjax.ParallelGPRS(n_processes=3), P),
    "BranchAndBoundGPRS sample": (recjax.BranchAndBoundGPRS(), P),
    "BranchAndBoundGPRS dyadic": (recjax.BranchAndBoundGPRS(split="dyadic"), P),
    "MinimalRandomCoder 0": (recjax.MinimalRandomCoder(budget_bits=0), P),
    "MinimalRandomCoder 5": (recjax.MinimalRandomCoder(budget_bits=5), P),
    "MinimalRandomCoder 27": (recjax.MinimalRandomCoder(budget_bits=27), P),
    "OrderedRandomCoder 5": (recjax.OrderedRandomCoder(budget_bits=5), P),
    "OrderedRandomCoder 26": (recjax.OrderedRandomCoder(budget_bits=26), P),
    "BudgetedAStar 10": (recjax.BudgetedAStar(budget_bits=10), P),
    "DitheredQuantizer": (recjax.DitheredQuantizer(step=0.5), PLANE),
    "SpacePartitionedAStar 2": (recjax.SpacePartitionedAStar(bits=(2,)), P),
    "SpacePartitionedAStar 10 9": (recjax.SpacePartitionedAStar(bits=(10, 9)), PLANE),
    "SpacePartitionedGPRS 1": (recjax.SpacePartitionedGPRS(bits=(1,)), P),
    "PoissonPrivate": (recjax.PoissonPrivate(), P),
    "HybridCoder 0": (recjax.HybridCoder(cell_bits=0), P),
    "HybridCoder 4": (recjax.HybridCoder(cell_bits=4), PLANE),
    "RingToss": (recjax.RingToss(), channel()),
}
RATE = 5.25
WIDE = Normal(np.zeros(300, np.float32), 1.0)
VECTORS = VectorCoder(block_bits=10, extra_bits=4)
# calls of many blocks, of one, of none to choose from, and of blocks in a row
KLS = [40.0, 3.5, 0, np.linspace(0, 0.4, 300)]
GOLDEN = json.loads((Path(__file__).parent / "golden_strings.json").read_text())
every = pytest.mark.parametrize("name", CASES)
rated = pytest.mark.parametrize("rate", [RATE, None])


def key_words(n):
    """Keys as their words, independent of JAX's generator."""
    return np.arange(2 * n, dtype=np.uint32).reshape(n, 2) * np.uint32(0x9E3779B9)


def golden_index(name):
    """Indices of a coder in the golden strings."""
    stored = GOLDEN[name]["index"]
    if isinstance(stored, dict):
        return HybridIndex(*(np.array(stored[field], np.uint32) for field in ("cell", "rank")))
    if name == "VectorCoder":
        return [np.array(blocks, np.uint32) for blocks in stored]
    return np.array(stored, np.int32 if name.startswith("Dithered") else np.uint32)


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert np.asarray(x).dtype == np.asarray(y).dtype
        np.testing.assert_array_equal(x, y)


@rated
@every
def test_golden_strings(name, rate):
    """Strings of an earlier version: later releases must read them."""
    coder, proposal = CASES[name]
    index, data = (
        golden_index(name),
        bytes.fromhex(GOLDEN[name]["unrated" if rate is None else "rated"]),
    )
    keys = key_words(len(jax.tree.leaves(index)[-1]))
    assert_same(read_indices(coder, data, keys, rate_bits=rate, proposal=proposal), index)
    assert write_indices(coder, keys, index, rate_bits=rate, proposal=proposal) == data
    bits = lengths(coder, jnp.asarray(keys), index, proposal, rate)
    assert within_a_byte(8 * len(data) - 32 - bits, slack(coder, len(keys)))


def within_a_byte(over, slack):
    # a short end that happens to lie in the last interval saves bits as well
    return -8 - slack < over < 8.1 + slack


@pytest.mark.parametrize("method", ["ordered", "trellis"])
def test_golden_strings_of_vectors(method):
    coder = dataclasses.replace(VECTORS, method=method)
    data = bytes.fromhex(GOLDEN["VectorCoder"]["rated" if method == "ordered" else "trellis"])
    index = golden_index("VectorCoder")
    if method == "trellis":
        index = [blocks & 63 for blocks in index]
    assert_same(read_indices(coder, data, None, kl_bits=KLS, proposal=WIDE), index)
    assert write_indices(coder, key_words(1)[0], index, kl_bits=KLS, proposal=WIDE) == data
    bits = sum(float(coder.codelength(None, i, WIDE, kl_bits=kl)) for i, kl in zip(index, KLS))
    assert within_a_byte(8 * len(data) - 32 - bits, 0)
    if method == "trellis":
        assert bits == 7 * 6 + 4 + 0 + len(index[3]) * 6
    sent = strings.read_vectors(data, KLS, 300, block_bits=10, extra_bits=4, method=method)
    assert sent == [blocks.tolist() for blocks in index]


def test_strings_of_other_layouts_are_refused():
    profile = np.linspace(0, 0.4, 300)
    sent = {"kl_bits": [profile], "proposal": WIDE}
    plan = plan_for(VECTORS, profile, (300,))
    data = write_indices(VECTORS, None, [np.zeros(plan.indices, int)], **sent)
    read_indices(VECTORS, data, None, **sent)
    for coder, change in [
        (VECTORS, {"kl_bits": [profile[::-1]]}),
        (VECTORS, {"kl_bits": [np.roll(profile, 9)]}),
        (VECTORS, {"kl_bits": [float(profile.sum())]}),
        (VECTORS, {"proposal": Normal(np.zeros(299), 1.0), "kl_bits": [profile[1:]]}),
        (dataclasses.replace(VECTORS, block_bits=11, extra_bits=5), {}),
    ]:
        with pytest.raises(FormatError, match="its checksum is wrong"):
            read_indices(coder, data, None, **{**sent, **change})
    trellis = dataclasses.replace(VECTORS, method="trellis")
    data = write_indices(trellis, None, [np.zeros(5, int)], kl_bits=[29.0], proposal=WIDE)
    wider = dataclasses.replace(trellis, block_bits=11, extra_bits=5)
    with pytest.raises(FormatError, match="its checksum is wrong"):
        read_indices(wider, data, None, kl_bits=[29.0], proposal=WIDE)


@rated
def test_a_receiver_with_numpy_alone_reads_strings(rate):
    def model(known):
        return strings.DELTA if rate is None else known

    def opened(name):
        index = golden_index(name)
        return bytes.fromhex(GOLDEN[name]["unrated" if rate is None else "rated"]), index

    read = 0
    for name, (coder, _) in CASES.items():
        data, index = opened(name)
        number = data[1]
        if number in (1, 2, 4, 6, 15):
            found = strings.read_numbers(data, number, len(index), model(strings.zeta(RATE)))
        elif number in (9, 10, 11):
            b = coder.budget_bits
            known = model(strings.budget(b, int(256 * RATE)))
            known = strings.uniform(b) if number == 9 else known
            found = strings.read_numbers(data, number, len(index), known)
        elif number in (7, 13, 14):
            lists = coder.n_processes if number == 7 else 1 << sum(coder.bits)
            known = model(strings.zeta(RATE - math.log2(lists)))
            found = strings.read_lists(data, number, len(index), known, lists)
            if number == 7:
                found = [k * lists + which for which, k in found]
        elif number in (3, 5, 8):
            dyadic, known = coder.split == "dyadic", model(strings.depths(RATE))
            found = strings.read_paths(data, number, key_words(len(index)), known, dyadic)
            found = [[i >> shift & 0xFFFFFFFF for shift in (96, 64, 32, 0)] for i in found]
        else:
            continue
        np.testing.assert_array_equal(found, index, err_msg=name)
        read += 1
    assert read == len(CASES) - 4
    # a path on which nodes come to be empty
    keys, deep = key_words(1), np.uint32([[1 << 20, 7, 7, 7]])
    data = write_indices(recjax.AStarCoder(), keys, deep, rate_bits=rate)
    found = strings.read_paths(data, 5, keys, model(strings.depths(RATE)), False)
    assert found == [(1 << 116) + (7 << 64) + (7 << 32) + 7]


def test_the_exponent_of_a_budget_follows_its_formula():
    parts, bits = np.meshgrid(np.arange(0, 9000, 97), np.arange(0, 31, 3), indexing="ij")
    x = parts / 256
    exponent = 64 * (1 + 1 / (x + 1)) / (1 + 2.0 ** (-0.75 * (bits - x - 1)))
    found = np.vectorize(zipf.budget_exponent)(parts, bits)
    assert np.abs(found - exponent).max() < 0.5 + 1e-6
    assert zipf.budget_exponent(256 * 10**6, 20) == 0


def test_every_coder_has_a_number():
    coders = {VectorCoder}
    for name in dir(recjax):
        value = getattr(recjax, name)
        if (
            isinstance(value, type)
            and issubclass(value, recjax.Coder)
            and value is not recjax.Coder
        ):
            coders.add(value)
    assert {cls.__name__ for cls in coders} == set(CoderNumber.__members__) - {"FOREIGN"}
    assert {data["rated"][:4] for data in GOLDEN.values()} == {f"11{n:02x}" for n in range(1, 19)}


class GPRS(BudgetCoder):
    """A coder that has the name of another one."""

    def start_noise(self):
        return ()

    def log_noise(self, noise, chunk):
        return noise, jnp.zeros_like(chunk.log_ratio)


def test_coders_of_users():
    coder, keys, index = GPRS(budget_bits=7), key_words(3), np.uint32([5, 0, 127])
    assert number_of(coder) == number_of(type("AStar", (recjax.AStar,), {})()) == 255
    data = write_indices(coder, keys, index)
    np.testing.assert_array_equal(read_indices(coder, data, keys), index)
    with pytest.raises(FormatError, match=r"of a coder that is not of recjax, not of GPRS"):
        read_indices(recjax.GPRS(), data, keys)


# Hostile strings.

SHORT = [
    "GPRS",
    "SpacePartitionedAStar 10 9",
    "BranchAndBoundGPRS sample",
    "HybridCoder 4",
    "DitheredQuantizer",
    "RingToss",
    "VectorCoder",
]


def hostile(name, rate):
    """A string, the function that reads others in its place, and one that gives them a right checksum."""
    index = golden_index(name)
    coder, proposal = (VECTORS, WIDE) if name == "VectorCoder" else CASES[name]
    keys = None if name == "VectorCoder" else key_words(len(jax.tree.leaves(index)[-1]))
    known = {"proposal": proposal, "rate_bits": rate}
    if name == "VectorCoder":
        known = {"proposal": proposal, "kl_bits": KLS}
    code = coder.string_code(keys, proposal, known.get("rate_bits"), known.get("kl_bits"))

    def sealed(body):
        return body + index_stream._checksum(body, code.settings(keys))

    data = write_indices(coder, keys, index, **known)
    assert sealed(data[:-2]) == data
    return data, functools.partial(read_indices, coder, keys=keys, **known), sealed, index


@pytest.mark.parametrize("name", SHORT)
def test_every_changed_byte_is_refused(name):
    data, read, _, _ = hostile(name, None if name == "VectorCoder" else RATE)
    for place, change in itertools.product(range(min(len(data), 60)), range(1, 256)):
        wrong = bytearray(data)
        wrong[place] ^= change
        with pytest.raises(FormatError, match="string"):
            read(data=bytes(wrong))
    for end in range(len(data)):
        with pytest.raises(FormatError, match=r"cut short|damaged"):
            read(data=data[:end])
    for tail in (b"\0", b"\0\0", b"x", data[-2:], data):
        with pytest.raises(FormatError):
            read(data=data + tail)


@rated
@pytest.mark.parametrize("name", SHORT)
def test_streams_of_any_bytes_are_refused_or_read(name, rate):
    """With a right checksum: indices are in their range, and only their own string is taken."""
    data, read, sealed, index = hostile(name, rate)
    rng, taken = np.random.default_rng(0), 0
    for trial in range(40):
        stream = bytearray(data[2:-2])
        if trial % 2:
            stream[rng.integers(len(stream))] ^= rng.integers(1, 256)
        else:
            stream = rng.bytes(rng.integers(0, 2 * len(stream)))
        if trial == 0:
            stream = b"\xff" * 40
        try:
            other = read(data=sealed(data[:2] + bytes(stream)))
        except FormatError:
            continue
        taken += 1
        assert jax.tree.map(np.shape, other) == jax.tree.map(np.shape, index)
        assert any((a != b).any() for a, b in zip(jax.tree.leaves(other), jax.tree.leaves(index)))
    assert taken or name != "GPRS"


def test_a_number_of_more_digits_than_any_is_refused():
    """The symbol of Elias delta that no string has, and a path deeper than a tree."""
    for name in ("GPRS", "BranchAndBoundGPRS sample"):
        data, read, sealed, _ = hostile(name, None)
        for first in range(256):
            with pytest.raises(FormatError):
                read(data=sealed(data[:2] + bytes([first]) + b"\xff" * 50))


def test_what_the_reader_has_otherwise_is_found_out():
    index, keys = np.uint32([0, 3, 0]), key_words(3)
    data = write_indices(recjax.OrderedRandomCoder(budget_bits=8), keys, index, rate_bits=4.0)
    read = functools.partial(read_indices, recjax.OrderedRandomCoder(budget_bits=8), data)
    np.testing.assert_array_equal(read(keys, rate_bits=4.0), index)
    for arguments in [
        {"keys": keys, "rate_bits": 4.5},
        {"keys": keys},
        {"keys": keys[:2], "rate_bits": 4.0},
        {"keys": key_words(4), "rate_bits": 4.0},
    ]:
        with pytest.raises(FormatError, match="another number of samples"):
            read(**arguments)
    with pytest.raises(FormatError, match="another number of samples"):
        read_indices(recjax.OrderedRandomCoder(budget_bits=9), data, keys, rate_bits=4.0)
    with pytest.raises(FormatError, match="of OrderedRandomCoder, not of BudgetedAStar"):
        read_indices(recjax.BudgetedAStar(budget_bits=8), data, keys, rate_bits=4.0)
    with pytest.raises(FormatError, match="of the unknown coder 99, not of OrderedRandomCoder"):
        body = data[:1] + b"\x63" + data[2:-2]
        read_indices(
            recjax.OrderedRandomCoder(budget_bits=8),
            body + binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "big"),
            keys,
        )
    for head, message in [(b"\x21", "version 2 and scheme 1"), (b"\x12", "version 1 and scheme 2")]:
        with pytest.raises(FormatError, match=message):
            read_indices(recjax.GPRS(), head + data[1:], keys)
    heap = np.uint32([[0, 0, 0, 9], [0, 0, 0, 1], [0, 0, 0, 2]])
    data = write_indices(recjax.AStarCoder(), keys, heap)
    with pytest.raises(FormatError, match="other settings"):
        read_indices(recjax.AStarCoder(split="dyadic"), data, keys)


def test_no_samples():
    for coder, index in [
        (recjax.AStar(), np.zeros(0, np.uint32)),
        (recjax.AStarCoder(), np.zeros((0, 4), np.uint32)),
    ]:
        data = write_indices(coder, key_words(0), index)
        assert len(data) == 4 and read_indices(coder, data, key_words(0)).shape == index.shape
    data = write_indices(VECTORS, None, [], kl_bits=[], proposal=WIDE)
    assert len(data) == 4 and read_indices(VECTORS, data, None, kl_bits=[], proposal=WIDE) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"index": [[1, 2]]}, "index must be a list of as many entries as kl_bits, 2"),
        ({"index": [np.zeros(5, int), np.zeros(9, int)]}, "with this kl_bits a call has 7 indices"),
        ({"index": np.zeros(7, int)}, "index must be a list"),
        ({"proposal": Normal(0.0, 1.0)}, "proposal must have the shape of the vectors"),
        ({"index": [np.zeros(7), np.zeros(1, int)]}, "index must hold whole numbers"),
        ({"index": [np.full(7, 1 << 10), np.zeros(1, int)]}, "index must be from 0 to 1023"),
        ({"kl_bits": 40.0}, "kl_bits must be a sequence"),
        ({"kl_bits": None}, "kl_bits must be a sequence"),
        ({"kl_bits": [40.0, -1]}, "kl_bits must be from 0"),
        ({"kl_bits": [40.0, np.ones(7)]}, "kl_bits must be one number or have"),
        ({"proposal": None}, "proposal is needed"),
        ({"proposal": Normal(np.zeros(5), 1.0)}, "proposal: 5 coordinates"),
        ({"rate_bits": 5.0}, "rate_bits: the code of VectorCoder is tuned by kl_bits"),
    ],
)
def test_bad_arguments_of_vectors(arguments, message):
    known = {"kl_bits": [40.0, 3.5], "proposal": WIDE}
    good = {"keys": None, "index": [np.zeros(7, int), np.zeros(1, int)], **known}
    data = write_indices(VECTORS, **good)
    with pytest.raises(ValueError, match=message):
        write_indices(VECTORS, **{**good, **arguments})
    if "index" not in arguments:
        with pytest.raises(ValueError, match=message):
            read_indices(VECTORS, data, None, **{**known, **arguments})


def test_bad_arguments():
    index, keys = np.uint32([0, 3, 0]), key_words(3)
    with pytest.raises(ValueError, match="kl_bits: the code of GPRS is tuned by rate_bits"):
        write_indices(recjax.GPRS(), keys, index, kl_bits=[3.0] * 3)
    for bad in (None, keys[0], jax.random.key(0)):
        with pytest.raises(ValueError, match="keys must be an array of keys"):
            write_indices(recjax.GPRS(), bad, index)
    for rate in (-1.0, np.nan, np.inf, np.ones(3)):
        with pytest.raises(ValueError, match="rate_bits must be one"):
            write_indices(recjax.GPRS(), keys, index, rate_bits=rate)
    with pytest.raises(ValueError, match="data must be bytes, got str"):
        read_indices(recjax.GPRS(), "1104", keys)
    for coder in (recjax.DitheredQuantizer(step=0.5), recjax.HybridCoder(), recjax.RingToss()):
        with pytest.raises(ValueError, match="proposal"):
            write_indices(coder, keys, index)
