"""The laws of samples, indices and steps. Every check is also shown to reject a broken sampler."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import LEAST_P, PAIRS, SIGMAS, N, error, follows, frozen, keys, law, mean_is, same_law, same_mean
from scipy import stats

import recjax
from recjax.samplers import a_star, gprs, ordered_random, parallel_gprs
from recjax.samplers.arrivals import arrival_times, time_value, zero_time
from recjax.samplers.driver import Verdict

EXACT = [recjax.RejectionSampler(), recjax.AStar(), recjax.GPRS()]
CASES = [pytest.param(f, i, id=f"{f}{q}over{p}") for f, pairs in PAIRS.items() for i, (q, p) in enumerate(pairs)]


@functools.cache
def all_codes(coder, family):
    """Codes of N examples of every pair of a family, as NumPy arrays [pair, example]."""
    make = getattr(recjax, family)

    def encode(word, parameters):
        (q, p) = (make(a, b) for a, b in parameters)
        return jax.vmap(coder.encode, in_axes=(0, None, None))(keys(N, word), q, p)

    parameters = jnp.asarray(PAIRS[family], jnp.float32)
    words = jnp.arange(len(parameters), dtype=jnp.uint32)
    # pair by pair: the lanes of a pair run until its longest search ends
    return jax.tree.map(
        np.asarray, jax.jit(functools.partial(jax.lax.map, lambda args: encode(*args)))((words, parameters))
    )


def codes_of(coder, family, i):
    return jax.tree.map(lambda x: x[i], all_codes(coder, family))


@functools.cache
def normal_codes(coder, loc=1.0, scale=0.25, word=100):
    """Codes of N examples of N(loc, scale^2) over N(0, 1)."""
    encode = jax.jit(jax.vmap(coder.encode, in_axes=(0, None, None)))
    q, p = recjax.Normal(jnp.float32(loc), jnp.float32(scale)), recjax.Normal(jnp.float32(0), jnp.float32(1))
    return jax.tree.map(np.asarray, encode(keys(N, word), q, p))


# The checks.


def log2_steps(code):
    return np.log2(code.index.astype(np.float64) + 1)


# The exact samplers.


@pytest.mark.parametrize("family,i", CASES)
@pytest.mark.parametrize("coder", EXACT, ids=lambda coder: type(coder).__name__)
def test_samples_follow_the_target(coder, family, i):
    code = codes_of(coder, family, i)
    assert (code.status == recjax.Status.DONE).all()
    assert follows(code.sample, frozen(family, *PAIRS[family][i][0]))


@pytest.mark.parametrize("family,i", CASES)
@pytest.mark.parametrize("coder", EXACT, ids=lambda coder: type(coder).__name__)
def test_mean_steps_are_the_largest_density_ratio(coder, family, i):
    # The steps of GPRS have infinite variance where the ratio has a cusp (Laplace): the mean log index says more there.
    code = codes_of(coder, family, i)
    beyond = 1 if isinstance(coder, recjax.AStar) else 0  # the arrival that ends the search
    assert mean_is(code.steps, law(family, i).peak + beyond)
    if not beyond:
        np.testing.assert_array_equal(code.steps, code.index + 1)


@pytest.mark.parametrize("family,i", CASES)
@pytest.mark.parametrize("coder,excess", [(recjax.GPRS(), 1), (recjax.AStar(), 1.531)], ids=["GPRS", "AStar"])
def test_index_costs_little_more_than_the_divergence(coder, excess, family, i):
    values = log2_steps(codes_of(coder, family, i))
    assert values.mean() - SIGMAS * error(values) <= law(family, i).kl_bits() + excess


@pytest.mark.parametrize("family,i", CASES)
def test_mean_log_index_is_what_theory_says(family, i):
    exact = law(family, i)
    for coder, expected in ((recjax.GPRS(), exact.gprs_log2_steps()), (recjax.AStar(), exact.a_star_log2_steps())):
        # 1 + the bits: both may be zero
        assert mean_is(1 + log2_steps(codes_of(coder, family, i)), 1 + expected)


@pytest.mark.parametrize(
    "i,gprs_bits,a_star_bits", [(3, 0.579, 0.51), (0, 1.82, 1.71), (1, 4.90, 4.77)], ids=["short", "middle", "long"]
)
def test_mean_log_index_of_known_pairs(i, gprs_bits, a_star_bits):
    # these values were simulated with 6,000 samples or more
    for coder, expected in ((recjax.GPRS(), gprs_bits), (recjax.AStar(), a_star_bits)):
        values = log2_steps(codes_of(coder, "Normal", i))
        assert abs(values.mean() - expected) <= SIGMAS * np.hypot(error(values), values.std() / np.sqrt(6000))


# Exact samplers with a fault each.


@dataclasses.dataclass(frozen=True, kw_only=True)
class MisjudgedMaximum(recjax.RejectionSampler):
    """Rejection with the largest ratio off by a factor."""

    log_factor: float

    def examine(self, pair, carry, chunk):
        return super().examine(pair, carry, dataclasses.replace(chunk, log_ratio=chunk.log_ratio - self.log_factor))


class FaultyAStar(recjax.AStar):
    """A class of its own is compiled anew, while a fault is in place."""


class FaultyGPRS(recjax.GPRS):
    """As ``FaultyAStar``."""


class HastyAStar(recjax.AStar):
    """A* that takes the best of the first two candidates instead of waiting for a proof."""

    def examine(self, pair, carry, chunk):
        score = chunk.log_ratio - jnp.log(jnp.cumsum(chunk.exponentials(recjax.randomness.Stream.ARRIVAL)))
        k = jnp.argmax(score[:2])
        return Verdict(carry, jnp.int32(2), jnp.ones((), bool), chunk.index[k])


class FreshGPRS(recjax.GPRS):
    """GPRS whose first arrival after each record starts at time 0."""

    def examine(self, pair, carry, chunk):
        return super().examine(pair, (zero_time(), *carry[1:]), chunk)


def gaps_only(start, gaps):
    """Arrival times that are not accumulated."""
    high, low = jax.vmap(lambda gap: arrival_times(zero_time(), gap[None]))(gaps)
    return high[:, 0], low[:, 0]


def test_too_small_a_maximum_is_caught():
    assert not follows(normal_codes(MisjudgedMaximum(log_factor=-0.4)).sample, stats.norm(1, 0.25))


def test_too_large_a_maximum_is_caught():
    code = normal_codes(MisjudgedMaximum(log_factor=0.1))
    assert follows(code.sample, stats.norm(1, 0.25))
    assert not mean_is(code.steps, law("Normal", 0).peak)


def test_arrival_times_of_a_star_that_do_not_add_up_are_caught(monkeypatch):
    monkeypatch.setattr(a_star, "arrival_times", gaps_only)
    code = normal_codes(FaultyAStar(), 2.0, 0.1)
    assert not follows(code.sample, stats.norm(2, 0.1))
    assert not mean_is(code.steps, law("Normal", 1).peak + 1)
    assert not mean_is(log2_steps(code), law("Normal", 1).a_star_log2_steps())


def test_a_hasty_a_star_is_caught():
    code = normal_codes(HastyAStar())
    assert not follows(code.sample, stats.norm(1, 0.25))
    assert not mean_is(code.steps, law("Normal", 0).peak + 1)


def test_gprs_without_its_stretch_function_is_caught(monkeypatch):
    monkeypatch.setattr(gprs, "stretch_between", lambda pair, low, high: jnp.exp(high) - jnp.exp(low))
    code = normal_codes(FaultyGPRS(max_steps=64))  # most searches never end
    assert not (code.status == recjax.Status.DONE).all()
    assert not follows(code.sample, stats.norm(1, 0.25))
    assert not mean_is(code.steps, law("Normal", 0).peak)


def test_gprs_that_forgets_the_time_is_caught():
    assert not follows(normal_codes(FreshGPRS()).sample, stats.norm(1, 0.25))


# The samplers with a budget.

BUDGET = 5
MINIMAL, ORDERED = recjax.MinimalRandomCoder(budget_bits=BUDGET), recjax.OrderedRandomCoder(budget_bits=BUDGET)


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


@pytest.mark.parametrize("budget", [1, 3, BUDGET])
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
        squares = [square(normal_codes(coder(budget_bits=b), word=word)) for b in (1, 3, BUDGET)]
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


def test_a_choice_without_noise_is_caught():
    code = normal_codes(Noiseless(budget_bits=BUDGET))
    assert not agrees_with_simulation(code, ordered=False)
    assert not same_law(code.sample, simulated(False)[0])


def test_noise_that_does_not_add_up_is_caught(monkeypatch):
    monkeypatch.setattr(ordered_random, "arrival_times", gaps_only)
    assert not agrees_with_simulation(normal_codes(FaultyOrdered(budget_bits=BUDGET)), ordered=True)


def test_noise_that_ignores_the_budget_is_caught():
    assert not agrees_with_simulation(normal_codes(UnlimitedOrdered(budget_bits=BUDGET)), ordered=True)


# Greedy rejection, and GPRS by several processes.

GREEDY = recjax.GreedyRejectionSampler()
GREEDY_CASES = [
    pytest.param(
        *case.values, marks=() if case.values in {("Normal", 0), ("Normal", 1)} else pytest.mark.slow, id=case.id
    )
    for case in CASES
]
BY_PROCESSES = [
    pytest.param(
        coder, i, marks=() if quick else pytest.mark.slow, id=f"{coder.n_processes}-Normal{PAIRS['Normal'][i]}"
    )
    for coder, i, quick in [
        *((recjax.ParallelGPRS(n_processes=8), i, i == 1) for i in range(len(PAIRS["Normal"]))),
        *((recjax.ParallelGPRS(n_processes=n), 1, False) for n in (2, 32, 128)),
    ]
]
LOCAL_BITS = {2: 4.97, 8: 5.34, 32: 6.12, 128: 7.41}


@functools.cache
def batch_codes(coder, family, i, count=N):
    """Codes of examples of a pair by ``encode_batch``, which spends no time on searches that have ended."""
    make = getattr(recjax, family)
    q, p = PAIRS[family][i]
    targets = make(*(jnp.full(count, value, jnp.float32) for value in q))
    proposal = make(*(jnp.float32(value) for value in p))
    return jax.tree.map(np.asarray, coder.encode_batch(keys(count, i), targets, proposal))


@pytest.mark.parametrize("family,i", GREEDY_CASES)
def test_greedy_rejection(family, i):
    code, exact = batch_codes(GREEDY, family, i), law(family, i)
    assert (code.status == recjax.Status.DONE).all()
    assert follows(code.sample, frozen(family, *PAIRS[family][i][0]))
    assert mean_is(code.steps, exact.peak)
    np.testing.assert_array_equal(code.steps, code.index + 1)
    values = log2_steps(code)
    assert values.mean() - SIGMAS * error(values) <= exact.kl_bits() + 1
    assert mean_is(1 + values, 1 + greedy_log2_steps(exact))


def greedy_log2_steps(exact, longest=5000):
    """E[log2 K] from the levels: P(K > k) is what k candidates left."""
    level, left = 0.0, [1.0]
    while left[-1] > 1e-9 and len(left) < longest:
        level += left[-1]
        left.append(max(float(exact.survival(level)), 0) if level < exact.peak else 0.0)
    left = np.array(left)
    return np.sum(left[1:] * np.diff(np.log2(np.arange(1, left.size + 1))))


@pytest.mark.parametrize("coder,i", BY_PROCESSES)
def test_several_processes(coder, i):
    n = coder.n_processes
    code, exact = batch_codes(coder, "Normal", i), law("Normal", i)
    assert (code.status == recjax.Status.DONE).all()
    assert follows(code.sample, frozen("Normal", *PAIRS["Normal"][i][0]))
    assert mean_is(code.steps, exact.peak + n - 1)
    local = np.log2(code.index // n + 1.0)
    divergence = exact.kl_bits()
    lengths = jax.vmap(lambda k: coder.codelength(None, k, recjax.Normal(0.0, 1.0), rate_bits=divergence))(code.index)
    # a theorem on the code, where the process takes fewer bits than the divergence
    assert lengths.mean() <= max(divergence, np.log2(n)) + np.log2(max(divergence - np.log2(n), 0) + 1) + 8
    process = np.bincount(code.index % n, minlength=n)
    assert stats.chisquare(process).pvalue > LEAST_P
    if i == 1:  # simulated with 6,000 samples or more
        assert abs(np.log2(n) + local.mean() - LOCAL_BITS[n]) <= SIGMAS * np.hypot(
            error(local), local.std() / 6000**0.5
        )


def test_one_process_is_gprs():
    q, p = recjax.Normal(2.0, 0.1), recjax.Normal(0.0, 1.0)
    coders = recjax.ParallelGPRS(n_processes=1), recjax.GPRS()
    one, plain = (jax.jit(jax.vmap(c.encode, (0, None, None)))(keys(500, 103), q, p) for c in coders)
    for field in dataclasses.fields(plain):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(plain, field.name))


class FaultyGreedy(recjax.GreedyRejectionSampler):
    """Greedy rejection that forgets its levels between chunks, and with them the mass that is gone."""

    def examine(self, pair, carry, chunk):
        return dataclasses.replace(super().examine(pair, carry, chunk), carry=carry)


class FaultyParallelGPRS(recjax.ParallelGPRS):
    """As ``FaultyAStar``."""


def test_forgotten_levels_are_caught():
    code = batch_codes(FaultyGreedy(), "Normal", 1)
    assert not follows(code.sample, stats.norm(2, 0.1)) or not mean_is(code.steps, law("Normal", 1).peak)


def test_processes_out_of_step_are_caught(monkeypatch):
    monkeypatch.setattr(parallel_gprs, "time_value", lambda time, dtype: 0.125 * time_value(time, dtype))
    code = batch_codes(FaultyParallelGPRS(), "Normal", 0)
    assert not follows(code.sample, stats.norm(1, 0.25))
