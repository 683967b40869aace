"""Channels as proposals, and what is possible on them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import recjax

NOISE, INPUTS, SHARES = 0.4, np.array([-1.0, 0.2, 1.1]), np.array([1, 2, 5])


def channel(**options):
    targets = recjax.Normal(np.float32(INPUTS), np.full(3, NOISE, np.float32))
    return recjax.Channel(SHARES, targets, recjax.Normal(0.0, 1.5), **options)


def test_information_against_quadrature():
    """With the marginal itself as the proposal of the reference, and another one as ours."""
    prior = SHARES / SHARES.sum()

    def at(y):
        joint = prior * stats.norm.pdf(y, INPUTS, NOISE)
        ratio = joint / joint.sum() / prior
        order = np.argsort(-ratio)
        width = np.minimum(np.cumsum(prior[order]), 1)
        functional = -np.sum(-np.diff(ratio[order], append=0) * width * np.log2(width))
        return joint.sum() * functional, np.sum(joint * np.log2(ratio))

    functional, information = (
        integrate.quad(lambda y, i=i: at(y)[i], -4, 4, limit=400, points=[-0.4, 0.2, 0.65])[0]
        for i in (0, 1)
    )
    assert abs(float(recjax.functional_information_bits(channel())) - functional) < 1e-3
    assert abs(float(recjax.mutual_information_bits(channel())) - information) < 1e-3
    assert information < functional < recjax.channel_rate_bound_bits(information) - np.log2(np.e)


def test_functional_information_of_a_singular_channel_is_the_information():
    erasing = recjax.Categorical(jnp.log(jnp.array([[0.7, 0.3, 0.0], [0.0, 0.3, 0.7]])))
    law = recjax.Channel([1, 1], erasing, recjax.Categorical(jnp.zeros(3)))
    for bits in (recjax.functional_information_bits, recjax.mutual_information_bits):
        np.testing.assert_allclose(bits(law), 0.7, rtol=1e-5)


@pytest.mark.parametrize(
    "bits", [recjax.functional_information_bits, recjax.mutual_information_bits]
)
def test_outputs_that_are_vectors_are_refused(bits):
    targets = recjax.Normal(np.zeros((2, 3)), np.full((2, 3), 0.5))
    with pytest.raises(ValueError, match="scalars"):
        bits(recjax.Channel([1, 1], targets, recjax.Normal(np.zeros(3), 1.0)))


def test_acceptance_is_the_share_of_inputs_with_a_ratio_above_the_level():
    law = channel()
    y, gap = np.float32(0.7), np.float32([0.1, 1.0, 3.0, 20.0])
    ratio = stats.norm.pdf(y, INPUTS, NOISE) / stats.norm.pdf(y, 0, 1.5)
    expected = [SHARES[ratio >= np.exp(law.log_max) * np.exp(-g)].sum() / 8 for g in gap]
    found = jax.vmap(law.acceptance, (None, 0))(jnp.asarray(y), jnp.asarray(gap))
    np.testing.assert_allclose(found / law.total, expected, atol=1e-7)
    assert int(law.shares.sum()) == law.total


def test_shares_that_do_not_divide_the_total():
    law = recjax.Channel(
        [1, 1, 1], recjax.Normal(np.zeros(3), np.full(3, 0.5)), recjax.Normal(0.0, 1.0)
    )
    assert int(law.shares.sum()) == law.total and int(law.shares.max() - law.shares.min()) <= 1


def test_the_bound_may_be_larger_but_not_smaller():
    least = float(channel().log_max / np.log(2))
    assert abs(float(channel(max_ratio_bits=least + 1).log_max / np.log(2)) - least - 1) < 1e-5
    with pytest.raises(ValueError, match="max_ratio_bits must be at least"):
        channel(max_ratio_bits=least - 0.1)


@pytest.mark.parametrize(
    "shares", [[], [1, 0, 1], [1, -1, 1], [1.0, 1.0, 1.0], [[1, 1, 1]], [1, 1, 1 << 24]]
)
def test_bad_shares_are_refused(shares):
    with pytest.raises(ValueError, match="shares"):
        recjax.Channel(shares, recjax.Normal(np.zeros(3), np.full(3, 0.5)), recjax.Normal(0.0, 1.0))


def test_what_does_not_fit_is_refused():
    targets, proposal = recjax.Normal(np.zeros(3), np.full(3, 0.5)), recjax.Normal(0.0, 1.0)
    with pytest.raises(ValueError, match="targets: their shape"):
        recjax.Channel([1, 1], targets, proposal)
    with pytest.raises(ValueError, match="targets: their shape"):
        recjax.Channel([1, 1, 1], targets, recjax.Normal(np.zeros(2), 1.0))
    with pytest.raises(ValueError, match="unbounded"):
        recjax.Channel([1, 1, 1], targets, recjax.Normal(0.0, 0.4))
    with pytest.raises(ValueError, match="not be a channel"):
        recjax.Channel([1, 1, 1], targets, channel())


def test_uniform_targets_over_normal_proposals():
    q, p = recjax.Uniform([0.5, -1.0], [1.5, 0.0]), recjax.Normal([0.0, 0.5], [1.0, 2.0])
    laws = [(stats.uniform(0.5, 1), stats.norm(0, 1)), (stats.uniform(-1, 1), stats.norm(0.5, 2))]
    divergence = sum(
        a.expect(lambda x, a=a, b=b: (a.logpdf(x) - b.logpdf(x)) / np.log(2)) for a, b in laws
    )
    np.testing.assert_allclose(recjax.kl_bits(q, p), divergence, rtol=1e-5)
    corner = sum(-b.logpdf(x) / np.log(2) for x, (_, b) in zip((1.5, -1.0), laws, strict=True))
    np.testing.assert_allclose(recjax.renyi_inf_bits(q, p), corner, rtol=1e-5)
