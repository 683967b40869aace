"""Divergences and width functions against closed forms, tables, brute force and each other."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference_law import ReferenceLaw
from scipy import special, stats

import recjax
from recjax import Laplace, Normal, Uniform

SCALARS = (recjax.kl_bits, recjax.channel_simulation_bits, recjax.renyi_inf_bits)
NAMES = ("kl", "channel_simulation", "renyi_inf")


@functools.partial(jax.jit, static_argnums=0)
def _all_bits(family, parameters):
    def bits(q, p):
        pair = family(*q), family(*p)
        return jnp.stack([function(*pair) for function in SCALARS])

    return jax.vmap(bits)(*parameters)


def all_bits(family, targets, proposals):
    """KL, D_CS and D_inf in bits of many pairs: the parameters are arrays [pair, 2]."""
    pairs = np.broadcast_arrays(targets, proposals)
    padded = tuple(
        jnp.asarray(np.resize(parameters, (300, 2))) for parameters in pairs
    )  # one program for all
    return np.asarray(_all_bits(family, padded), np.float64)[: len(pairs[0])].T


def frozen(distribution):
    """The same scalar distribution in SciPy."""
    a, b = (float(value) for value in jax.tree.leaves(distribution))
    if isinstance(distribution, Uniform):
        return stats.uniform(a, b - a)
    return {Normal: stats.norm, Laplace: stats.laplace}[type(distribution)](a, b)


@pytest.mark.parametrize(
    "m,s,expected",
    [
        (0, 0.5, (0.45899, 0.85666, 1.0000)),
        (1, 0.5, (1.18034, 1.73438, 1.9618)),
        (1, 0.25, (2.04508, 2.56764, 2.7694)),
        (2, 0.1, (5.49318, 6.02846, 6.2365)),
        (3, 0.9, (6.50707, 8.63089, 34.3211)),
    ],
)
def test_known_values_of_normal_pairs(m, s, expected):
    for loc, scale in ((0, 1), (-4, 2.5)):
        q, p = Normal(m * scale + loc, s * scale), Normal(loc, scale)
        np.testing.assert_allclose([f(q, p) for f in SCALARS], expected, rtol=0, atol=1e-4)


VECTORS = [
    (1, 1.1803, 1.7344),
    (2, 2.3607, 3.2372),
    (5, 5.9017, 7.3122),
    (10, 11.8034, 13.6661),
    (20, 23.6067, 25.9436),
    (32, 37.7708, 40.4366),
]


@pytest.mark.parametrize(
    "d,kl,cs,x64",
    [
        # a program each
        pytest.param(
            *row, x64, marks=() if (row[0], x64) in ((2, True), (32, False)) else pytest.mark.slow
        )
        for row in VECTORS
        for x64 in (False, True)
    ],
)
def test_known_values_of_normal_vectors(d, kl, cs, x64):
    with jax.enable_x64(x64):
        dtype = np.float64 if x64 else np.float32
        q, p = Normal(np.ones(d, dtype), 0.5), Normal(np.zeros(d, dtype), 1.0)
        assert abs(recjax.kl_bits(q, p) - kl) < 1e-4
        assert abs(recjax.renyi_inf_bits(q, p) - d * (1 + 2 / (3 * math.log(2)))) < 1e-4 * d
        assert abs(recjax.channel_simulation_bits(q, p) - cs) < 1e-4


@pytest.mark.parametrize("ratio", [1.0, 1.5, 4.0, 1000.0])
def test_uniform_pairs_have_a_closed_form(ratio):
    for low, width in ((0.0, 1.0), (-7.0, 3.0)):
        q, p = (
            Uniform(low + width / 2 * (1 - 1 / ratio), low + width / 2 * (1 + 1 / ratio)),
            Uniform(low, low + width),
        )
        np.testing.assert_allclose(
            [f(q, p) for f in SCALARS], math.log2(ratio), rtol=1e-4, atol=1e-6
        )
        w_p, w_q = recjax.width_function(
            q, p, jnp.asarray([0.0, 0.5 * ratio, 0.99 * ratio, 1.01 * ratio])
        )
        np.testing.assert_allclose(w_p[1:], [1 / ratio, 1 / ratio, 0], rtol=1e-3)
        np.testing.assert_allclose(w_q, [1, 1, 1, 0], atol=1e-6)


def laplace_closed_form(b):
    kl = (b - 1 - np.log(b)) / math.log(2)
    return kl, (b + special.digamma(1 / b) + np.euler_gamma - 1) / math.log(2), -np.log2(b)


def test_centred_laplace_pairs_have_a_closed_form():
    b = np.exp(-np.array([0.01, 0.3, 1, 2, 4, 7, 10]))
    ours = all_bits(Laplace, np.stack([0 * b, b], 1).astype(np.float32), np.float32([0, 1]))
    np.testing.assert_allclose(ours, laplace_closed_form(b), atol=1e-4)
    np.testing.assert_allclose(
        ours[1, -1] - ours[0, -1], np.euler_gamma / math.log(2), atol=1e-3
    )  # the limit b -> 0
    levels = jnp.asarray([0.1, 1.0, 3.0])
    w_p, _ = recjax.width_function(Laplace(0.0, 0.25), Laplace(0.0, 1.0), levels)
    np.testing.assert_allclose(w_p, 1 - (0.25 * np.asarray(levels)) ** (0.25 / 0.75), rtol=1e-5)


def test_float64_is_accurate_to_float64():
    with jax.enable_x64(True):
        b = np.array([0.05, 0.4, 0.9])
        ours = all_bits(Laplace, np.stack([0 * b, b], 1), np.array([0.0, 1.0]))
        np.testing.assert_allclose(ours, laplace_closed_form(b), rtol=1e-8)


def random_pairs(family, count, seed=0):
    """Parameters of targets and proposals, shaped [pair, 2]."""
    rng = np.random.default_rng(seed)
    a, scale = rng.uniform(-5, 5, count), np.exp(rng.uniform(-2, 2, count))
    if family is Uniform:
        inside = np.sort(rng.uniform(0.001, 0.999, (count, 2)), axis=1)
        inside[:, 1] += 0.0005
        targets, proposals = a[:, None] + inside * scale[:, None], np.stack([a, a + scale], 1)
    else:
        loc, width = rng.uniform(-3, 3, count), np.exp(rng.uniform(-6, -0.1, count))
        targets, proposals = np.stack([a + loc * scale, width * scale], 1), np.stack([a, scale], 1)
    return targets.astype(np.float32), proposals.astype(np.float32)


@pytest.mark.parametrize("family", [Normal, Laplace, Uniform])
def test_divergences_are_ordered(family):
    targets, proposals = random_pairs(family, 300)
    kl, cs, inf = all_bits(family, targets, proposals)
    slack = 1e-4 * (1 + kl)
    assert (kl >= 0).all()
    assert (kl <= cs + slack).all()
    assert (cs <= kl + np.log2(kl + 1) + 1 + slack).all()
    assert (cs <= inf + slack).all()

    def total_variation(q, p):
        w_p, w_q = recjax.width_function(family(*q), family(*p), jnp.float32(1))
        return w_q - w_p

    variation = jax.jit(jax.vmap(total_variation))(jnp.asarray(targets), jnp.asarray(proposals))
    assert (variation <= 1 - 2.0**-cs + 1e-4).all()
    if family is not Uniform:
        assert (cs - kl > 0.05).any() and (inf - cs > 0.3).any()


PAIRS = [
    (Normal(1.0, 0.25), Normal(0.0, 1.0)),
    (Normal(-2.0, 1.5), Normal(3.0, 2.0)),
    (Normal(0.1, 0.01), Normal(0.0, 1.0)),
    (Laplace(-0.7, 0.3), Laplace(0.0, 1.0)),
    (Laplace(2.0, 1.5), Laplace(1.0, 2.0)),
    (Laplace(1.0, 2.0), Laplace(0.0, 2.0)),
    (Uniform(0.25, 0.5), Uniform(-1.0, 1.0)),
]


@pytest.mark.parametrize("q,p", PAIRS, ids=lambda d: type(d).__name__)
def test_width_functions_agree_with_brute_force(q, p):
    peak = 2 ** float(recjax.renyi_inf_bits(q, p))
    exact = ReferenceLaw(frozen(q), frozen(p), peak)
    levels = peak * np.array([1e-6, 1e-3, 0.05, 0.2, 0.5, 0.8, 0.97, 0.9999])
    w_p, w_q = recjax.width_function(q, p, jnp.asarray(levels, jnp.float32))
    reference = exact.widths(levels)
    np.testing.assert_allclose(w_p, reference[0], rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(w_q, reference[1], rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(recjax.kl_bits(q, p), exact.kl_bits(), atol=1e-4)
    np.testing.assert_allclose(
        recjax.channel_simulation_bits(q, p), exact.channel_simulation_bits(), atol=3e-4
    )


@pytest.mark.parametrize("q,p", PAIRS, ids=lambda d: type(d).__name__)
def test_the_width_function_is_a_density_whose_moments_are_the_divergences(q, p):
    peak = 2 ** float(recjax.renyi_inf_bits(q, p))
    t, weight = np.polynomial.legendre.leggauss(20)
    edges = np.linspace(0, math.sqrt(40), 81)  # ln h = ln peak - t^2
    t = ((edges[1:] + edges[:-1]) / 2)[:, None] + np.diff(edges)[:, None] / 2 * t
    weight = np.broadcast_to(weight * edges[1] / 2, t.shape)
    h = peak * np.exp(-t * t)
    w_p, w_q = (
        np.asarray(w, np.float64) for w in recjax.width_function(q, p, jnp.asarray(h, jnp.float32))
    )
    assert w_p.shape == h.shape
    mass = weight * 2 * t * h * w_p
    np.testing.assert_allclose(mass.sum(), 1, atol=1e-4)
    # E[H] = E_Q[r] / 2
    np.testing.assert_allclose((mass * h).sum(), (weight * 2 * t * h * w_q).sum() / 2, rtol=1e-3)
    assert abs((mass * np.log2(h)).sum() + math.log2(math.e) - recjax.kl_bits(q, p)) < 5e-4
    entropy = -special.xlogy(mass, np.where(w_p > 0, w_p, 1)).sum() / math.log(2)
    assert abs(entropy - recjax.channel_simulation_bits(q, p)) < 5e-4


@pytest.mark.parametrize("q,p", PAIRS, ids=lambda d: type(d).__name__)
def test_width_functions_end_at_the_largest_ratio(q, p):
    peak = 2 ** float(recjax.renyi_inf_bits(q, p))
    w_p, w_q = recjax.width_function(q, p, jnp.asarray([[0.0, 1.001 * peak]], jnp.float32))
    assert w_q.shape == (1, 2)
    np.testing.assert_allclose(w_q, [[1, 0]], atol=1e-6)
    np.testing.assert_array_equal(w_p[0, 1], 0)
    if not isinstance(q, Uniform):  # where the ratio is nowhere zero
        np.testing.assert_allclose(w_p[0, 0], 1, atol=1e-6)


def test_nothing_to_say_costs_nothing():
    for p in (Normal(1.0, 2.0), Laplace(1.0, 2.0), Uniform(1.0, 2.0)):
        np.testing.assert_allclose([f(p, p) for f in SCALARS], 0, atol=1e-6)


def test_divergences_do_not_change_under_affine_maps():
    for family in (Normal, Laplace):
        targets, proposals = random_pairs(family, 300, seed=1)
        plain = all_bits(family, targets, proposals)
        mapped = all_bits(
            family, targets * 4 + np.float32([1, 0]), proposals * 4 + np.float32([1, 0])
        )
        np.testing.assert_allclose(mapped, plain, rtol=1e-3, atol=1e-3)
        mirrored = all_bits(family, targets * np.float32([-1, 1]), proposals * np.float32([-1, 1]))
        np.testing.assert_allclose(mirrored, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "family", [Laplace, *(pytest.param(each, marks=pytest.mark.slow) for each in (Normal, Uniform))]
)
def test_gradients_are_finite_differences(family):
    parameters = [0.2, 0.3, -0.2, 1.1] if family is Uniform else [0.7, 0.3, -0.2, 1.1]

    def bits(values):
        return jnp.stack(
            [f(family(values[0], values[1]), family(values[2], values[3])) for f in SCALARS]
        )

    with jax.enable_x64(True):
        values, step = np.array(parameters), 1e-5
        jacobian = np.asarray(jax.jit(jax.jacrev(bits))(jnp.asarray(values)))
        steps = step * np.eye(4)
        moved = np.asarray(
            jax.jit(jax.vmap(bits))(jnp.asarray(np.concatenate([values + steps, values - steps])))
        )
        differences = (moved[:4] - moved[4:]).T / (2 * step)
    np.testing.assert_allclose(jacobian, differences, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 8, 32])
def test_gradients_of_normal_vectors_are_finite_differences(d):
    def bits(shift, scale, proposal_scale):
        q = Normal(shift * jnp.linspace(-1, 1, d, dtype=shift.dtype), jnp.full(d, scale))
        return recjax.channel_simulation_bits(
            q, Normal(jnp.zeros(d, shift.dtype), jnp.full(d, proposal_scale))
        )

    values = (0.7, 0.4, 1.1)
    single = jax.jit(jax.grad(bits, (0, 1, 2)))(*(jnp.float32(value) for value in values))
    with jax.enable_x64(True):
        gradient = np.asarray(
            jax.jit(jax.grad(bits, (0, 1, 2)))(*(jnp.asarray(value) for value in values))
        )
        steps, plain = 1e-5 * np.eye(3), jax.jit(jax.vmap(bits))
        up, down = (np.asarray(plain(*jnp.asarray((values + sign * steps).T))) for sign in (1, -1))
    np.testing.assert_allclose(gradient, (up - down) / 2e-5, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(single, gradient, rtol=2e-3)


@pytest.mark.parametrize("family", [Laplace, pytest.param(Normal, marks=pytest.mark.slow)])
def test_gradients_are_finite(family):
    def total(target, proposal):
        return sum(f(family(*target), family(*proposal)) for f in SCALARS)

    targets, proposals = random_pairs(family, 100, seed=2)
    targets[:20, 0] = proposals[:20, 0]  # no shift
    for gradient in jax.jit(jax.vmap(jax.grad(total, (0, 1))))(
        jnp.asarray(targets), jnp.asarray(proposals)
    ):
        assert np.isfinite(gradient).all()


@pytest.mark.slow
def test_width_functions_have_gradients():
    @jax.jit
    def widths(parameters):
        return recjax.width_function(
            Normal(*parameters), Normal(jnp.float32(0), jnp.float32(1)), jnp.float32(2)
        )[0]

    gradient = jax.grad(widths)(jnp.asarray([1.0, 0.5]))
    step = 1e-2
    for i, direction in enumerate(np.eye(2, dtype=np.float32)):
        moved = [widths(jnp.asarray(np.float32([1, 0.5]) + s * step * direction)) for s in (1, -1)]
        np.testing.assert_allclose(gradient[i], (moved[0] - moved[1]) / (2 * step), rtol=1e-2)


@pytest.mark.parametrize(
    "q,p",
    [
        PAIRS[3],
        *(pytest.param(*pair, marks=pytest.mark.slow) for pair in (PAIRS[0], PAIRS[6])),
    ],
    ids=lambda d: type(d).__name__,
)
def test_compiled_and_batched_values_are_the_plain_ones(q, p):
    def values(q, p):
        return jnp.stack(
            [
                *(function(q, p) for function in SCALARS),
                *recjax.width_function(q, p, jnp.float32(0.7)),
            ]
        )

    np.testing.assert_allclose(jax.jit(values)(q, p), values(q, p), rtol=1e-5)
    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), q, p)
    batched = jax.jit(jax.vmap(values, in_axes=(0, None)))(both, p)
    np.testing.assert_allclose(batched, [values(q, p), values(p, p)], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", [Normal, Laplace])
@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_bad_scales_are_refused(family, scale):
    with pytest.raises(ValueError, match="scale"):
        family(0.0, scale)
    with pytest.raises(ValueError, match="loc"):
        family(math.nan if scale == 0 else math.inf, 1.0)


@pytest.mark.parametrize(
    "low,high,name", [(1, 0, "high"), (0, 0, "high"), (math.nan, 1, "low"), (0, math.inf, "high")]
)
def test_bad_intervals_are_refused(low, high, name):
    with pytest.raises(ValueError, match=name):
        Uniform(low, high)


@pytest.mark.parametrize("function", SCALARS, ids=NAMES)
def test_pairs_without_meaning_are_refused(function):
    with pytest.raises(ValueError, match="interval"):  # not absolutely continuous
        function(Uniform(-0.5, 0.5), Uniform(0.0, 1.0))
    with pytest.raises(ValueError, match="shape"):
        function(Normal(jnp.zeros(2), 0.5), Normal(0.0, 1.0))
    with pytest.raises(ValueError, match="Normal over a Laplace"):
        function(Normal(0.0, 0.5), Laplace(0.0, 1.0))


@pytest.mark.parametrize("family", [Normal, Laplace])
def test_wider_targets_have_a_divergence_but_no_bound(family):
    q, p = family(0.5, 1.5), family(0.0, 1.0)
    assert 0 < recjax.kl_bits(q, p) < 1
    assert recjax.renyi_inf_bits(q, p) == math.inf
    for function in (
        recjax.channel_simulation_bits,
        functools.partial(recjax.width_function, h=1.0),
    ):
        with pytest.raises(ValueError, match="unbounded"):
            function(q, p)


def test_shifted_targets_of_equal_scale():
    q, p = Normal(0.5, 1.0), Normal(0.0, 1.0)
    assert abs(recjax.kl_bits(q, p) - 0.125 / math.log(2)) < 1e-5
    assert recjax.renyi_inf_bits(q, p) == math.inf
    with pytest.raises(ValueError, match="unbounded"):
        recjax.channel_simulation_bits(q, p)
    assert (
        abs(recjax.renyi_inf_bits(Laplace(0.5, 1.0), Laplace(0.0, 1.0)) - 0.5 / math.log(2)) < 1e-5
    )


@pytest.mark.parametrize("h", [-1.0, math.nan])
def test_levels_must_not_be_negative(h):
    with pytest.raises(ValueError, match="h must"):
        recjax.width_function(Normal(0.0, 0.5), Normal(0.0, 1.0), jnp.asarray([0.5, h]))


def test_traced_parameters_without_meaning_give_nan():
    bad = jnp.asarray([[0.0, -0.5], [0.0, math.nan], [math.nan, 0.5], [0.0, 0.0]])
    proposals = jnp.broadcast_to(jnp.asarray([0.0, 1.0]), bad.shape)
    assert np.isnan(all_bits(Normal, np.asarray(bad), np.asarray(proposals))).all()
    assert np.isnan(all_bits(Laplace, np.asarray(bad), np.asarray(proposals))).all()
    outside = np.float32([[-0.5, 0.5], [0.5, 0.2]])
    assert np.isnan(all_bits(Uniform, outside, np.float32([0, 1]))).all()
    wider = all_bits(Normal, np.float32([[0.5, 2.0]]), np.float32([[0, 1]]))[:, 0]
    assert np.isfinite(wider[0]) and np.isnan(wider[1]) and wider[2] == math.inf
