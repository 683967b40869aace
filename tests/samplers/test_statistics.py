"""The laws of samples, indices and steps. Every check is also shown to reject a broken sampler."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import (
    LEAST_P,
    LONG,
    PAIRS,
    SIGMAS,
    N,
    case_id,
    cases,
    codes,
    error,
    follows,
    frozen,
    keys,
    law,
    mean_is,
    same_law,
    same_mean,
)
from reference_law import ReferenceLaw
from scipy import stats

import recjax
from recjax.samplers import a_star, gprs, ordered_random, parallel_gprs
from recjax.samplers._search.arrivals import arrival_times, time_value, zero_time
from recjax.samplers._search.candidate_rule import Verdict

EXACT = [
    recjax.RejectionSampler(),
    recjax.AStar(),
    recjax.GPRS(),
    recjax.GreedyRejectionSampler(),
    recjax.ParallelGPRS(n_processes=4),
]
# Tried whenever tests run: by all coders the usual pair, the one nearest to nothing to say, and one far from 0 of
# which float32 leaves little; by one coder the first pair of each other family.
SHARP = [((1, 0.25), (0, 1)), ((0.1, 0.95), (0, 1)), ((100.05, 0.02), (100, 0.1))]


def is_slow(coder, case):
    family, *pair = case
    if family == "Normal":
        return tuple(pair) not in SHARP
    return tuple(pair) != PAIRS[family][0] or not isinstance(coder, recjax.AStar)


CASES = [
    pytest.param(
        coder,
        case,
        id=f"{type(coder).__name__}-{case_id(case)}",
        marks=[pytest.mark.slow] if is_slow(coder, case) else [],
    )
    for coder in EXACT
    for case in cases(PAIRS, LONG)
]
each_case = pytest.mark.parametrize("coder,case", CASES)
SHORT, MIDDLE = ("Normal", (1, 0.25), (0, 1)), ("Normal", (2, 0.1), (0, 1))


@functools.cache
def normal_codes(coder, loc=1.0, scale=0.25, word=100):
    """Codes of N examples of N(loc, scale^2) over N(0, 1)."""
    encode = jax.jit(jax.vmap(coder.encode, in_axes=(0, None, None)))
    q, p = (
        recjax.Normal(jnp.float32(loc), jnp.float32(scale)),
        recjax.Normal(jnp.float32(0), jnp.float32(1)),
    )
    return jax.tree.map(np.asarray, encode(keys(N, word), q, p))


# The checks.


def log2_steps(code):
    return np.log2(code.index.astype(np.float64) + 1)


# The exact samplers.


@each_case
def test_samples_follow_the_target(coder, case):
    family, target, _ = case
    code = codes(coder, *case)
    assert (code.status == recjax.Status.DONE).all()
    assert follows(code.sample, frozen(family, target))


@each_case
def test_mean_steps_are_the_largest_density_ratio(coder, case):
    # The steps of GPRS have infinite variance where the ratio has a cusp (Laplace): the mean log index says more there.
    code = codes(coder, *case)
    # the arrival that ends the search, or one of every other process
    beyond = {recjax.AStar: 1, recjax.ParallelGPRS: 3}.get(type(coder), 0)
    assert mean_is(code.steps, law(*case).peak + beyond)
    if not beyond:
        np.testing.assert_array_equal(code.steps, code.index + 1)


@each_case
def test_index_costs_little_more_than_the_divergence(coder, case):
    exact = law(*case)
    bounds = {
        recjax.RejectionSampler: np.log2(exact.peak),  # by Jensen's inequality
        recjax.AStar: recjax.limits.a_star_log_index_bound_bits(exact.kl_bits()),
    }
    bound = bounds.get(type(coder), recjax.limits.gprs_log_index_bound_bits(exact.kl_bits()))
    values = log2_steps(codes(coder, *case))
    if isinstance(coder, recjax.ParallelGPRS):  # the process, and the local number
        values = 2 + log2_steps(
            dataclasses.replace(codes(coder, *case), index=codes(coder, *case).index // 4)
        )
        bound = max(bound, 2) + 1
    assert values.mean() - SIGMAS * error(values) <= bound


@each_case
def test_mean_log_index_is_what_theory_says(coder, case):
    expected = {
        recjax.GPRS: ReferenceLaw.gprs_log2_steps,
        recjax.AStar: ReferenceLaw.a_star_log2_steps,
        recjax.GreedyRejectionSampler: greedy_log2_steps,
    }
    if type(coder) in expected:
        # 1 + the bits: both may be zero
        assert mean_is(1 + log2_steps(codes(coder, *case)), 1 + expected[type(coder)](law(*case)))


def greedy_log2_steps(exact, longest=5000):
    """E[log2 K] from the levels: P(K > k) is what k candidates left."""
    level, left = 0.0, [1.0]
    while left[-1] > 1e-9 and len(left) < longest:
        level += left[-1]
        left.append(max(float(exact.survival(level)), 0) if level < exact.peak else 0.0)
    left = np.array(left)
    return np.sum(left[1:] * np.diff(np.log2(np.arange(1, left.size + 1))))


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case,
            id=case_id(case),
            marks=[pytest.mark.slow] if is_slow(recjax.GreedyRejectionSampler(), case) else [],
        )
        for case in cases(PAIRS)
    ],
)
def test_the_entropy_of_greedy_rejection_is_bounded(case):
    counts = np.bincount(codes(recjax.GreedyRejectionSampler(), *case).index)
    entropy = stats.entropy(counts, base=2)
    # Miller and Madow: the estimate is low by about (values - 1) / (2 n) nats
    entropy += (np.count_nonzero(counts) - 1) / (2 * N * np.log(2))
    bound = recjax.limits.greedy_rejection_entropy_bound_bits(law(*case).channel_simulation_bits())
    assert entropy <= bound


# Exact samplers with a fault each.


@dataclasses.dataclass(frozen=True, kw_only=True)
class MisjudgedMaximum(recjax.RejectionSampler):
    """Rejection with the largest ratio off by a factor."""

    log_factor: float

    def examine(self, pair, state, chunk):
        return super().examine(
            pair, state, dataclasses.replace(chunk, log_ratio=chunk.log_ratio - self.log_factor)
        )


class FaultyAStar(recjax.AStar):
    """A class of its own is compiled anew, while a fault is in place."""


class FaultyGPRS(recjax.GPRS):
    """As ``FaultyAStar``."""


class HastyAStar(recjax.AStar):
    """A* that takes the best of the first two candidates instead of waiting for a proof."""

    def examine(self, pair, state, chunk):
        score = chunk.log_ratio - jnp.log(
            jnp.cumsum(chunk.exponentials(recjax.randomness.Stream.ARRIVAL))
        )
        k = jnp.argmax(score[:2])
        return Verdict(state, jnp.int32(2), jnp.ones((), bool), chunk.index[k])


class FreshGPRS(recjax.GPRS):
    """GPRS whose first arrival after each record starts at time 0."""

    def examine(self, pair, state, chunk):
        return super().examine(pair, state._replace(time=zero_time()), chunk)


def gaps_only(start, gaps):
    """Arrival times that are not accumulated."""
    high, low = jax.vmap(lambda gap: arrival_times(zero_time(), gap[None]))(gaps)
    return high[:, 0], low[:, 0]


def test_too_small_a_maximum_is_caught():
    assert not follows(normal_codes(MisjudgedMaximum(log_factor=-0.4)).sample, stats.norm(1, 0.25))


@pytest.mark.slow
def test_too_large_a_maximum_is_caught():
    code = normal_codes(MisjudgedMaximum(log_factor=0.1))
    assert follows(code.sample, stats.norm(1, 0.25))
    assert not mean_is(code.steps, law(*SHORT).peak)


@pytest.mark.slow
def test_arrival_times_of_a_star_that_do_not_add_up_are_caught(monkeypatch):
    monkeypatch.setattr(a_star, "arrival_times", gaps_only)
    code = normal_codes(FaultyAStar(), 2.0, 0.1)
    assert not follows(code.sample, stats.norm(2, 0.1))
    assert not mean_is(code.steps, law(*MIDDLE).peak + 1)
    assert not mean_is(log2_steps(code), law(*MIDDLE).a_star_log2_steps())


def test_a_hasty_a_star_is_caught():
    code = normal_codes(HastyAStar())
    assert not follows(code.sample, stats.norm(1, 0.25))
    assert not mean_is(code.steps, law(*SHORT).peak + 1)


@pytest.mark.slow
def test_gprs_without_its_stretch_function_is_caught(monkeypatch):
    monkeypatch.setattr(
        gprs, "stretch_between", lambda pair, low, high: jnp.exp(high) - jnp.exp(low)
    )
    code = normal_codes(FaultyGPRS(max_steps=64))  # most searches never end
    assert not (code.status == recjax.Status.DONE).all()
    assert not follows(code.sample, stats.norm(1, 0.25))
    assert not mean_is(code.steps, law(*SHORT).peak)


@pytest.mark.slow
def test_gprs_that_forgets_the_time_is_caught():
    assert not follows(normal_codes(FreshGPRS()).sample, stats.norm(1, 0.25))


# The samplers with a budget.

BUDGET = 5
MINIMAL, ORDERED = (
    recjax.MinimalRandomCoder(budget_bits=BUDGET),
    recjax.OrderedRandomCoder(budget_bits=BUDGET),
)


@functools.cache
def simulated(ordered):
    """The coder of N(1, 0.25^2) in NumPy: samples and log2 of index + 1."""
    rng = np.random.default_rng(11)
    count = 1 << BUDGET
    z = rng.standard_normal((4 * N, count))
    gaps = rng.exponential(size=z.shape)
    noise = np.sort(gaps, axis=1) if ordered else gaps
    index = np.argmin(noise / np.exp(stats.norm.logpdf(z, 1, 0.25) - stats.norm.logpdf(z)), axis=1)
    return z[np.arange(index.size), index], np.log2(index + 1)


def agrees_with_simulation(code, ordered):
    sample, log_index = simulated(ordered)
    return same_law(code.sample, sample) and same_mean(log2_steps(code), log_index)


def square(code, loc=1.0, scale=0.25):
    return ((code.sample.astype(np.float64) - loc) / scale) ** 2


@pytest.mark.parametrize("coder", [MINIMAL, ORDERED], ids=["minimal", "ordered"])
def test_budgeted_coders_agree_with_a_plain_simulation(coder):
    code = normal_codes(coder)
    ordered = coder is ORDERED
    assert (code.status == recjax.Status.DONE).all() and (code.steps == 1 << BUDGET).all()
    assert agrees_with_simulation(code, ordered)
    assert same_mean(square(code), ((simulated(ordered)[0] - 1) / 0.25) ** 2)


@pytest.mark.parametrize("budget", [1, BUDGET])
def test_ordered_samples_follow_the_law_of_minimal_ones(budget):
    minimal = normal_codes(recjax.MinimalRandomCoder(budget_bits=budget), word=101)
    ordered = normal_codes(recjax.OrderedRandomCoder(budget_bits=budget), word=102)
    assert same_law(minimal.sample, ordered.sample)
    assert same_mean(square(minimal), square(ordered))
    uniform = np.log2(np.arange(1, 2**budget + 1))
    assert mean_is(log2_steps(minimal), uniform.mean())
    few, many = log2_steps(ordered), log2_steps(minimal)
    assert many.mean() - few.mean() > SIGMAS * np.hypot(error(few), error(many))


def test_the_bias_vanishes_as_the_budget_grows():
    for coder in (recjax.MinimalRandomCoder, recjax.OrderedRandomCoder):
        word = 101 if coder is recjax.MinimalRandomCoder else 102
        squares = [square(normal_codes(coder(budget_bits=b), word=word)) for b in (1, BUDGET)]
        for few, many in itertools.pairwise(squares):
            assert few.mean() - many.mean() > SIGMAS * np.hypot(error(few), error(many))
        assert squares[-1].mean() > 1


def test_a_large_budget_is_nearly_exact():
    coder = recjax.OrderedRandomCoder(budget_bits=10)
    code = normal_codes(coder, 0.5, 0.6)
    assert follows(code.sample, stats.norm(0.5, 0.6))


class Noiseless(recjax.MinimalRandomCoder):
    """Minimal random coding that takes the candidate of the largest ratio."""

    def log_noise(self, noise, chunk):
        return noise, jnp.zeros_like(chunk.log_ratio)


class FaultyOrdered(recjax.OrderedRandomCoder):
    """As ``FaultyAStar``."""


class UnlimitedOrdered(recjax.OrderedRandomCoder):
    """Ordered random coding with the arrivals of a Poisson process, which do not know the budget."""

    def log_noise(self, noise, chunk):
        times = jnp.cumsum(chunk.exponentials(recjax.randomness.Stream.ARRIVAL))
        return noise, jnp.log(times)


@pytest.mark.slow
def test_a_choice_without_noise_is_caught():
    code = normal_codes(Noiseless(budget_bits=BUDGET))
    assert not agrees_with_simulation(code, ordered=False)
    assert not same_law(code.sample, simulated(False)[0])


def test_noise_that_does_not_add_up_is_caught(monkeypatch):
    monkeypatch.setattr(ordered_random, "arrival_times", gaps_only)
    assert not agrees_with_simulation(normal_codes(FaultyOrdered(budget_bits=BUDGET)), ordered=True)


@pytest.mark.slow
def test_noise_that_ignores_the_budget_is_caught():
    assert not agrees_with_simulation(
        normal_codes(UnlimitedOrdered(budget_bits=BUDGET)), ordered=True
    )


# GPRS by several processes, and greedy rejection with a fault.

LOCAL_BITS = {2: 4.97, 8: 5.34, 32: 6.12, 128: 7.41}


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 8, 32, 128])
def test_several_processes(n):
    coder, divergence = recjax.ParallelGPRS(n_processes=n), law(*MIDDLE).kl_bits()
    code = codes(coder, *MIDDLE, batch=True)
    assert follows(code.sample, stats.norm(2, 0.1))
    assert mean_is(code.steps, law(*MIDDLE).peak + n - 1)
    local = np.log2(code.index // n + 1.0)
    lengths = jax.vmap(
        lambda k: coder.codelength(None, k, recjax.Normal(0.0, 1.0), rate_bits=divergence)
    )(code.index)
    # a theorem on the code, where the process takes fewer bits than the divergence
    assert (
        lengths.mean()
        <= max(divergence, np.log2(n)) + np.log2(max(divergence - np.log2(n), 0) + 1) + 8
    )
    assert stats.chisquare(np.bincount(code.index % n, minlength=n)).pvalue > LEAST_P
    # simulated with 6,000 samples or more
    assert abs(np.log2(n) + local.mean() - LOCAL_BITS[n]) <= SIGMAS * np.hypot(
        error(local), local.std() / 6000**0.5
    )


@pytest.mark.slow
def test_one_process_is_gprs():
    q, p = recjax.Normal(2.0, 0.1), recjax.Normal(0.0, 1.0)
    coders = recjax.ParallelGPRS(n_processes=1), recjax.GPRS()
    one, plain = (
        jax.jit(jax.vmap(c.encode, (0, None, None)))(keys(500, 103), q, p) for c in coders
    )
    for field in dataclasses.fields(plain):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(plain, field.name))


class FaultyGreedy(recjax.GreedyRejectionSampler):
    """Greedy rejection that forgets its levels between chunks, and with them the mass that is gone."""

    def examine(self, pair, state, chunk):
        return dataclasses.replace(super().examine(pair, state, chunk), state=state)


class FaultyParallelGPRS(recjax.ParallelGPRS):
    """As ``FaultyAStar``."""


@pytest.mark.slow
def test_forgotten_levels_are_caught():
    code = codes(FaultyGreedy(), *MIDDLE, batch=True)
    assert not follows(code.sample, stats.norm(2, 0.1)) or not mean_is(
        code.steps, law(*MIDDLE).peak
    )


@pytest.mark.slow
def test_processes_out_of_step_are_caught(monkeypatch):
    monkeypatch.setattr(
        parallel_gprs, "time_value", lambda time, dtype: 0.125 * time_value(time, dtype)
    )
    code = codes(FaultyParallelGPRS(), *SHORT)
    assert not follows(code.sample, stats.norm(1, 0.25))
