"""What goes wrong silently elsewhere: a bound that is too small, invalid parameters, gradients of samples."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recjax
from recjax import Status


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Loose:
    """Uniform on the first tenth of [0, 1], and a pair whose bound is wrong by a factor."""

    factor: jax.Array

    @property
    def event_shape(self):
        return jnp.shape(self.factor)


@recjax.register_pair(Loose, recjax.Uniform)
class LoosePair(recjax.Pair):
    def log_ratio(self, x):
        return jnp.where(x < 0.1, jnp.log(10.0).astype(x.dtype), -jnp.inf)

    def log_ratio_max(self):
        return jnp.log(10.0) + jnp.log(self.target.factor)

    def widths(self, log_h):
        below = log_h <= self.log_ratio_max()
        return jnp.where(below, 0.1, 0.0), jnp.where(below, 1.0, 0.0)

    def mode(self):
        return jnp.float32(0.05)

    def level_set(self, log_h):
        return jnp.float32(0.0), jnp.float32(0.1)

    def masses(self, low, high):
        inside = jnp.minimum(high, 0.1) - jnp.minimum(low, 0.1)
        return high - low, 10 * inside

    def log_ratio_max_on(self, low, high):
        return jnp.where(low < 0.1, self.log_ratio_max(), -jnp.inf)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Private(recjax.PoissonPrivate):
    """The private coder, called like all others."""

    def encode(self, key, target, proposal):
        return super().encode(key, target, proposal, private_key=jax.random.fold_in(key, 1))

    def encode_batch(self, keys, targets, proposal):
        private = jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)
        return super().encode_batch(keys, targets, proposal, private_keys=private)


CODERS = [
    recjax.RejectionSampler(),
    recjax.AStar(),
    recjax.GPRS(),
    recjax.ParallelGPRS(n_processes=4),
    recjax.GreedyRejectionSampler(),
    Private(),
    recjax.SpacePartitionedAStar(bits=(2,)),
    recjax.BranchAndBoundGPRS(),
    recjax.BranchAndBoundGPRS(split="dyadic"),
    recjax.GreedyRejectionCoder(),
    recjax.AStarCoder(),
]
QUICK = (recjax.AStar, recjax.GreedyRejectionCoder, recjax.AStarCoder)
each_coder = pytest.mark.parametrize(
    "coder",
    [pytest.param(c, marks=() if type(c) in QUICK else pytest.mark.slow) for c in CODERS],
    ids=lambda c: type(c).__name__ + getattr(c, "split", ""),
)


@each_coder
@pytest.mark.parametrize(
    ("factor", "status"), [(0.5, Status.BOUND_TOO_SMALL), (1.0, Status.DONE)], ids=["low", "right"]
)
def test_a_bound_that_is_too_small_has_a_status(coder, factor, status):
    keys, proposal = jax.random.split(jax.random.key(3), 64), recjax.Uniform(0.0, 1.0)
    targets = Loose(jnp.full(64, factor, jnp.float32))
    codes = coder.encode_batch(keys, targets, proposal)
    # greedy rejection may also go on for ever, where its promise of mass is not held
    assert (codes.status == status).mean() > (0.3 if status else 0.999)
    assert np.isin(codes.status, [status, Status.MAX_STEPS]).all()
    one = coder.encode(keys[0], Loose(jnp.float32(factor)), proposal)
    assert (one.status, one.sample) == (codes.status[0], codes.sample[0])
    # the sample is still that of the index
    assert coder.decode(keys[0], one.index, proposal) == one.sample


@pytest.mark.slow
def test_pairs_that_ship_with_bins_and_cells():
    n = 2048
    targets = recjax.Normal(np.linspace(-2, 2, n), np.geomspace(1e-2, 0.9, n))
    keys, proposal = jax.random.split(jax.random.key(4), n), recjax.Normal(0.0, 1.0)
    coder = recjax.SpacePartitionedAStar(bits=(4,))
    assert (coder.encode_batch(keys, targets, proposal).status == Status.DONE).all()
    narrow = recjax.Normal(targets.loc, jnp.full(n, 1e-3))
    codes = recjax.HybridCoder(cell_bits=4).encode_batch(keys, narrow, proposal)
    assert (codes.status == Status.DONE).all()


@each_coder
def test_invalid_parameters_have_no_sample(coder):
    key, proposal = jax.random.key(0), recjax.Normal(0.0, 1.0)
    scales = jnp.array([0.5, jnp.nan])

    def encode(scale):
        return coder.encode(key, recjax.Normal(jnp.float32(0.3), scale), proposal)

    codes = jax.jit(jax.vmap(encode))(scales)
    assert codes.status.tolist() == [Status.DONE, Status.INVALID]
    assert jnp.isfinite(codes.sample).tolist() == [True, False]
    assert jnp.isnan(codes.sample[1])


def test_invalid_parameters_of_other_coders():
    key = jax.random.key(0)
    bad = jnp.full(2, jnp.nan)
    uniform, cells = recjax.Uniform(0.0, 4.0), recjax.HybridCoder(cell_bits=2)
    with jax.numpy_dtype_promotion("standard"):
        dithered = jax.jit(
            lambda low: recjax.DitheredQuantizer(step=0.5).encode(
                key, recjax.Uniform(low, low + 0.5), recjax.Uniform(jnp.zeros(2), jnp.full(2, 4.0))
            )
        )(bad)
    assert dithered.status == Status.INVALID and jnp.isnan(dithered.sample).all()
    hybrid = jax.jit(
        lambda low: cells.encode(key, recjax.Uniform(low, low + jnp.float32(0.5)), uniform)
    )(bad[0])
    assert hybrid.status == Status.INVALID and jnp.isnan(hybrid.sample)


def test_invalid_categories_are_minus_one():
    proposal = recjax.Categorical(jnp.zeros(4))
    encode = jax.jit(
        lambda logits: recjax.AStar().encode(
            jax.random.key(0), recjax.Categorical(logits), proposal
        )
    )
    assert encode(jnp.zeros(4)).sample >= 0
    code = encode(jnp.full(4, jnp.nan))
    assert code.status == Status.INVALID
    assert code.sample.dtype == jnp.int32 and code.sample == -1


@pytest.mark.parametrize(
    "coder", [recjax.AStar(), recjax.GreedyRejectionCoder()], ids=lambda c: type(c).__name__
)
def test_no_gradient_passes_through_the_search(coder):
    key, proposal = jax.random.key(5), recjax.Normal(0.0, 1.0)

    def sample(loc, scale):
        return coder.encode(key, recjax.Normal(loc, scale), proposal).sample

    def straight_through(loc, scale):
        noise = jax.lax.stop_gradient((sample(loc, scale) - loc) / scale)
        return loc + scale * noise

    point = jnp.float32(0.5), jnp.float32(0.25)
    assert jax.grad(sample, (0, 1))(*point) == (0, 0)
    z = (sample(*point) - point[0]) / point[1]
    np.testing.assert_allclose(jax.grad(straight_through, (0, 1))(*point), [1, z], rtol=1e-5)
