"""The zeta code of global indices: what coders report is what is written."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from recjax.bits import zipf
from recjax.bits.range_coder import decode_zeta, encode_zeta
from recjax.errors import FormatError
from recjax.samplers.codelength import zeta_bits

RATES = [0.0, 0.0078, 0.0079, 1.0, 2.5, 8.0, 24.6, 41.6, 41.7, 1000.0]
EDGES = np.array(zipf.bin_edges(31))
CORNERS = np.unique(
    np.concatenate([EDGES[:-1], EDGES[1:] - 1])
)  # first and last index of every bin
SUPPORT = 2**31

reported_bits = jax.jit(jax.vmap(zeta_bits, (0, None)))


def poisson_indices(rng, loc, scale, size):
    """Rate in bits of N(loc, scale^2) from N(0, 1), and indices like those of Poisson rejection coders for it.

    A sample with density ratio r is found after about r candidates: the index is geometric with that mean.
    """
    x = loc + scale * rng.standard_normal(size)
    ratio = np.exp((x**2 - ((x - loc) / scale) ** 2) / 2) / scale
    rate = (loc**2 + scale**2 - 1 - 2 * np.log(scale)) / (2 * np.log(2))
    return rate, rng.geometric(1 / (1 + ratio)) - 1


def test_exponent_is_the_theorems_rounded():
    for rate in np.linspace(0, 60, 1237):
        exact = 64 * (1 + 1 / (rate + 1))
        assert zipf.zeta_exponent(rate) >= 65
        assert abs(zipf.zeta_exponent(rate) - max(exact, 65)) <= 0.5 + 1e-4
    assert [zipf.zeta_exponent(rate) for rate in (0.0, 1.0, 3.0, 1e300)] == [128, 96, 80, 65]


@pytest.mark.parametrize("rate", [-0.1, np.nan, np.inf])
def test_bad_rates_are_refused(rate):
    for function in (
        zipf.zeta_exponent,
        lambda r: encode_zeta(np.array([1]), r),
        lambda r: decode_zeta(b"", 1, r),
    ):
        with pytest.raises(ValueError, match="rate_bits"):
            function(rate)


@pytest.mark.parametrize(
    "rate", [*RATES, *zipf.RATE_BOUNDS[::9], np.nextafter(np.float32(zipf.RATE_BOUNDS[9]), 99)]
)
def test_coders_report_what_is_written(rate):
    bits = reported_bits(jnp.asarray(CORNERS, jnp.uint32), jnp.float32(rate))
    assert bits.dtype == jnp.float32
    written = zipf.codelength_bits(CORNERS, 31, zipf.zeta_exponent(float(rate)))
    np.testing.assert_allclose(bits, written, atol=1e-4)


def test_one_rate_an_example():
    rates = jnp.asarray(RATES, jnp.float32)
    bits = jax.vmap(zeta_bits)(jnp.full(rates.shape, 70, jnp.uint32), rates)
    expected = [zipf.codelength_bits(np.array(70), 31, zipf.zeta_exponent(rate)) for rate in RATES]
    np.testing.assert_allclose(bits, expected, atol=1e-4)


@pytest.mark.parametrize("rate", RATES)
def test_kraft_over_the_whole_support(rate):
    bits = np.asarray(reported_bits(jnp.asarray(EDGES[:-1], jnp.uint32), jnp.float32(rate)), float)
    np.testing.assert_allclose((np.diff(EDGES) * np.exp2(-bits)).sum(), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("loc", "scale"), [(0.0, 0.5), (1.0, 0.3), (2.0, 0.1), (3.0, 0.05), (4.0, 0.02)]
)
def test_no_longer_than_the_endless_zeta_code(loc, scale):
    rate, indices = poisson_indices(np.random.default_rng(0), loc, scale, 20_000)
    alpha = 1 + 1 / (rate + 1)
    endless = np.log2(special.zeta(alpha)) + alpha * np.log2(indices + 1.0)
    # the share of the endless code beyond the support, which the truncated one does not pay for
    saved = -np.log2(1 - special.zeta(alpha, SUPPORT + 1) / special.zeta(alpha))
    excess = zipf.codelength_bits(indices, 31, zipf.zeta_exponent(rate)) - endless
    assert -saved - 0.02 < excess.mean() < 0.02


@pytest.mark.parametrize("rate", RATES)
def test_round_trip_costs_the_codelength(rate):
    rng = np.random.default_rng(1)
    indices = np.concatenate([CORNERS, (2 ** (31 * rng.random(3000))).astype(np.int64) - 1])
    data = encode_zeta(indices, rate)
    np.testing.assert_array_equal(decode_zeta(data, indices.size, rate), indices)
    reported = np.asarray(
        reported_bits(jnp.asarray(indices, jnp.uint32), jnp.float32(rate)), float
    ).sum()
    assert abs(8 * len(data) - reported) < 16


def test_bytes_left_over_are_refused():
    data = encode_zeta(np.array([3, 10**9, 77]), 4.0)
    with pytest.raises(FormatError):
        decode_zeta(data + b"\0", 3, 4.0)
