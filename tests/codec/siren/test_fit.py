"""Fitting posteriors at fixed shared parameters: what moves, what stays, and where the KL ends."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recjax.codec.siren.fit import (
    Job,
    advance,
    block_kl_bits,
    from_slots,
    initial_fit,
    to_slots,
)
from recjax.codec.siren.layout import Geometry, LatentGroup, Layout, group_layout
from recjax.codec.siren.network import initial_network, initial_prior
from recjax.codec.siren.objective import SirenNetwork
from recjax.codec.siren.partition import partition
from recjax.codec.siren.posterior import LatentPrior, initial_posterior
from recjax.codec.siren.settings import SirenConfig
from recjax.codec.siren.targets import make_targets

pytestmark = pytest.mark.standard_promotion

CONFIG = SirenConfig(grid=(4, 4), width=4, layers=2, features=4, max_frequency=2.0)
N = CONFIG.n_latents
BUDGET = 6.0
# one signal of five patches, one of one, two rows of padding
COUNTS = [5, 1, 1, 1]
REAL = 6
RATES = jnp.float32(0.03), jnp.float32(0.03)
KEY = jax.random.key(0)


def layout_of(counts):
    order, widths = partition(np.full(N, 0.6), BUDGET, seed=0)
    words = np.random.default_rng(0).integers(0, 2**32, N, dtype=np.uint32)
    ones = np.ones(N, np.float32)
    group = LatentGroup(kind="patch", scale=ones, log_std=-ones, order=order, widths=widths)
    return group_layout(group, counts, words, 0, int(widths.max()))


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    loc, scale = initial_prior(CONFIG, 0)
    network = SirenNetwork(
        CONFIG,
        initial_network(CONFIG),
        (LatentPrior(loc=jnp.asarray(loc), scale=jnp.asarray(scale)),),
    )
    y, x = np.mgrid[:4, :4] / 4
    waves = np.sin(
        rng.uniform(1, 4, (8, 1, 1, 3)) * y[..., None]
        + rng.uniform(-3, 3, (8, 1, 1, 3)) * x[..., None]
    )
    patches = np.float32(0.4 * waves)
    weights = np.ones((8, 4, 4), np.float32)
    weights[REAL:] = 0
    layout = layout_of(COUNTS)
    log_beta = jnp.float32(math.log(1e-4))
    state = initial_fit(Layout((layout,), Geometry()), [initial_posterior(1, N)], log_beta)
    return network, state, layout, make_targets(patches, weights)


def run(problem, steps, state=None, targets=None, key=KEY):
    network, start, layout, wanted = problem
    state, targets = state or start, targets or wanted
    job = Job(network, Layout((layout,), Geometry()), targets, key)
    return advance(job, state, RATES, steps=steps, budget=BUDGET)


def test_starts_at_the_prior_mean(problem):
    _, state, layout, _ = problem
    assert np.all(np.asarray(state.posteriors[0].mean) == 0) and np.all(
        np.asarray(state.free[0]) == 1
    )
    np.testing.assert_allclose(np.exp(state.posteriors[0].log_std), 0.5, rtol=1e-6)
    np.testing.assert_allclose(np.exp(state.log_beta[0]), 1e-4, rtol=1e-5)
    assert state.log_beta[0].shape == (8, layout.blocks.shape[0])


def test_block_kl_sums_the_latents_of_the_slot(problem):
    _, state, layout, _ = problem
    mean = jnp.asarray(np.random.default_rng(1).standard_normal((8, N)), jnp.float32)
    posterior = state.posteriors[0]._replace(mean=mean)
    got = np.asarray(block_kl_bits(posterior, layout))
    kl = np.asarray(posterior.kl_nats()) / math.log(2)
    source, blocks = np.asarray(layout.source), np.asarray(layout.blocks)
    for row in range(8):
        for b, block in enumerate(blocks):
            inside = block[block < N]
            np.testing.assert_allclose(
                got[row, b], kl[source[row, inside], inside].sum(), rtol=1e-4
            )
    np.testing.assert_allclose(got[:5].sum(), kl[:5].sum(), rtol=1e-5)


def test_slots_and_rows_are_inverse(problem):
    layout = problem[2]
    x = jnp.asarray(np.random.default_rng(1).standard_normal((8, N)), jnp.float32)
    np.testing.assert_array_equal(from_slots(layout, to_slots(layout, x)), x)
    assert np.any(np.asarray(to_slots(layout, x)[:5]) != np.asarray(x[:5]))
    np.testing.assert_array_equal(to_slots(layout, x)[5:], x[5:])


@pytest.mark.parametrize("steps", [0, 1, 10, 16])
def test_takes_the_steps_it_was_asked_for(problem, steps):
    state, error = run(problem, steps)
    assert int(state.step) == steps
    assert error.shape == () and bool(np.isfinite(error)) is (steps > 0)


@pytest.mark.parametrize("beta", [1e-6, 1e-2])
def test_kl_of_every_block_ends_near_the_budget(problem, beta):
    network, state, layout, targets = problem
    state = state._replace(log_beta=(jnp.full_like(state.log_beta[0], math.log(beta)),))
    before = np.asarray(block_kl_bits(state.posteriors[0], layout))[:REAL]
    assert np.all(np.abs(before / BUDGET - 1) > 0.2)
    job = Job(network, Layout((layout,), Geometry()), targets, KEY)
    for rates in ((0.03, 0.03), (0.03, 0.003), (0.003, 0.001)):
        rates = tuple(map(jnp.float32, rates))
        state, error = advance(job, state, rates, steps=900, budget=BUDGET)
    kl = np.asarray(block_kl_bits(state.posteriors[0], layout))[:REAL]
    assert np.abs(kl / BUDGET - 1).max() < 0.2 and np.abs(kl / BUDGET - 1).mean() < 0.05
    assert abs(kl.mean() / BUDGET - 1) < 0.03
    assert float(error) < 0.5 * float(run(problem, 10)[1])
    # blocks have prices of their own, which the start does not fix
    assert np.std(np.asarray(state.log_beta[0])[:REAL]) > 0.05


def test_fixed_latents_never_move(problem):
    _, state, _, _ = problem
    rng = np.random.default_rng(2)
    free = jnp.asarray(rng.integers(0, 2, (8, N)), jnp.float32)
    state = state._replace(
        free=(free,),
        posteriors=(state.posteriors[0]._replace(mean=state.posteriors[0].mean + 0.3),),
    )
    # Adam's moments of what was fixed only now are not zero
    moments = jax.tree.map(lambda leaf: leaf + 1e-3, (state.optimiser.mu, state.optimiser.nu))
    state = state._replace(optimiser=state.optimiser._replace(mu=moments[0], nu=moments[1]))
    after, _ = run(problem, 10, state)
    for before, now in zip(
        jax.tree.leaves(state.posteriors), jax.tree.leaves(after.posteriors), strict=True
    ):
        moved = np.asarray(before != now)
        np.testing.assert_array_equal(moved, np.asarray(free) == 1)


def test_padding_has_no_influence(problem):
    targets = problem[3]
    plain, _ = run(problem, 10)
    # other pixels in the rows of weight 0
    values = targets.values.at[:, REAL:].set(3.0)
    other, _ = run(problem, 10, targets=targets._replace(values=values))
    for a, b in zip(
        jax.tree.leaves(plain.posteriors), jax.tree.leaves(other.posteriors), strict=True
    ):
        np.testing.assert_array_equal(a[:REAL], b[:REAL])
    # another posterior in the padding
    _, state, _, _ = problem
    (posterior,) = state.posteriors
    shifted = state._replace(
        posteriors=(posterior._replace(mean=posterior.mean.at[REAL:].add(1.0)),)
    )
    other, _ = run(problem, 10, shifted)
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(other), strict=True):
        if a.ndim:
            np.testing.assert_array_equal(a[:REAL], b[:REAL])


def test_noise_depends_on_key_and_step(problem):
    one, _ = run(problem, 10)
    same, _ = run(problem, 10)
    np.testing.assert_array_equal(one.posteriors[0].mean, same.posteriors[0].mean)
    other, _ = run(problem, 10, key=jax.random.key(1))
    assert np.any(np.asarray(one.posteriors[0].mean != other.posteriors[0].mean))


def test_two_halves_are_one_whole(problem):
    whole, _ = run(problem, 20)
    half, _ = run(problem, 10)
    halves, _ = run(problem, 10, half)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(halves), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_price_of_a_coded_block_stays_finite(problem):
    _, start, _, _ = problem
    # a coded block far over the budget, whose KL no price can lower any more
    coded = start._replace(
        posteriors=(start.posteriors[0]._replace(mean=start.posteriors[0].mean + 20),),
        free=(jnp.zeros_like(start.free[0]),),
        log_beta=(jnp.full_like(start.log_beta[0], 88.7),),
    )
    state, _ = run(problem, 40, coded)
    assert np.isfinite(np.exp(np.asarray(state.log_beta[0]))).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.posteriors))
