"""Strings of dithered quantisation under a prior of the centres: lengths, tables, extremes, damage."""

import contextlib
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from independent.centres import read_centres
from scipy import stats

import recjax
from recjax.samplers._streams import centres

CODER = recjax.DitheredQuantizer(step=0.5, proposal_of="centres")
KEYS = jax.random.split(jax.random.key(3), 2)
FAMILIES = {
    recjax.Normal: stats.norm,
    recjax.Laplace: stats.laplace,
    recjax.Logistic: stats.logistic,
}
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)


def latents(family, n, seed, low=-3.0, high=5.0):
    """A prior of n components with scales from e^low to e^high, and two draws of centres."""
    rng = np.random.default_rng(seed)
    loc = (3 * rng.normal(size=n)).astype(np.float32)
    scale = np.exp(rng.uniform(low, high, n)).astype(np.float32)
    draws = FAMILIES[family].rvs(loc, scale, (2, n), random_state=rng)
    return family(loc, scale), np.clip(draws, -1e6, 1e6).astype(np.float32)


def encoded(prior, centre, coder=CODER):
    half = jnp.float32(coder.step / 2)
    targets = recjax.Uniform(centre - half, centre + half)
    return coder.encode_batch(KEYS, targets, prior)


def write(index, prior, coder=CODER):
    return recjax.write_indices(coder, KEYS, index, proposal=prior)


def read(data, prior, coder=CODER):
    return recjax.read_indices(coder, data, KEYS, proposal=prior)


@each_family
def test_strings_have_the_ideal_length(family):
    """Beside -log2 (F(x + 1/2) - F(x - 1/2)) at the samples, from SciPy."""
    prior, centre = latents(family, 30_000, 1)
    code = encoded(prior, centre)
    data = write(code.index, prior)
    np.testing.assert_array_equal(read(data, prior), code.index)
    law = FAMILIES[family](np.float64(prior.loc), np.float64(prior.scale))
    sample = np.float64(code.sample)
    sample = np.float64(prior.loc) - np.abs(sample - np.float64(prior.loc))
    ideal = -np.log2(law.cdf(sample + 0.25) - law.cdf(sample - 0.25)).sum()
    excess = (8 * len(data) - ideal) / code.index.size
    assert -0.001 < excess < 0.006
    stated = jax.vmap(lambda k, i: CODER.codelength(k, i, prior))(KEYS, code.index).sum()
    assert abs(stated - ideal) < 2e-4 * ideal


@each_family
def test_the_mean_length_is_the_information(family):
    """Between the centre and its noisy sample, where centres follow the prior."""
    n, scale = 40_000, 0.8
    prior = family(jnp.zeros(n), scale)
    centre = FAMILIES[family].rvs(0, scale, (2, n), random_state=2).astype(np.float32)
    bits = 8 * len(write(encoded(prior, centre).index, prior)) / (2 * n)
    x = np.linspace(-40, 40, 400_001)
    mass = FAMILIES[family].cdf(x + 0.25, 0, scale) - FAMILIES[family].cdf(x - 0.25, 0, scale)
    density = mass / 0.5
    entropy = -np.sum(mass * np.log2(mass, where=mass > 0, out=np.zeros_like(mass))) / 0.5
    spread = np.sqrt(np.sum(density * np.square(np.log2(mass + 1e-300))) * (x[1] - x[0]))
    assert abs(bits - entropy * (x[1] - x[0])) < 5 * spread / np.sqrt(2 * n) + 0.006


@each_family
def test_extreme_scales_and_values(family):
    scale = np.float32([1e-6, 1e-3, 0.015, 0.5, 4.0, 4.001, 300.0, 1e5, 1e12])
    prior = family(np.float32([0, 0.2, -7, 1e5, 0, 0, 2, 0, 0]), scale)
    for index in (np.zeros(9), np.full(9, 1 << 22), np.full(9, -(1 << 22)), np.arange(9) - 4):
        index = np.stack([index, index[::-1]]).astype(np.int32)
        np.testing.assert_array_equal(read(write(index, prior), prior), index)
    lengths = jax.vmap(lambda k, i: CODER.codelength(k, i, prior))(KEYS, jnp.asarray(index))
    assert np.isfinite(lengths).all() and (lengths > 0).all()


def test_scalars_and_empty_batches():
    prior = recjax.Logistic(0.0, 1.0)
    keys = jax.random.split(jax.random.key(0), 1000)
    target = recjax.Uniform(jnp.full(1000, -0.1), jnp.full(1000, 0.4))
    index = CODER.encode_batch(keys, target, prior).index
    data = recjax.write_indices(CODER, keys, index, proposal=prior)
    again = recjax.read_indices(CODER, data, keys, proposal=prior)
    np.testing.assert_array_equal(again, index)
    none = recjax.write_indices(CODER, keys[:0], index[:0], proposal=prior)
    assert recjax.read_indices(CODER, none, keys[:0], proposal=prior).shape == (0,)


FROZEN = {  # checksums of the tables of octaves -5, 0 and 2
    recjax.Normal: (3029860645, 379632291, 3742584292),
    recjax.Laplace: (2767894472, 3673974601, 2249252087),
    recjax.Logistic: (2768615840, 3410894551, 562299736),
}


GOLDEN = {
    recjax.Normal: "110cfffffee2541c4d9d7056a8e1b8f4f3fe09d2",
    recjax.Laplace: "110cfffffed696726e96e37bf5ada0bda02b04",
    recjax.Logistic: "110cfffffebe613a74c85d5239d7d565bd7cba",
}


@each_family
def test_the_tables_are_frozen(family):
    for octave, checksum in zip((-5, 0, 2), FROZEN[family], strict=True):
        weights = centres._tables(family, octave)
        assert (weights >= 0).all() and (weights.sum(-1) + weights.shape[-1] == 2**24).all()
        assert zlib.crc32(weights.astype("<i4").tobytes()) == checksum


@each_family
def test_a_decoder_of_numpy_alone_reads_strings(family):
    prior, centre = latents(family, 400, 7, high=14.0)
    index = np.array(encoded(prior, centre).index)
    index[:, :4] = [5, -700, 1 << 22, -(1 << 22)]
    words = np.asarray(jax.random.key_data(KEYS))
    found = read_centres(
        write(index, prior), words, family.__name__, 0.5, np.array(prior.loc), np.array(prior.scale)
    )
    np.testing.assert_array_equal(found, index)


@each_family
def test_golden_strings(family):
    prior = family(np.arange(6) / 8 - 1, 2.0 ** np.arange(-8, 16, 4))
    data = bytes.fromhex(GOLDEN[family])
    index = np.array([[-1, -1, -1, -1, 100, 7000], [-2, -2, 0, 3, -40, 100_000]])
    np.testing.assert_array_equal(read(data, prior), index)
    assert write(index, prior) == data


@each_family
def test_distribution_functions(family):
    z = np.linspace(-12, 12, 20_001)
    error = centres._LAWS[family].cdf(z) - FAMILIES[family].cdf(z)
    assert abs(error).max() < 2e-12


def test_damage_is_found_or_harmless():
    prior, centre = latents(recjax.Logistic, 200, 5, high=12.0)
    data = write(encoded(prior, centre).index, prior)
    rng = np.random.default_rng(0)
    for _ in range(60):
        bad = bytearray(data)
        bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        with contextlib.suppress(recjax.FormatError):
            assert read(bytes(bad), prior).shape == (2, 200)


def test_refusals():
    index = np.zeros((2, 3), np.int32)
    with pytest.raises(ValueError, match="proposal_of must be 'samples' or 'centres'"):
        recjax.DitheredQuantizer(proposal_of="centre")
    with pytest.raises(ValueError, match="a Uniform has no code as the law of centres"):
        write(index, recjax.Uniform(np.zeros(3), 1.0))
    with pytest.raises(ValueError, match="proposal is needed"):
        CODER.codelength(KEYS[0], index[0], None)
    prior = recjax.Logistic(np.zeros(3), 1.0)
    for bad in (index[:, :2], index[0], index.astype(np.float32), index + (1 << 23)):
        with pytest.raises(ValueError, match="index must"):
            write(bad, prior)
    with pytest.raises(ValueError, match="scale is too small for the step"):
        write(index, recjax.Normal(np.full(3, 0.2), 1e-3), recjax.DitheredQuantizer(step=0.5))
