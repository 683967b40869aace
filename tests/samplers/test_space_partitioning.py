"""Space partitioning: samples, steps, code lengths. Every check is also shown to reject a broken sampler."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import LEAST_P, SIGMAS, N, error, frozen, keys, make, mean_is, same_mean
from scipy import stats

import recjax
from recjax.samplers._search.partitioned_pair import PartitionedPair

A_STAR, GPRS = recjax.SpacePartitionedAStar, recjax.SpacePartitionedGPRS
PROPOSALS = {"UniformMixture": "Uniform", "Triangular": "Uniform"}

# family, parameters of the target and of the proposal, bits
SCALARS = [
    ("Normal", (2.0, 0.1), (0.0, 1.0), (2,)),
    ("Normal", (-1.0, 0.8), (-3.0, 2.5), (1,)),
    ("Laplace", (0.5, 0.2), (0.0, 1.0), (3,)),
    ("Uniform", (0.3, 0.31), (0.0, 1.0), (4,)),
    ("Triangular", (1.0, 2.5), (0.0, 4.0), (1,)),
]
VECTORS = [
    ("Normal", ((1.0, -0.5), (0.1, 0.5)), ((0.0, 0.0), (1.0, 1.0)), (3, 1)),
    ("Laplace", ((2.0, 0.1), (0.2, 0.5)), ((0.5, -0.1), (2.0, 1.0)), (0, 2)),
    (
        "Normal",
        ((1.0, -0.5, 0.1, 0.2), (0.1, 0.5, 0.8, 0.3)),
        ((0.0,) * 4, (1.0,) * 4),
        (4, 1, 0, 2),
    ),
    # 20 bits, D_inf 21 bits: more bins than counts of candidates
    ("Normal", ((3.0, -1.0), (0.002, 0.0015)), ((0.0, 0.0), (1.0, 1.0)), (10, 10)),
]
MIXTURE = ("UniformMixture", ((2.0, 0.5, 3.0), (2.5, 1.5, 3.25), (3.0, 5.0, 2.0)), (0.0, 4.0), (3,))
SLOW = [
    ("Normal", (2.0, 0.1), (0.0, 1.0), (4,)),
    ("Normal", (100.05, 0.02), (100.0, 0.1), (1,)),
    ("Normal", (0.0, 1.0), (0.0, 1.0), (2,)),
    ("Laplace", (2.0, 0.6), (3.0, 2.0), (1,)),
    ("Uniform", (-1.0, 1.5), (-5.0, 3.0), (2,)),
]
CASES = [
    *((A_STAR, case, False) for case in [SCALARS[0], VECTORS[1], MIXTURE]),
    *((A_STAR, case, True) for case in [*SCALARS[1:], VECTORS[0], *VECTORS[2:]]),
    *((GPRS, case, True) for case in SCALARS),
    *((coder, case, True) for case in SLOW for coder in (A_STAR, GPRS)),
]
each_case = pytest.mark.parametrize(
    "coder,case",
    [
        pytest.param(
            coder,
            case,
            id=f"{coder.__name__}-{case[0]}-{case[1]}-{case[3]}".replace(" ", ""),
            marks=pytest.mark.slow if slow else (),
        )
        for coder, case, slow in CASES
    ],
)
MIDDLE = SCALARS[0]


@functools.cache
def codes(coder, case):
    """Codes of N examples, or fewer if there are large tables for each, as NumPy arrays."""
    family, target, proposal, bits = case
    q, p = make(family, target), make(PROPOSALS.get(family, family), proposal)
    code = jax.jit(jax.vmap(coder(bits=bits, max_steps=1 << 12).encode, (0, None, None)))(
        keys(N if max(bits) < 10 else 2000, 500), q, p
    )
    return jax.tree.map(np.asarray, code)


def components(case):
    """Target, proposal and bits of every component, in SciPy."""
    family, target, proposal, bits = case
    if len(bits) == 1:
        return [(frozen(family, target), frozen(PROPOSALS.get(family, family), proposal), bits[0])]
    parts = zip(zip(*target, strict=True), zip(*proposal, strict=True), bits, strict=True)
    return [(frozen(family, q), frozen(family, p), b) for q, p, b in parts]


def largest_ratios(q, p, bits):
    """The largest dQ/dP on every bin, from a grid of quantiles of both."""
    n = 200_000
    u = (np.arange(n) + 0.5) / n
    x = np.unique(np.concatenate([p.ppf(u), q.ppf(u), p.ppf([0.5])]))
    ratio = np.exp(q.logpdf(x) - p.logpdf(x))
    place = np.minimum((p.cdf(x) * 2**bits).astype(int), 2**bits - 1)
    return np.array([ratio[place == c].max(initial=0) for c in range(2**bits)])


def mean_of_largest_ratios(case):
    return np.prod([largest_ratios(*component).mean() for component in components(case)])


def follows(code, case):
    """Every component by Kolmogorov-Smirnov, and all pairs of them by the correlation of their quantiles."""
    laws = [q for q, _, _ in components(case)]
    quantiles = [
        q.cdf(x.astype(np.float64))
        for q, x in zip(laws, code.sample.reshape(code.steps.size, -1).T, strict=True)
    ]
    values = [stats.kstest(u, "uniform").pvalue for u in quantiles]
    values += [stats.pearsonr(u, v).pvalue for i, u in enumerate(quantiles) for v in quantiles[:i]]
    return min(values) > LEAST_P


def log2_ranks(code):
    return np.log2(code.index[:, 1] + 1.0)


@each_case
def test_samples_follow_the_target(coder, case):
    code = codes(coder, case)
    assert (code.status == recjax.Status.DONE).all()
    assert follows(code, case)


@each_case
def test_mean_steps_are_the_mean_of_the_largest_ratios(coder, case):
    beyond = 1 if coder is A_STAR else 0
    assert mean_is(codes(coder, case).steps, mean_of_largest_ratios(case) + beyond)


@each_case
def test_a_bin_holds_its_share_of_the_target(coder, case):
    code, bits = codes(coder, case), np.array(case[3])
    number = code.index[:, 0].astype(int)
    for component, (q, p, b) in enumerate(components(case)):
        counts = np.bincount((number >> bits[component + 1 :].sum()) % 2**b, minlength=2**b)
        expected = number.size * np.diff(q.cdf(p.ppf(np.arange(2**b + 1) / 2**b)))
        rare = expected < 5
        counts, expected = ([*x[~rare], x[rare].sum()] for x in (counts, expected))
        assert stats.chisquare(counts, np.array(expected) + 1e-9, sum_check=False).pvalue > LEAST_P


@each_case
def test_the_index_costs_little_more_than_the_divergence(coder, case):
    family, target, proposal, bits = case
    p = make(PROPOSALS.get(family, family), proposal)
    divergence, used = float(recjax.kl_bits(make(family, target), p)), sum(bits)
    ranks = log2_ranks(codes(coder, case))
    excess = np.log2(np.e) / np.e + 1 if coder is A_STAR else 1
    assert used + ranks.mean() - SIGMAS * error(ranks) <= max(divergence, used) + excess
    # the bound of the paper on the code
    coder = coder(bits=bits)
    lengths = jax.jit(jax.vmap(lambda i: coder.codelength(None, i, p, rate_bits=divergence)))(
        codes(type(coder), case).index
    )
    assert (
        lengths.mean()
        <= max(divergence, used) + excess + np.log2(max(divergence - used, 0) + excess + 1) + 4
    )


MEASURED = {0: 4.74, 2: 4.95, 4: 5.31, 6: 6.16, 8: 8.02}


def mostly_slow(*quick, slow=()):
    """Numbers of bits: each compiles a program."""
    return pytest.mark.parametrize(
        "bits", [*quick, *(pytest.param(bits, marks=pytest.mark.slow) for bits in slow)]
    )


@mostly_slow(2, slow=(0, 4, 6, 8))
def test_bits_of_bin_and_rank_agree_with_an_independent_simulation(bits):
    ranks = log2_ranks(codes(A_STAR, (*MIDDLE[:3], (bits,))))
    assert (
        abs(bits + ranks.mean() - MEASURED[bits])
        <= SIGMAS * np.hypot(error(ranks), ranks.std() / 6000**0.5) + 0.005
    )


@pytest.mark.slow
def test_one_bin_costs_what_a_star_does():
    one = codes(A_STAR, (*MIDDLE[:3], (0,)))
    plain = jax.jit(jax.vmap(recjax.AStar().encode, (0, None, None)))(
        keys(N, 501), make(*MIDDLE[:2]), make("Normal", MIDDLE[2])
    )
    assert same_mean(log2_ranks(one), np.log2(np.asarray(plain.index) + 1.0))
    assert same_mean(one.steps, np.asarray(plain.steps))


# Other shares.


class PaperPair(PartitionedPair):
    """Shares pi_j = Q(B_j)."""

    def _tops(self, low, high):
        self.largest = super()._tops(low, high)
        return jnp.log(self.plain.target.mass(low, high))

    def log_ratio_max(self):
        drawn = self.log_shares > -jnp.inf
        return jnp.max(
            jnp.where(drawn, self.largest - jnp.where(drawn, self.log_shares, 0), -jnp.inf)
        )


class PaperAStar(A_STAR):
    def pair(self, target, proposal):
        return PaperPair(target, proposal, self.bits)


@mostly_slow(slow=(1, 2, 4))
def test_the_shares_of_the_paper_change_only_the_steps(bits):
    case = (*MIDDLE[:3], (bits,))
    code, ours = codes(PaperAStar, case), codes(A_STAR, case)
    assert follows(code, case)
    assert same_mean(log2_ranks(code), log2_ranks(ours))
    ((q, p, _),) = components(case)
    mass = np.diff(q.cdf(p.ppf(np.arange(2**bits + 1) / 2**bits)))
    largest = largest_ratios(q, p, bits)
    some = mass > 1e-9
    assert mean_is(code.steps, (largest[some] / (2**bits * mass[some])).max() + 1)
    assert ours.steps.mean() - SIGMAS * error(ours.steps) <= code.steps.mean() + SIGMAS * error(
        code.steps
    )


@mostly_slow(slow=(1, 2, 4))
def test_the_divergence_from_the_papers_search_proposal(bits):
    """D_KL(Q || P') = D_KL(Q || P) - (log2 J - H[Q(B)])."""
    case = (*MIDDLE[:3], (bits,))
    code = codes(PaperAStar, case)
    target, proposal = make(*case[:2]), make("Normal", case[2])
    pair = PaperPair(target, proposal, case[3])
    ratios = jax.jit(jax.vmap(lambda x, b: pair.log_ratio((x, b))))(
        code.sample, code.index[:, 0]
    ) / np.log(2)
    ((q, p, _),) = components(case)
    mass = np.diff(q.cdf(p.ppf(np.arange(2**bits + 1) / 2**bits)))
    expected = float(recjax.kl_bits(target, proposal)) - bits + stats.entropy(mass, base=2)
    assert mean_is(1 + np.asarray(ratios, float), 1 + expected)


# Broken samplers.


class ForgottenShares(PartitionedPair):
    """r instead of r'."""

    def log_ratio(self, x):
        return self.plain.log_ratio(x[0])

    def log_ratio_max(self):
        return self.plain.log_ratio_max()


class OtherShares(PartitionedPair):
    """Bins drawn as often as each other."""

    def bins(self, key, number):
        return recjax.randomness.coordinate_bits(key, number, 1)[0] >> (32 - sum(self.bits))


class SmallMaximum(PartitionedPair):
    def log_ratio_max(self):
        return super().log_ratio_max() - 1


def broken(pair_class):
    class Broken(A_STAR):
        def pair(self, target, proposal):
            return pair_class(target, proposal, self.bits)

    return Broken


@pytest.mark.slow
@pytest.mark.parametrize("fault", [ForgottenShares, OtherShares, SmallMaximum])
def test_faulty_shares_are_caught(fault):
    code = codes(broken(fault), VECTORS[0])
    assert not follows(code, VECTORS[0])


class NoRanks(A_STAR):
    """Every candidate of a bin is its first."""

    def _places(self, pair, counts, words, index):
        places, groups = super()._places(pair, counts, words, index)
        return places.at[:, 1].set(0), groups


class ForgetfulRanks(A_STAR):
    """Counts only within a chunk."""

    def examine(self, pair, state, chunk):
        verdict = super().examine(pair, state, chunk)
        return dataclasses.replace(verdict, state=verdict.state._replace(counts=state.counts))


@pytest.mark.slow
@pytest.mark.parametrize("fault", [NoRanks, ForgetfulRanks])
def test_faulty_ranks_are_caught(fault):
    case = ("Normal", (2.0, 0.05), (0.0, 1.0), (1,))
    code = codes(fault, case)
    assert not follows(code, case) or not mean_is(code.steps, mean_of_largest_ratios(case) + 1)


# Bits.


def test_bits_go_where_the_divergence_is():
    assert recjax.allot_bits([5.0, 0.5, 2.5], 6) == (4, 0, 2)
    assert recjax.allot_bits(np.array([1.0, 1.0, 1.0]), 2) == (1, 1, 0)
    assert recjax.allot_bits([0.4, 0.4, 0.4], 1) == (1, 0, 0)
    assert recjax.allot_bits([], 0) == ()
    assert recjax.allot_bits([20.0, 3.0], 12) == (10, 2)


@pytest.mark.parametrize(
    "kl_bits,total_bits,message",
    [
        ([1.0, 2.0], 4, "more than the divergence 3"),
        ([40.0], 31, "total_bits"),
        ([40.0], 12, "more than 10 per component"),
        ([1.0], -1, "total_bits"),
        ([1.0], 0.5, "total_bits"),
        ([-1.0, 3.0], 1, "kl_bits"),
        ([np.nan], 0, "kl_bits"),
        ([[1.0]], 0, "kl_bits"),
    ],
)
def test_bits_that_cannot_be_allotted(kl_bits, total_bits, message):
    with pytest.raises(ValueError, match=message):
        recjax.allot_bits(kl_bits, total_bits)


def test_bits_for_another_event_are_refused():
    q, p = (recjax.Normal(np.zeros(3, np.float32), scale) for scale in (0.5, 1.0))
    coder = A_STAR(bits=(1, 2))
    for call in (coder.encode, jax.jit(coder.encode)):
        with pytest.raises(ValueError, match="bits: 2 numbers do not fit the 3 components"):
            call(jax.random.key(0), q, p)
    with pytest.raises(ValueError, match="bits: 2 numbers"):
        coder.decode(jax.random.key(0), np.zeros(2, np.uint32), p)


def test_gprs_of_vectors_is_refused():
    q, p = (recjax.Normal(np.zeros(2, np.float32), scale) for scale in (0.5, 1.0))
    with pytest.raises(ValueError, match="scalar pairs only"):
        GPRS(bits=(1, 1)).encode(jax.random.key(0), q, p)


def test_proposals_without_quantiles_are_refused():
    q, p = recjax.Categorical(np.zeros(4, np.float32)), recjax.Categorical(np.ones(4, np.float32))
    with pytest.raises(ValueError, match="quantile"):
        A_STAR().encode(jax.random.key(0), q, p)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Diagonal:
    """Both components equal but for a little noise: not independent."""

    loc: jax.Array

    @property
    def event_shape(self):
        return self.loc.shape


@recjax.register_pair(Diagonal, recjax.Uniform)
class DiagonalPair(recjax.Pair):
    def log_ratio(self, x):
        return jnp.where(abs(x[0] - x[1]) < 0.1, 1.0, -jnp.inf)

    def log_ratio_max(self):
        return jnp.float32(1.0)


def test_dependent_components_are_refused():
    q, p = Diagonal(jnp.zeros(2)), recjax.Uniform(np.zeros(2, np.float32), 1.0)
    with pytest.raises(ValueError, match="dependent"):
        A_STAR(bits=(1, 1)).encode(jax.random.key(0), q, p)


@pytest.mark.slow
def test_a_batch_of_vectors_gives_the_bits_of_vmap():
    family, target, proposal, bits = VECTORS[-1]
    coder, q, p = A_STAR(bits=bits), make(family, target), make(family, proposal)
    batch = coder.encode_batch(
        keys(200, 500), jax.tree.map(lambda x: jnp.broadcast_to(x, (200, *x.shape)), q), p
    )
    for a, b in zip(
        jax.tree.leaves(batch), jax.tree.leaves(codes(A_STAR, VECTORS[-1])), strict=True
    ):
        np.testing.assert_array_equal(a, b[:200])
    decoded = jax.vmap(coder.decode, (0, 0, None))(keys(200, 500), batch.index, p)
    np.testing.assert_array_equal(decoded, batch.sample)
