"""The contract of every coder; a new coder joins by a line in ``CODERS``.

Also a script, for what has to be set before JAX starts: ``python test_contract.py OUT.npz NAMES`` writes the codes of
coders, with the parameters in JAX's default precision and the examples sharded over the devices.
"""

import dataclasses
import functools
import inspect
import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import recjax
from recjax import Coder, Status

ROOT = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Entry:
    """A coder under test.

    Attributes:
        coder: a configuration that ends within milliseconds on ``CASES``.
        exact: samples follow the target exactly, for which the density ratio must be bounded and a cap can be hit.
        vectors: takes events of any shape.
        whole: a cap shortens the list of candidates, and the search goes to its end.
        twin: differs from another entry by an option, and is tried only with the slow tests.
        loop: stands for the coders that share its search loop in quick tests of what the loop is responsible for.
        rated: the code of its index depends on the rate.
    """

    coder: Coder
    exact: bool = True
    vectors: bool = True
    whole: bool = False
    twin: bool = False
    loop: bool = False
    rated: bool = True

    @property
    def tree(self):
        """The index is a heap index, uint32[4]."""
        return hasattr(self.coder, "split")

    @property
    def binned(self):
        """The index is a bin and a number in it, uint32[2]."""
        return hasattr(self.coder, "bits")

    @property
    def first(self):
        """The first index."""
        return (
            np.array([0, 0, 0, 1] if self.tree else [0, 0], np.uint32)
            if self.tree or self.binned
            else 0
        )

    def __str__(self):
        return type(self.coder).__name__ + getattr(self.coder, "split", "")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Keyed(recjax.PoissonPrivate):
    """The private coder with a private key that follows from the shared one: called like all others."""

    alpha: float = 3.0

    def encode(self, key, target, proposal):
        return super().encode(key, target, proposal, private_key=self.private(key))

    def encode_batch(self, keys, targets, proposal):
        return super().encode_batch(keys, targets, proposal, private_keys=self.private(keys))

    def private(self, keys):
        typed = hasattr(keys, "dtype") and jnp.issubdtype(keys.dtype, jax.dtypes.prng_key)
        words = jax.random.key_data(keys) if typed else keys
        return ~words if getattr(words, "dtype", None) == jnp.uint32 else words


CODERS = [
    Entry(recjax.RejectionSampler()),
    Entry(recjax.AStar(), loop=True),
    Entry(Keyed(), whole=True),
    Entry(recjax.GPRS(), vectors=False),
    Entry(recjax.BranchAndBoundGPRS(), vectors=False),
    Entry(recjax.BranchAndBoundGPRS(split="dyadic"), vectors=False, twin=True),
    Entry(recjax.GreedyRejectionCoder(), vectors=False, twin=True),
    Entry(recjax.GreedyRejectionCoder(split="dyadic"), vectors=False, loop=True),
    Entry(recjax.AStarCoder(), vectors=False, loop=True),
    Entry(recjax.AStarCoder(split="dyadic"), vectors=False, twin=True),
    Entry(recjax.GreedyRejectionSampler(), vectors=False),
    Entry(recjax.ParallelGPRS(n_processes=4), vectors=False),
    Entry(recjax.SpacePartitionedAStar(bits=(2,)), vectors=False),
    Entry(recjax.SpacePartitionedGPRS(bits=(1,)), vectors=False, twin=True),
    Entry(recjax.MinimalRandomCoder(budget_bits=8), exact=False, rated=False),
    Entry(recjax.BudgetedAStar(budget_bits=8), exact=False),
    Entry(recjax.OrderedRandomCoder(budget_bits=8), exact=False),
]
BAD_OPTIONS = {
    "max_steps": [0, -1, 2**31 + 1, 8.0, True, "8", None],
    "max_depth": [0, -1, 128, 8.0, True, "8", None],
    "split": ["", "halves", None, 2],
    "budget_bits": [-1, 32, 8.0, True, "8", None],
    "alpha": [1, 0.5, -2.0, np.nan, np.inf, True, "2", None],
    "bits": [3, [1], (-1,), (11,), (1.0,), ("1",), (True,), None, (8, 8, 8, 8)],
    "n_processes": [0, -1, 4097, 8.0, True, "8", None],
}
RATES = [0.0, 1.0, 8.0, 24.0]
LANES = 1000


@dataclasses.dataclass(frozen=True)
class Case:
    """A batch of examples: the family, the event shape for coders that take vectors, the kind of key."""

    family: type
    event_shape: tuple[int, ...]
    key: str

    def shape(self, entry):
        return self.event_shape if entry.vectors else ()

    def keys(self):
        if self.key == "raw":
            return jax.random.key_data(jax.random.split(jax.random.key(1), LANES))
        return jax.random.split(jax.random.key(1, impl=self.key), LANES)

    def proposal(self, entry):
        # odd numbers, so that a compiler gains nothing from knowing them
        parameters = (-0.3, 1.9) if self.family is recjax.Uniform else (0.3, 1.7)
        return self.family(*(np.full(self.shape(entry), value) for value in parameters))

    def targets(self, entry):
        shape = (LANES, *self.shape(entry))
        a, b = np.random.default_rng(2).uniform(size=(2, *shape))
        if self.family is recjax.Uniform:
            return self.family(-0.2 + a, 0.85 + b)
        return self.family(2 * a - 1, 0.15 + b)


NORMAL = Case(recjax.Normal, (), "threefry2x32")
CASES = [NORMAL, Case(recjax.Laplace, (3,), "rbg"), Case(recjax.Uniform, (), "raw")]


def entries(wanted=lambda entry: True, quick=lambda entry: not entry.twin):
    """Tries every coder that the claim is about, those that are not ``quick`` only with the slow tests."""
    params = [
        pytest.param(e, marks=() if quick(e) else pytest.mark.slow) for e in CODERS if wanted(e)
    ]
    return pytest.mark.parametrize("entry", params, ids=str)


def is_loop(entry):
    return entry.loop


def is_first(entry):
    return isinstance(entry.coder, recjax.AStar)


each_entry = entries()
each_loop = entries(quick=is_loop)
each_setting = pytest.mark.parametrize(
    ("entry", "case"),
    [
        pytest.param(
            entry,
            case,
            id=f"{entry}-{case.family.__name__}-{case.key}",
            # vectors and other keys: by one coder whenever tests run
            marks=()
            if entry.loop and (case is NORMAL or (case is CASES[1] and entry.vectors))
            else pytest.mark.slow,
        )
        for entry in CODERS
        for case in CASES
    ],
)


@functools.cache
def vmapped(entry, case=NORMAL):
    """The codes of all examples, which everything else is compared with."""
    codes = jax.vmap(entry.coder.encode, (0, 0, None))(
        case.keys(), case.targets(entry), case.proposal(entry)
    )
    return jax.tree.map(np.asarray, codes)


@functools.cache
def inside_jit(entry):
    """A user's own compiled function that makes the distributions itself."""

    @jax.jit
    def function(key, loc, scale):
        return entry.coder.encode(key, recjax.Normal(loc, scale), recjax.Normal(0.3, 1.7))

    return function


@functools.cache
def batch_inside_jit(entry):
    return jax.jit(entry.coder.encode_batch)


def lane(tree, i):
    return jax.tree.map(lambda x: x[i], tree)


def assert_same(actual, expected):
    """Equal structure, dtypes, shapes and bits."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def spoiled(tree, value=np.nan):
    """The same tree with other values, past the checks of a constructor."""
    return jax.tree.map(lambda x: jnp.full_like(x, value), tree)


@each_entry
class TestConfiguration:
    def test_every_option_has_a_default_and_a_name(self, entry):
        cls = type(entry.coder)
        assert isinstance(cls(), Coder)
        for field in dataclasses.fields(cls):
            with pytest.raises(TypeError):
                cls(getattr(entry.coder, field.name))

    def test_frozen(self, entry):
        for field in dataclasses.fields(entry.coder):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(entry.coder, field.name, 3)

    def test_equal_options_make_equal_coders(self, entry):
        copy = type(entry.coder)(**dataclasses.asdict(entry.coder))
        assert copy == entry.coder and hash(copy) == hash(entry.coder)
        assert pickle.loads(pickle.dumps(copy)) == entry.coder
        for field in dataclasses.fields(entry.coder):
            other = dataclasses.replace(
                entry.coder, **{field.name: self.another(getattr(entry.coder, field.name))}
            )
            assert other != entry.coder
        assert all((entry.coder == another.coder) == (entry is another) for another in CODERS)

    def another(self, value):
        if isinstance(value, tuple):
            return tuple(part - 1 for part in value)
        return {"sample": "dyadic", "dyadic": "sample"}.get(value) or value - 1

    def test_bad_options_are_refused_by_name(self, entry):
        for field in dataclasses.fields(entry.coder):
            for value in BAD_OPTIONS[field.name]:
                with pytest.raises(ValueError, match=field.name):
                    type(entry.coder)(**{field.name: value})

    def test_methods_take_what_the_contract_says(self, entry):
        def names(method):
            return list(inspect.signature(method).parameters)

        assert names(entry.coder.encode) == ["key", "target", "proposal"]
        assert names(entry.coder.encode_batch) == ["keys", "targets", "proposal"]
        # the receiver has no target
        assert names(entry.coder.decode) == ["key", "index", "proposal"]
        assert names(entry.coder.codelength) == ["key", "index", "proposal", "rate_bits"]
        rate_bits = inspect.signature(entry.coder.codelength).parameters["rate_bits"]
        assert rate_bits.kind is rate_bits.KEYWORD_ONLY and rate_bits.default is None


@each_setting
class TestRoundTrip:
    def test_every_example_is_done(self, entry, case):
        code = vmapped(entry, case)
        assert (code.status == Status.DONE).all()
        assert code.steps.dtype == code.status.dtype == jnp.int32
        assert code.steps.shape == code.status.shape == (LANES,)
        assert (code.steps >= 1).all()
        assert code.sample.dtype == jnp.float32 and code.sample.shape == (LANES, *case.shape(entry))
        assert np.isfinite(code.sample).all()
        for index in jax.tree.leaves(code.index):
            assert jnp.issubdtype(index.dtype, jnp.integer)
            assert len(np.unique(index)) > 1

    def test_single_calls_give_the_bits_of_vmap(self, entry, case):
        keys, targets, proposal = case.keys(), case.targets(entry), case.proposal(entry)
        for i in range(50):
            code = entry.coder.encode(keys[i], lane(targets, i), proposal)
            assert_same(code, lane(vmapped(entry, case), i))

    def test_decode_gives_the_encoders_sample(self, entry, case):
        code, keys, proposal = vmapped(entry, case), case.keys(), case.proposal(entry)
        assert_same(
            jax.vmap(entry.coder.decode, (0, 0, None))(keys, code.index, proposal), code.sample
        )
        for i in range(20):
            assert_same(entry.coder.decode(keys[i], lane(code.index, i), proposal), code.sample[i])


@each_loop
class TestEncode:
    def test_inside_a_users_jit(self, entry):
        keys, targets = NORMAL.keys(), NORMAL.targets(entry)
        for i in range(50):
            code = inside_jit(entry)(keys[i], targets.loc[i], targets.scale[i])
            assert_same(code, lane(vmapped(entry), i))

    def test_compiled_once(self, entry, caplog):
        key, q, p = jax.random.key(3), recjax.Normal(0.5, 0.4), recjax.Normal(0.0, 1.0)
        entry.coder.decode(key, entry.coder.encode(key, q, p).index, p)
        equal = type(entry.coder)(**dataclasses.asdict(entry.coder))
        # made beforehand: arithmetic on parameters may compile
        examples = [
            (jax.random.key(i), recjax.Normal(0.1 * i, 0.5), recjax.Normal(0.01 * i, 1.1))
            for i in range(4, 8)
        ]
        with caplog.at_level(logging.WARNING), jax.log_compiles():
            for key, q, p in examples:
                entry.coder.decode(key, equal.encode(key, q, p).index, p)
            assert not [record for record in caplog.records if "ompil" in record.getMessage()]
            jax.jit(lambda x: x + 1)(1)
            assert [record for record in caplog.records if "ompil" in record.getMessage()]

    def test_runs_on_the_device_alone(self, entry):
        program = str(
            jax.make_jaxpr(entry.coder.encode)(
                jax.random.key(0), *(recjax.Normal(0.5, s) for s in (0.5, 1))
            )
        )
        assert "while" in program
        assert "callback" not in program


@each_loop
class TestEncodeBatch:
    @pytest.mark.parametrize("size", [pytest.param(7, marks=pytest.mark.slow), LANES])
    def test_gives_the_bits_of_vmap(self, entry, size):
        keys, targets = NORMAL.keys()[:size], lane(NORMAL.targets(entry), slice(size))
        code = entry.coder.encode_batch(keys, targets, NORMAL.proposal(entry))
        assert_same(code, lane(vmapped(entry), slice(size)))

    def test_under_jit(self, entry):
        keys, targets = NORMAL.keys()[:7], lane(NORMAL.targets(entry), slice(7))
        code = batch_inside_jit(entry)(keys, targets, NORMAL.proposal(entry))
        assert_same(code, lane(vmapped(entry), slice(7)))

    def test_one_proposal_an_example(self, entry):
        proposal = NORMAL.proposal(entry)
        proposals = recjax.Normal(np.full(LANES, proposal.loc), np.full(LANES, proposal.scale))
        code = entry.coder.encode_batch(NORMAL.keys(), NORMAL.targets(entry), proposals)
        assert_same(code, vmapped(entry))

    def test_sizes_that_differ_are_refused(self, entry):
        targets, proposal = lane(NORMAL.targets(entry), slice(7)), NORMAL.proposal(entry)
        with pytest.raises(ValueError):
            entry.coder.encode_batch(NORMAL.keys()[:5], targets, proposal)
        with pytest.raises(ValueError):
            proposals = recjax.Normal(np.full(5, proposal.loc), np.full(5, proposal.scale))
            entry.coder.encode_batch(NORMAL.keys()[:7], targets, proposals)


@each_loop
class TestDecode:
    def test_inside_a_users_jit(self, entry):
        code, keys = vmapped(entry), NORMAL.keys()
        decode = jax.jit(lambda key, index: entry.coder.decode(key, index, recjax.Normal(0.3, 1.7)))
        for i in range(20):
            assert_same(decode(keys[i], lane(code.index, i)), code.sample[i])

    def test_takes_whole_numbers_as_read_from_a_file(self, entry):
        code, keys, proposal = vmapped(entry), NORMAL.keys(), NORMAL.proposal(entry)
        for i in range(5):
            assert_same(entry.coder.decode(keys[i], lane(code.index, i), proposal), code.sample[i])
            if jnp.ndim(code.index) == 1:
                assert_same(
                    entry.coder.decode(keys[i], int(code.index[i]), proposal), code.sample[i]
                )

    def test_raw_and_typed_keys_are_the_same(self, entry):
        code, keys, proposal = vmapped(entry), NORMAL.keys(), NORMAL.proposal(entry)
        raw = jax.random.key_data(keys[0])
        assert_same(entry.coder.decode(raw, lane(code.index, 0), proposal), code.sample[0])

    def test_another_key_gives_another_sample(self, entry):
        code, keys, proposal = vmapped(entry), NORMAL.keys(), NORMAL.proposal(entry)
        other = jax.vmap(entry.coder.decode, (0, 0, None))(jnp.roll(keys, 1), code.index, proposal)
        assert np.mean(other == code.sample) < 0.05


@each_entry
class TestHostileIndices:
    @pytest.mark.parametrize(
        "hostile", [-1, -(2**31), 2**31, 2**32 - 1, 2**32, 2**40, 2**63, 2**70, 0.0, 0.5]
    )
    def test_hostile_numbers_are_refused(self, entry, hostile):
        with pytest.raises(ValueError, match="index"):
            entry.coder.decode(jax.random.key(0), hostile, NORMAL.proposal(entry))
        with pytest.raises(ValueError, match="index"):
            entry.coder.codelength(
                jax.random.key(0), hostile, NORMAL.proposal(entry), rate_bits=3.0
            )

    @pytest.mark.parametrize(
        "hostile", [np.int32(-1), np.uint32(2**32 - 1), np.int64(2**40), np.zeros(3, np.uint32)]
    )
    def test_hostile_arrays_are_refused(self, entry, hostile):
        with pytest.raises(ValueError, match="index"):
            entry.coder.decode(jax.random.key(0), hostile, NORMAL.proposal(entry))


@entries(lambda entry: entry.tree)
def test_hostile_heap_indices(entry):
    key, proposal, zero, last = (
        jax.random.key(0),
        NORMAL.proposal(entry),
        [0, 0, 0, 0],
        [2**32 - 1] * 4,
    )
    decode = jax.jit(entry.coder.decode)
    for hostile, clamped in [(zero, [0, 0, 0, 1]), (last, [2**31 - 1, *last[1:]])]:
        with pytest.raises(ValueError, match="index"):
            entry.coder.decode(key, np.array(hostile, np.uint32), proposal)
        sample = decode(key, jnp.array(hostile, jnp.uint32), proposal)
        assert np.isfinite(sample)
        assert_same(sample, entry.coder.decode(key, np.array(clamped, np.uint32), proposal))


@entries(lambda entry: entry.binned)
def test_hostile_bins(entry):
    key, proposal, last = jax.random.key(0), NORMAL.proposal(entry), entry.coder.last_index.tolist()
    decode = jax.jit(entry.coder.decode)
    for hostile, clamped in [
        ([-7, 3], [0, 3]),
        ([0, -1], [0, 0]),
        ([2**31 - 1, 5], [last[0], 5]),
        ([1, last[1] + 1], [1, last[1]]),
    ]:
        with pytest.raises(ValueError, match="index"):
            entry.coder.decode(key, np.array(hostile), proposal)
        assert_same(
            decode(key, jnp.array(hostile, jnp.int32), proposal),
            entry.coder.decode(key, np.array(clamped), proposal),
        )


@entries(lambda entry: not entry.tree and not entry.binned)
def test_traced_hostile_numbers_are_clamped(entry):
    key, proposal, last = jax.random.key(0), NORMAL.proposal(entry), entry.coder.limit - 1
    decode = jax.jit(entry.coder.decode)
    for hostile, clamped in [
        (jnp.int32(-7), 0),
        (jnp.uint32(2**32 - 1), last),
        (jnp.int32(2**31 - 1), last),
    ]:
        assert_same(decode(key, hostile, proposal), entry.coder.decode(key, clamped, proposal))


@each_loop
class TestCodelength:
    @pytest.mark.parametrize("rate_bits", RATES)
    def test_finite_and_positive(self, entry, rate_bits):
        code, keys, proposal = vmapped(entry), NORMAL.keys(), NORMAL.proposal(entry)
        codelength = functools.partial(entry.coder.codelength, rate_bits=rate_bits)
        bits = jax.vmap(codelength, (0, 0, None))(keys, code.index, proposal)
        assert bits.dtype == jnp.float32
        assert np.isfinite(bits).all() and (bits > 0).all()
        single = codelength(keys[0], lane(code.index, 0), proposal)
        assert single.shape == ()
        np.testing.assert_allclose(single, bits[0], rtol=1e-6)


@entries(lambda entry: entry.rated)
@pytest.mark.parametrize("rate_bits", [-1.0, np.nan, np.inf, np.ones(2)])
def test_bad_rates_are_refused(entry, rate_bits):
    with pytest.raises(ValueError, match="rate_bits"):
        entry.coder.codelength(
            jax.random.key(0), entry.first, NORMAL.proposal(entry), rate_bits=rate_bits
        )


def shares(coder, indices, rate_bits):
    """2 to the power of minus the length of every index: one program for all rates."""
    lengths = all_lengths(coder, indices, jnp.float32(rate_bits))
    return np.exp2(-np.asarray(lengths, float))


@functools.partial(jax.jit, static_argnums=0)
def all_lengths(coder, indices, rate_bits):
    key, proposal = jax.random.key(0), recjax.Normal(0.0, 1.0)
    return jax.vmap(lambda i: coder.codelength(key, i, proposal, rate_bits=rate_bits))(indices)


@pytest.mark.parametrize(
    "coder",
    [
        *(entry.coder for entry in CODERS if not entry.tree and not entry.binned),
        *(recjax.MinimalRandomCoder(budget_bits=bits) for bits in (0, 20)),
        *(
            coder(budget_bits=bits)
            for coder in (recjax.OrderedRandomCoder, recjax.BudgetedAStar)
            for bits in (0, 1, 5, 20)
        ),
    ],
    ids=repr,
)
def test_codelengths_keep_the_kraft_inequality(coder):
    indices = jnp.arange(min(coder.limit, 1 << 20), dtype=jnp.uint32)
    for rate_bits in RATES:
        assert shares(coder, indices, rate_bits).sum() <= 1 + 1e-5


@pytest.mark.parametrize("coder", [e.coder for e in CODERS if e.binned], ids=repr)
def test_codelengths_of_bins_keep_the_kraft_inequality(coder):
    bins, numbers = np.divmod(np.arange(1 << 18, dtype=np.uint32), 1 << 16)
    index = np.stack([bins, numbers], -1)[bins <= coder.last_index[0]]
    for rate_bits in RATES:
        assert 0.3 < shares(coder, index, rate_bits).sum() <= 1 + 1e-5


@pytest.mark.parametrize("coder", [e.coder for e in CODERS if e.tree], ids=repr)
def test_codelengths_of_trees_keep_the_kraft_inequality(coder):
    heap = np.zeros((2**15 - 1, 4), np.uint32)
    heap[:, 3] = np.arange(1, 2**15)
    codelength = functools.partial(coder.codelength, rate_bits=2.0)
    lengths = jax.vmap(lambda i: codelength(jax.random.key(0), i, recjax.Normal(0.0, 1.0)))(heap)
    shares = np.exp2(-np.asarray(lengths, float))
    assert 0.5 < shares.sum() <= 1 + 1e-5
    # the nodes of a level share what the code for its depth leaves them
    depth = np.floor(np.log2(heap[:, 3])).astype(int)
    by_depth = np.bincount(depth, shares)
    assert (np.diff(by_depth) < 1e-6).all()


@each_loop
class TestStatus:
    @pytest.mark.parametrize("scale", [np.nan, np.inf, 0.0, -0.5])
    def test_bad_parameters_inside_jit(self, entry, scale):
        code = inside_jit(entry)(jax.random.key(0), np.float32(0), np.float32(scale))
        assert (code.status, code.steps) == (Status.INVALID, 0)
        assert np.isnan(code.sample)  # nothing that passes for a sample

    def test_unbounded_ratio_inside_jit(self, entry):
        code = inside_jit(entry)(jax.random.key(0), np.float32(0), np.float32(1.71))
        assert code.status == (Status.INVALID if entry.exact else Status.DONE)

    def test_bad_lanes_of_vmap_leave_the_others_alone(self, entry):
        bad = np.arange(0, LANES, 7)
        targets = jax.tree.map(lambda x: x.at[bad].set(jnp.nan), NORMAL.targets(entry))
        code = jax.vmap(entry.coder.encode, (0, 0, None))(
            NORMAL.keys(), targets, NORMAL.proposal(entry)
        )
        assert (code.status[bad] == Status.INVALID).all()
        good = np.delete(np.arange(LANES), bad)
        assert_same(lane(code, good), lane(vmapped(entry), good))

    def test_bad_lanes_of_a_batch_inside_jit(self, entry):
        targets = jax.tree.map(lambda x: x[:7].at[3].set(jnp.nan), NORMAL.targets(entry))
        code = batch_inside_jit(entry)(NORMAL.keys()[:7], targets, NORMAL.proposal(entry))
        np.testing.assert_array_equal(
            code.status, np.where(np.arange(7) == 3, Status.INVALID, Status.DONE)
        )


@entries(lambda entry: not entry.exact)
def test_target_out_of_reach(entry):
    coder = dataclasses.replace(entry.coder, budget_bits=1)
    target, proposal = recjax.Uniform(0.75, 0.75001), recjax.Uniform(0.0, 1.0)
    for seed in range(5):
        code = coder.encode(jax.random.key(seed), target, proposal)
        assert (code.status, code.steps) == (Status.MAX_STEPS, 2)
        assert_same(coder.decode(jax.random.key(seed), code.index, proposal), code.sample)


@entries(lambda entry: entry.exact and not entry.whole, quick=is_first)
def test_cap_on_steps(entry):
    cap, code = 4 if entry.tree else 8, vmapped(entry)
    keys, targets, proposal = NORMAL.keys(), NORMAL.targets(entry), NORMAL.proposal(entry)
    coder = dataclasses.replace(entry.coder, max_steps=cap)
    capped = jax.vmap(coder.encode, (0, 0, None))(keys, targets, proposal)
    short = np.asarray(code.steps) <= cap
    assert (np.asarray(code.steps) == cap).any() and (np.asarray(code.steps) == cap + 1).any()
    assert_same(lane(capped, short), lane(code, short))
    stopped = lane(capped, ~short)
    assert (stopped.status == Status.MAX_STEPS).all() and (stopped.steps == cap).all()
    assert_same(
        jax.vmap(coder.decode, (0, 0, None))(keys[~short], stopped.index, proposal), stopped.sample
    )


def refused(entry, target, proposal, message):
    with pytest.raises(ValueError, match=message):
        entry.coder.encode(jax.random.key(0), target, proposal)
    targets = jax.tree.map(lambda x: jnp.stack([x, x]), target)
    with pytest.raises(ValueError, match=message):
        entry.coder.encode_batch(jax.random.split(jax.random.key(0)), targets, proposal)


@each_entry
class TestRefusals:
    def test_bad_parameters(self, entry):
        good = recjax.Normal(0.0, 1.0)
        refused(entry, spoiled(good), good, "target: loc must be finite")
        refused(entry, spoiled(good, 0.0), good, "target: scale must be positive")
        refused(entry, good, spoiled(good), "proposal: loc must be finite")

    def test_unbounded_ratio(self, entry):
        pairs = [
            (recjax.Normal(0.0, 1.1), recjax.Normal(0.0, 1.0)),
            (recjax.Normal(0.1, 1.0), recjax.Normal(0.0, 1.0)),
            (recjax.Laplace(0.0, 1.1), recjax.Laplace(0.0, 1.0)),
        ]
        for target, proposal in pairs if entry.exact else ():
            refused(entry, target, proposal, "target: the density ratio is unbounded")

    def test_target_outside_the_proposal(self, entry):
        for target in (
            recjax.Uniform(-0.1, 0.5),
            recjax.Uniform(0.5, 1.1),
            recjax.Uniform(2.0, 3.0),
        ):
            refused(entry, target, recjax.Uniform(0.0, 1.0), "target: .* within the proposal")

    def test_pairs_without_a_density_ratio(self, entry):
        message = "target: no pair of a Normal over a Laplace"
        refused(entry, recjax.Normal(0.0, 0.1), recjax.Laplace(0.0, 1.0), message)

    def test_event_shapes_that_differ(self, entry):
        for target_shape, proposal_shape in [((3,), ()), ((), (3,)), ((3,), (4,)), ((1, 3), (3,))]:
            target, proposal = (
                recjax.Normal(np.zeros(s), v)
                for s, v in ((target_shape, 0.5), (proposal_shape, 1.0))
            )
            with pytest.raises(ValueError, match="target: its event shape"):
                entry.coder.encode(jax.random.key(0), target, proposal)

    def test_what_is_no_distribution(self, entry):
        keys, good = (
            jax.random.split(jax.random.key(0)),
            recjax.Normal(np.zeros(2), np.full(2, 0.5)),
        )
        for target, proposal, role in [
            (np.full(2, 0.5), good, "target"),
            (good, np.full(2, 0.5), "proposal"),
        ]:
            with pytest.raises(ValueError, match=f"{role} must be a distribution"):
                entry.coder.encode(keys[0], target, proposal)
            with pytest.raises(ValueError, match=f"{role} must be a distribution"):
                entry.coder.encode_batch(keys, target, proposal)
        with pytest.raises(ValueError, match="keys must be"):
            entry.coder.encode_batch(0, good, recjax.Normal(0.0, 1.0))

    def test_one_key_for_many_targets(self, entry):
        targets = recjax.Normal(np.zeros(2), np.full(2, 0.5))
        for keys in (
            jax.random.key(0),
            jax.random.split(jax.random.key(0), 3),
            jnp.zeros(2, jnp.uint32),
        ):
            with pytest.raises(ValueError, match="keys: a batch of keys"):
                entry.coder.encode_batch(keys, targets, recjax.Normal(0.0, 1.0))

    @pytest.mark.wrong_types
    def test_what_is_not_one_key(self, entry):
        proposal = recjax.Normal(0.0, 1.0)
        for key in (
            0,
            np.zeros(3, np.uint32),
            np.zeros(2, np.float32),
            jax.random.split(jax.random.key(0), 2),
        ):
            with pytest.raises(ValueError, match="key must be"):
                entry.coder.encode(key, recjax.Normal(0.1, 0.5), proposal)
            with pytest.raises(ValueError, match="key must be"):
                entry.coder.decode(key, entry.first, proposal)


@entries(lambda entry: not entry.vectors)
def test_vectors_where_only_scalars_are_coded(entry):
    target, proposal = (recjax.Normal(np.zeros(3), scale) for scale in ([0.5, 0.4, 0.3], 1.0))
    refused(entry, target, proposal, "scalar|isotropic|components")


# In fresh processes the coder of one loop whenever tests run, all of them with the slow tests.
each_choice = pytest.mark.parametrize(
    "chosen",
    [
        pytest.param([entry for entry in CODERS if entry.loop][1:2], id="loop"),
        pytest.param(CODERS, id="all", marks=pytest.mark.slow),
    ],
)


def run_script(path, chosen, **environment):
    """Runs this file in a fresh process; codes by coder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", **environment}
    done = subprocess.run(
        [sys.executable, __file__, path, *map(str, chosen)],
        env=environment,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(path) as arrays:
        return [[arrays[f"{i}.{j}"] for j in range(4)] for i in range(len(chosen))]


def script(path, names):
    mesh = Mesh(np.array(jax.devices()), ("example",))
    each, same = PartitionSpec("example"), PartitionSpec()
    arrays = {}
    chosen = [entry for entry in CODERS if str(entry) in names]
    for i, entry in enumerate(chosen):

        def encode(keys, targets, proposal, entry=entry):
            codes = jax.vmap(entry.coder.encode, (0, 0, None))(keys, targets, proposal)
            decoded = jax.vmap(entry.coder.decode, (0, 0, None))(keys, codes.index, proposal)
            return codes, decoded

        if mesh.size > 1:
            encode = jax.shard_map(encode, mesh=mesh, in_specs=(each, each, same), out_specs=each)
        codes, decoded = jax.jit(encode)(
            NORMAL.keys(), NORMAL.targets(entry), NORMAL.proposal(entry)
        )
        assert np.array_equal(codes.sample, decoded), (
            f"{entry.coder} does not decode its own sample"
        )
        fields = (codes.index, codes.sample, codes.steps, codes.status)
        arrays |= {f"{i}.{j}": np.asarray(field) for j, field in enumerate(fields)}
    np.savez(path, **arrays)


@each_choice
def test_eight_devices_give_the_bits_of_one(tmp_path, chosen):
    flags = "--xla_force_host_platform_device_count=8"
    codes = run_script(tmp_path / "codes.npz", chosen, XLA_FLAGS=flags)
    for entry, fields in zip(chosen, codes, strict=True):
        code = vmapped(entry)
        assert_same(fields, [code.index, code.sample, code.steps, code.status])


@each_choice
def test_double_precision(tmp_path, chosen):
    codes = run_script(tmp_path / "codes.npz", chosen, JAX_ENABLE_X64="1")
    for entry, (index, sample, steps, status) in zip(chosen, codes, strict=True):
        code = vmapped(entry)
        assert (index.dtype, sample.dtype) == (code.index.dtype, np.float64)
        assert (steps.dtype, status.dtype) == (np.int32, np.int32)
        assert (status == Status.DONE).all()
        # the same candidates and decisions, but for rare ties within rounding
        same = (index == np.asarray(code.index)).reshape(LANES, -1).all(axis=1)
        assert same.mean() > 0.99
        np.testing.assert_allclose(sample[same], code.sample[same], rtol=0, atol=1e-5)
        assert (sample != code.sample).any()


if __name__ == "__main__":
    script(sys.argv[1], sys.argv[2:])
