"""Every family of coding distributions against scipy, as a pytree, and with bad parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import recjax

# family, parameter names, parameters (location, width), the same in scipy
FAMILIES = [
    pytest.param(recjax.Normal, ("loc", "scale"), (0.7, 1.9), stats.norm(0.7, 1.9), id="Normal"),
    pytest.param(
        recjax.Laplace, ("loc", "scale"), (0.7, 1.9), stats.laplace(0.7, 1.9), id="Laplace"
    ),
    pytest.param(
        recjax.Logistic, ("loc", "scale"), (0.7, 1.9), stats.logistic(0.7, 1.9), id="Logistic"
    ),
    pytest.param(
        recjax.Uniform, ("low", "high"), (-1.3, 2.7), stats.uniform(-1.3, 4.0), id="Uniform"
    ),
]
each_family = pytest.mark.parametrize(("family", "names", "parameters", "reference"), FAMILIES)


@each_family
class TestAgainstScipy:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_log_prob_and_cdf(self, family, names, parameters, reference, dtype):
        tolerance = 2e-6 if dtype == np.float32 else 1e-12
        x = reference.mean() + reference.std() * np.linspace(-6, 6, 241).astype(dtype)
        with jax.enable_x64(dtype == np.float64):
            distribution = family(*(dtype(value) for value in parameters))
            log_prob, cdf = jax.jit(lambda d, x: (d.log_prob(x), d.cdf(x)))(distribution, x)
            assert log_prob.dtype == cdf.dtype == dtype
        np.testing.assert_allclose(log_prob, reference.logpdf(x), rtol=tolerance, atol=tolerance)
        tail = np.asarray(cdf) < 0.5  # relative accuracy in the lower tail
        np.testing.assert_allclose(
            cdf[tail], reference.cdf(x[tail]), rtol=20 * tolerance, atol=tolerance**2
        )
        np.testing.assert_allclose(cdf, reference.cdf(x), atol=tolerance)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_icdf(self, family, names, parameters, reference, dtype):
        u = np.concatenate([10.0 ** np.arange(-7, -1), np.linspace(0.01, 0.99, 99)]).astype(dtype)
        with jax.enable_x64(dtype == np.float64):
            x = jax.jit(lambda d, u: d.icdf(u))(family(*(dtype(value) for value in parameters)), u)
            assert x.dtype == dtype
        np.testing.assert_allclose(
            x, reference.ppf(u.astype(float)), rtol=0, atol=5e-6 if dtype == np.float32 else 1e-8
        )

    def test_samples_follow_the_law(self, family, names, parameters, reference):
        bits = np.random.default_rng(1).integers(0, 2**32, (50_000, 1), dtype=np.uint32)
        x = jax.jit(jax.vmap(lambda d, bits: d.sample_from_bits(bits), (None, 0)))(
            family(*(np.full(1, v) for v in parameters)), bits
        )
        assert x.shape == bits.shape
        assert stats.kstest(np.asarray(x)[:, 0], reference.cdf).pvalue > 1e-4

    def test_samples_are_accurate_in_the_tails(self, family, names, parameters, reference):
        distance = np.uint32([0, 1, 2, 10, 1000, 10**6, 2**31 - 1])
        bits = np.concatenate([distance, distance + np.uint32(1 << 31)])[:, None]
        mass = (distance + 0.5) / 2**32  # probability beyond the sample
        x = jax.jit(jax.vmap(lambda d, bits: d.sample_from_bits(bits), (None, 0)))(
            family(*(np.full(1, v) for v in parameters)), bits
        )
        expected = np.concatenate([reference.ppf(mass), reference.isf(mass)])
        size = np.abs(np.array(parameters)).max() + np.abs(expected)
        assert (np.abs(np.asarray(x)[:, 0] - expected) / size).max() < 1e-6


@each_family
class TestPytree:
    def test_leaves_are_the_parameters(self, family, names, parameters, reference):
        distribution = family(*parameters)
        leaves, tree = jax.tree.flatten(distribution)
        np.testing.assert_array_equal(leaves, np.float32(parameters))
        assert type(jax.tree.unflatten(tree, leaves)) is family
        paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(distribution)]
        assert paths == [f".{name}" for name in names]

    def test_passes_through_jit_and_vmap(self, family, names, parameters, reference):
        batch = jax.vmap(family)(
            *(jnp.asarray(v) + jnp.arange(3.0)[:, None] * 0.1 for v in parameters)
        )
        assert batch.event_shape == (3, 1)
        inner = []
        result = jax.jit(jax.vmap(lambda d: (inner.append(d.event_shape), d)[1]))(batch)
        assert inner == [(1,)]
        assert jax.tree.structure(result) == jax.tree.structure(batch)
        np.testing.assert_array_equal(jax.tree.leaves(result), jax.tree.leaves(batch))

    def test_rebuilds_around_anything(self, family, names, parameters, reference):
        assert jax.tree.leaves(jax.tree.map(lambda _: "axis", family(*parameters))) == [
            "axis",
            "axis",
        ]

    def test_is_frozen(self, family, names, parameters, reference):
        with pytest.raises(AttributeError):
            setattr(family(*parameters), names[0], 3.0)


@each_family
class TestShapes:
    def test_event_axes_are_summed_over(self, family, names, parameters, reference):
        distribution = family(*(np.full((2, 3), v) for v in parameters))
        assert distribution.event_shape == (2, 3) and distribution.event_size == 6
        x = reference.ppf(np.linspace(0.1, 0.9, 24)).reshape(4, 2, 3).astype(np.float32)
        log_prob = jax.jit(jax.vmap(lambda d, x: d.log_prob(x), (None, 0)))(distribution, x)
        np.testing.assert_allclose(log_prob, reference.logpdf(x).sum(axis=(1, 2)), rtol=1e-6)
        with jax.numpy_rank_promotion("allow"):  # leading axes of samples, as NumPy broadcasts
            np.testing.assert_allclose(distribution.log_prob(x), log_prob, rtol=1e-6)
            assert distribution.cdf(x).shape == distribution.icdf(reference.cdf(x)).shape == x.shape

    def test_sample_takes_bits_in_row_major_order(self, family, names, parameters, reference):
        bits = np.random.default_rng(2).integers(0, 2**32, (4, 6), dtype=np.uint32)
        sample = jax.jit(jax.vmap(lambda d, bits: d.sample_from_bits(bits), (None, 0)))
        matrix = sample(family(*(np.full((2, 3), v) for v in parameters)), bits)
        vector = sample(family(*(np.full(6, v) for v in parameters)), bits)
        np.testing.assert_array_equal(matrix, vector.reshape(4, 2, 3))

    def test_parameters_broadcast(self, family, names, parameters, reference):
        first, second = parameters
        distribution = family(first, np.full((2, 1), second))
        assert {np.shape(getattr(distribution, name)) for name in names} == {(2, 1)}

    def test_shapes_that_do_not_fit_are_refused(self, family, names, parameters, reference):
        with pytest.raises(
            ValueError, match=rf"{family.__name__}: the shapes of {names[0]} .*do not fit"
        ):
            family(np.zeros(2), np.ones(3))


@each_family
class TestDtype:
    def test_single_precision_unless_a_parameter_is_double(
        self, family, names, parameters, reference
    ):
        low, high = parameters
        assert family(low, high).dtype == np.float32
        assert family(1, 2).dtype == np.float32
        assert family(jnp.bfloat16(1), 2).dtype == np.float32
        with jax.enable_x64(True):
            assert family(low, high).dtype == np.float64
            assert family(np.float32(low), np.float32(high)).dtype == np.float32
            assert family(np.float32(low), np.float64(high)).dtype == np.float64


@pytest.mark.parametrize(
    ("make", "message"),
    [
        *(
            pytest.param(
                lambda f=family, v=value: f(v, 1.0),
                "loc must be finite",
                id=f"{family.__name__}-loc-{value}",
            )
            for family in (recjax.Normal, recjax.Laplace)
            for value in (np.nan, np.inf, -np.inf)
        ),
        *(
            pytest.param(
                lambda f=family, v=value: f(0.0, v),
                "scale must be positive",
                id=f"{family.__name__}-scale-{value}",
            )
            for family in (recjax.Normal, recjax.Laplace)
            for value in (np.nan, np.inf, 0.0, -1.0, np.array([1.0, 0.0]))
        ),
        pytest.param(
            lambda: recjax.Uniform(np.nan, 1.0), "low must be finite", id="Uniform-low-nan"
        ),
        pytest.param(
            lambda: recjax.Uniform(0.0, np.inf), "high must be finite", id="Uniform-high-inf"
        ),
        pytest.param(
            lambda: recjax.Uniform(1.0, 1.0), "high must be greater than low", id="Uniform-empty"
        ),
        pytest.param(
            lambda: recjax.Uniform(2.0, 1.0), "high must be greater than low", id="Uniform-reversed"
        ),
        pytest.param(
            lambda: recjax.Uniform(-3e38, 3e38), "high - low must be finite", id="Uniform-overflow"
        ),
    ],
)
def test_bad_parameters_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
    # under a transformation values are unknown: nothing is raised, and the coders report it instead
    jax.eval_shape(make)
