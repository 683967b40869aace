"""Coders with targets or proposals of their own: ring toss, dithered quantisation, hybrid coding.

What `test_contract` asks of the others, the laws of samples, and files beside what theory says of their length.
"""

import dataclasses
import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import LEAST_P, SIGMAS, error, keys, mean_is
from scipy import stats

import recjax
from recjax import Status, read_indices, write_indices
from recjax.samplers._streams import ring_toss

N = 5000
GRID = np.linspace(-1.5, 1.5, 8).astype(np.float32)
SHARES = np.array([1, 2, 3, 4, 4, 3, 2, 1])
STEP = 0.5


@functools.cache
def channel(dtype=np.float32, **options):
    targets = recjax.Normal(GRID.astype(dtype), np.full(8, 0.25, dtype))
    return recjax.Channel(SHARES, targets, recjax.Normal(dtype(0), dtype(1.3)), **options)


def normals(dtype, scale=0.25):
    inputs = np.random.default_rng(3).choice(GRID, N, p=SHARES / SHARES.sum())
    return recjax.Normal(inputs.astype(dtype), np.full(N, scale, dtype))


def steps_apart(dtype, spread=1.0):
    centres = np.random.default_rng(4).normal(0, spread, N).astype(dtype)
    return recjax.Uniform(centres - dtype(STEP / 2), centres + dtype(STEP / 2))


def triangles(dtype):
    low = np.random.default_rng(5).uniform(0, 3.7, N).astype(dtype)
    return recjax.Triangular(low, low + dtype(0.25))


@dataclasses.dataclass(frozen=True)
class Setting:
    """A coder, its targets and proposal for a dtype, and the law of (sample - target's location) / length."""

    name: str
    coder: recjax.Coder
    targets: object
    proposal: object
    law: object
    units: object

    def __str__(self):
        return self.name


SETTINGS = [
    Setting(
        "ring",
        recjax.RingToss(),
        normals,
        channel,
        stats.norm(),
        lambda q, x: (x - q.loc) / q.scale,
    ),
    Setting(
        "dither",
        recjax.DitheredQuantizer(step=STEP),
        steps_apart,
        lambda dtype: recjax.Normal(dtype(0), dtype(np.sqrt(1 + STEP**2 / 12))),
        stats.uniform(),
        lambda q, x: (x - q.low) / STEP,
    ),
    Setting(
        "hybrid",
        recjax.HybridCoder(cell_bits=4),
        triangles,
        lambda dtype: recjax.Uniform(dtype(0), dtype(4)),
        stats.triang(0.5),
        lambda q, x: (x - q.low) / (q.high - q.low),
    ),
]
each = pytest.mark.parametrize("setting", SETTINGS, ids=str)


@functools.cache
def coded(setting):
    q, p = setting.targets(np.float32), setting.proposal(np.float32)
    return q, p, jax.tree.map(np.asarray, setting.coder.encode_batch(keys(N, 500), q, p))


def lane(tree, i):
    return jax.tree.map(lambda x: x[i], tree)


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def lengths(setting, index, p, rate):
    bits = jax.jit(jax.vmap(lambda key, i: setting.coder.codelength(key, i, p, rate_bits=rate)))
    return np.asarray(
        bits(keys(len(index if setting.name != "hybrid" else index.rank), 500), index), float
    )


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param(
            setting, id=str(setting), marks=pytest.mark.slow if setting.name == "hybrid" else ()
        )
        for setting in SETTINGS
    ],
)
def test_batches_single_calls_and_decoding_give_the_same_bits(setting):
    q, p, code = coded(setting)
    assert (code.status == Status.DONE).all() and (code.steps >= 1).all()
    some = slice(200)
    every = keys(N, 500)[some]
    vmapped = jax.jit(jax.vmap(setting.coder.encode, (0, 0, None)))(every, lane(q, some), p)
    assert_same(vmapped, lane(code, some))
    assert_same(
        jax.vmap(setting.coder.decode, (0, 0, None))(every, lane(code.index, some), p),
        code.sample[some],
    )
    for i in range(5):
        assert_same(setting.coder.encode(every[i], lane(q, i), p), lane(code, i))
        assert_same(setting.coder.decode(every[i], lane(code.index, i), p), code.sample[i])


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param(setting, marks=() if setting.name == "dither" else pytest.mark.slow)
        for setting in SETTINGS
    ],
    ids=str,
)
def test_double_precision(setting):
    with jax.enable_x64(True):
        q, p = (
            lane(setting.targets(np.float64), slice(300)),
            setting.proposal.__wrapped__(np.float64)
            if hasattr(setting.proposal, "__wrapped__")
            else setting.proposal(np.float64),
        )
        code = setting.coder.encode_batch(keys(300, 500), q, p)
        assert code.sample.dtype == np.float64 and (code.status == Status.DONE).all()
        single = lane(coded(setting)[2], slice(300))
        same = np.all(
            [
                a == b
                for a, b in zip(*map(jax.tree.leaves, (code.index, single.index)), strict=True)
            ],
            axis=0,
        )
        assert same.mean() > 0.98
        np.testing.assert_allclose(code.sample[same], single.sample[same], atol=1e-5)


@each
def test_samples_follow_the_target(setting):
    q, _, code = coded(setting)
    units = np.asarray(
        setting.units(jax.tree.map(lambda x: np.asarray(x, float), q), code.sample.astype(float))
    )
    assert stats.kstest(units, setting.law.cdf).pvalue > LEAST_P


@each
def test_options(setting):
    cls = type(setting.coder)
    copy = cls(**dataclasses.asdict(setting.coder))
    assert copy == pickle.loads(pickle.dumps(setting.coder)) and hash(copy) == hash(setting.coder)
    bad = {
        "max_steps": [0, True, 1.5],
        "step": [0, -1.0, np.nan, np.inf, True, "1"],
        "cell_bits": [-1, 17, 2.0],
        "proposal_of": ["centre", None, ["samples"]],
    }
    for field in dataclasses.fields(cls):
        for value in bad[field.name]:
            with pytest.raises(ValueError, match=field.name):
                cls(**{field.name: value})


@each
def test_files(setting):
    """Read as written, as long as ``codelength`` says; what is damaged is refused or another list."""
    _, p, code = coded(setting)
    rate = 3.0
    data = write_indices(setting.coder, keys(N, 500), code.index, rate_bits=rate, proposal=p)
    assert_same(
        read_indices(setting.coder, data, keys(N, 500), rate_bits=rate, proposal=p), code.index
    )
    bits = lengths(setting, code.index, p, rate)
    assert abs(8 * len(data) - bits.sum()) < 64 + 0.01 * N
    few = slice(100)
    data = write_indices(
        setting.coder, keys(100, 500), lane(code.index, few), rate_bits=rate, proposal=p
    )
    read = functools.partial(
        read_indices, setting.coder, keys=keys(100, 500), rate_bits=rate, proposal=p
    )
    with pytest.raises(recjax.FormatError):
        read(data=data + b"x")
    for place in range(0, len(data), 9):
        hostile = bytearray(data)
        hostile[place] ^= 0x55
        try:
            other = read(data=bytes(hostile))
        except recjax.FormatError:
            continue
        pairs = zip(jax.tree.leaves(other), jax.tree.leaves(lane(code.index, few)), strict=True)
        assert any((a != b).any() for a, b in pairs)


@each
def test_bad_parameters_inside_jit(setting):
    q, p, _ = coded(setting)
    code = jax.jit(setting.coder.encode)(keys(1, 0)[0], jax.tree.map(lambda x: x[0] * np.nan, q), p)
    assert (code.status, code.steps) == (Status.INVALID, 0) and np.isnan(code.sample)


# Ring toss.


def test_the_rate_of_ring_toss_is_at_most_functional_information_and_log2_e():
    _, p, code = coded(SETTINGS[0])
    bits = lengths(SETTINGS[0], code.index, p, 3.0)
    functional = float(recjax.functional_information_bits(p))
    data = write_indices(recjax.RingToss(), keys(N, 500), code.index, rate_bits=3.0, proposal=p)
    assert functional < 8 * len(data) / N + SIGMAS * error(bits)
    assert 8 * len(data) / N < recjax.ring_toss_rate_bound_bits(functional) + SIGMAS * error(bits)
    assert mean_is(code.steps, float(np.exp(p.log_max)))


def test_probabilities_of_all_indices_sum_to_one():
    p = channel()
    some = jnp.arange(400, dtype=jnp.uint32)
    bits = jax.jit(jax.vmap(lambda i: recjax.RingToss().codelength(jax.random.key(1), i, p)))(some)
    assert abs(np.exp2(-np.asarray(bits, float)).sum() - 1) < 1e-4


class Forgetful(recjax.RingToss):
    """Ring toss whose bound is too small for the sender."""

    def examine(self, pair, state, chunk):
        return super().examine(
            pair, state, dataclasses.replace(chunk, log_ratio=chunk.log_ratio + 1)
        )


@pytest.mark.slow
def test_too_small_a_bound_is_caught():
    q, p = normals(np.float32), channel()
    code = Forgetful().encode_batch(keys(N, 500), q, p)
    assert stats.kstest((code.sample - q.loc) / q.scale, "norm").pvalue < LEAST_P
    assert not mean_is(np.asarray(code.steps), float(np.exp(p.log_max)))


def test_what_is_doubtful_is_sent_plainly(monkeypatch):
    """With most comparisons in doubt the file is longer, and read alike."""
    _, p, code = coded(SETTINGS[0])
    index, some = code.index[:500], keys(500, 500)
    usual = write_indices(recjax.RingToss(), some, index, rate_bits=3.0, proposal=p)
    from recjax.samplers._streams import ring_toss as ring_toss_stream

    sure = ring_toss_stream._tosses
    monkeypatch.setattr(
        ring_toss_stream,
        "_tosses",
        lambda *a, **k: (sure(*a, **k)[0], np.ones((a[1].size, 64), bool)),
    )
    data = write_indices(recjax.RingToss(), some, index, rate_bits=3.0, proposal=p)
    assert len(data) > 1.3 * len(usual)
    assert_same(read_indices(recjax.RingToss(), data, some, rate_bits=3.0, proposal=p), index)


def test_doubts_cover_what_rounding_may_change():
    """Where candidates are moved by a rounding error, numbers that change were in doubt."""
    p, index = channel(), jnp.arange(100_000, dtype=jnp.uint32)
    moved = jax.tree.map(lambda x: x, p)
    object.__setattr__(moved, "log_max", p.log_max * (1 + 4 * np.float32(2**-23)))
    count, doubt = jax.jit(lambda: ring_toss.tosses(jax.random.key(2), index, p, True))()
    other, _ = jax.jit(lambda: ring_toss.tosses(jax.random.key(2), index, moved))()
    assert 0 < doubt.mean() < 1e-3
    assert doubt[count != other].all()


def test_ring_toss_refuses():
    key, q = jax.random.key(0), recjax.Normal(0.0, 0.25)
    with pytest.raises(ValueError, match="needs a Channel"):
        recjax.RingToss().encode(key, q, recjax.Normal(0.0, 1.0))
    with pytest.raises(ValueError, match="exceeds the channel"):
        recjax.RingToss().encode(key, recjax.Normal(0.0, 0.01), channel())
    with pytest.raises(ValueError, match="exceeds the channel"):
        recjax.RingToss().encode_batch(
            keys(2, 0), recjax.Normal(np.zeros(2), np.float32([0.25, 0.01])), channel()
        )
    with pytest.raises(ValueError, match="event shape"):
        recjax.RingToss().encode(key, recjax.Normal(np.zeros(2), 0.25), channel())


# Dithered quantisation.


def test_dithered_quantisation_has_no_overhead():
    """A singular channel: with the law of the samples as the proposal, H[K|U] is I, for every target."""
    centres = (np.random.default_rng(6).integers(0, 8, N) * STEP + STEP / 2).astype(np.float32)
    q, p = recjax.Uniform(centres - STEP / 2, centres + STEP / 2), recjax.Uniform(0.0, 8 * STEP)
    code = SETTINGS[1].coder.encode_batch(keys(N, 500), q, p)
    np.testing.assert_allclose(lengths(SETTINGS[1], code.index, p, 0.0), 3, atol=1e-5)
    data = write_indices(SETTINGS[1].coder, keys(N, 500), code.index, rate_bits=0, proposal=p)
    assert abs(8 * len(data) - 3 * N) < 0.001 * N + 48


def test_dithered_quantisation_costs_at_most_the_divergence():
    q, p, code = coded(SETTINGS[1])
    divergence = np.asarray(jax.vmap(lambda q: recjax.kl_bits(q, p))(q), float)
    over = lengths(SETTINGS[1], code.index, p, 0.0) - divergence
    assert over.mean() < SIGMAS * error(over)
    # I of the channel c + U for normal c, from the density of the sum
    y = np.linspace(-8, 8, 100_001)
    density = (stats.norm.cdf(y + STEP / 2) - stats.norm.cdf(y - STEP / 2)) / STEP
    information = -np.sum(density * np.log2(density, where=density > 0, out=0 * y)) * (
        y[1] - y[0]
    ) - np.log2(STEP)
    bits = lengths(SETTINGS[1], code.index, p, 0.0)
    assert abs(bits.mean() - information) < SIGMAS * error(bits) + 1e-3


class Unshared(recjax.DitheredQuantizer):
    """Dithered quantisation that rounds before the dither is subtracted."""

    def search_lanes(self, keys, targets, proposals):
        code = super().search_lanes(keys, targets, proposals)
        return dataclasses.replace(code, sample=jnp.round(code.sample / self.step) * self.step)


@pytest.mark.slow
def test_a_missing_dither_is_caught():
    q, p, _ = coded(SETTINGS[1])
    code = Unshared(step=STEP).encode_batch(keys(N, 500), q, p)
    assert stats.kstest((code.sample - q.low) / STEP, "uniform").pvalue < LEAST_P


def test_dithered_vectors_and_refusals():
    coder, key, p = (
        recjax.DitheredQuantizer(step=0.5),
        jax.random.key(0),
        recjax.Normal(np.zeros(3), np.ones(3)),
    )
    centres = jnp.array([-3.0, 0.2, 7.1])
    code = coder.encode(key, recjax.Uniform(centres - 0.25, centres + 0.25), p)
    assert code.index.shape == (3,) and (abs(code.sample - centres) <= 0.25).all()
    with pytest.raises(ValueError, match="step"):
        coder.encode(key, recjax.Uniform(0.0, 1.0), recjax.Normal(0.0, 1.0))
    with pytest.raises(ValueError, match="simulates a Uniform"):
        coder.encode(key, recjax.Normal(0.0, 0.5), recjax.Normal(0.0, 1.0))
    with pytest.raises(ValueError, match="2\\^22 steps"):
        coder.encode(key, recjax.Uniform(2.0**22, 2.0**22 + 0.5), recjax.Normal(0.0, 1.0))
    for index in (2**23, 0.5, np.zeros(2, np.int32)):
        with pytest.raises(ValueError, match="index"):
            coder.decode(key, index, recjax.Normal(0.0, 1.0))
    with pytest.raises(ValueError, match="beyond the reach"):
        write_indices(
            coder, keys(1, 0), np.array([99]), rate_bits=0, proposal=recjax.Normal(0.0, 1.0)
        )


# Hybrid coding.


def test_cells_save_steps_and_cost_their_bits():
    _, p, code = coded(SETTINGS[2])
    assert mean_is(code.steps, 2 * 4 / 0.25 / 2**4 + 1)
    divergence = float(recjax.kl_bits(recjax.Triangular(1.0, 1.25), p))
    log_rank = np.log2(code.index.rank + 1.0)
    bound = recjax.limits.a_star_log_index_bound_bits(divergence - 4)
    assert log_rank.mean() - SIGMAS * error(log_rank) <= bound
    assert len(np.unique(code.index.cell)) == 16


@pytest.mark.slow
@pytest.mark.parametrize("bits", [0, 1, 6])
def test_hybrid_vectors(bits):
    p = recjax.Normal(np.zeros(2), np.ones(2))
    q = recjax.Normal(
        np.tile([0.3, -1.2], (N, 1)), np.full((N, 2), [0.5, 0.4] if bits < 2 else [0.003, 0.006])
    )
    if bits == 1:
        q = recjax.Normal(np.tile([0.1, -0.2], (N, 1)), np.full((N, 2), 0.12))
    coder = recjax.HybridCoder(cell_bits=bits)
    code = coder.encode_batch(keys(N, 501), q, p)
    z = (np.asarray(code.sample, float) - np.asarray(q.loc)) / np.asarray(q.scale)
    assert min(stats.kstest(column, "norm").pvalue for column in z.T) > LEAST_P
    data = write_indices(coder, keys(N, 501), code.index, rate_bits=14.0, proposal=p)
    assert_same(
        read_indices(coder, data, keys(N, 501), rate_bits=14.0, proposal=p),
        jax.tree.map(np.asarray, code.index),
    )


class Misplaced(recjax.HybridCoder):
    """Hybrid coding whose sender takes the middle of the dither's cells for their end."""

    def search_lanes(self, keys, targets, proposals):
        shifted = recjax.Triangular(targets.low + 0.02, targets.high + 0.02)
        return super().search_lanes(keys, shifted, proposals)


@pytest.mark.slow
def test_a_window_out_of_place_is_caught():
    q, p, _ = coded(SETTINGS[2])
    code = Misplaced(cell_bits=4).encode_batch(keys(N, 500), q, p)
    units = (np.asarray(code.sample, float) - np.asarray(q.low)) / 0.25
    assert stats.kstest(units, SETTINGS[2].law.cdf).pvalue < LEAST_P


def test_hybrid_refuses():
    coder, key, p = recjax.HybridCoder(cell_bits=4), jax.random.key(0), recjax.Uniform(0.0, 4.0)
    with pytest.raises(ValueError, match="cell_bits"):
        coder.encode(key, recjax.Uniform(0.0, 1.0), p)
    with pytest.raises(ValueError, match="not known to be bounded"):
        coder.encode(key, recjax.Laplace(0.0, 0.01), recjax.Laplace(0.0, 1.0))
    for index in (3, (1, 2, 3), (16, 0), (-1, 0), (1, -1), (0.5, 1), (np.zeros(2, np.uint32), 1)):
        with pytest.raises(ValueError, match="index"):
            coder.decode(key, index, p)
