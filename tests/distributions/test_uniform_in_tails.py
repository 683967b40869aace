"""Uniform targets over Laplace and logistic proposals against numerical integration."""

import jax
import numpy as np
import pytest
from scipy import integrate, stats

import recjax
from recjax.samplers import pair_of

FAMILIES = {
    recjax.Laplace: stats.laplace(0.3, 0.7),
    recjax.Logistic: stats.logistic(0.3, 0.7),
}
BOXES = [(-0.2, 0.8), (0.31, 0.311), (2.0, 3.0), (-9.0, -2.0), (-40.0, 60.0)]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
@pytest.mark.parametrize("box", BOXES, ids=str)
def test_ratios_and_divergences(family, box):
    low, high = np.float32(box)
    law, length = FAMILIES[family], float(high) - float(low)
    q, p = recjax.Uniform(low, high), family(0.3, 0.7)
    surprisal, _ = integrate.quad(
        lambda x: -law.logpdf(x), low, high, points=[0.3] if low < 0.3 < high else None
    )
    kl = (surprisal / length - np.log(length)) / np.log(2)
    assert abs(recjax.kl_bits(q, p) - kl) < 2e-4 * (1 + abs(kl))
    top = max(-law.logpdf(low), -law.logpdf(high)) - np.log(length)
    assert abs(recjax.renyi_inf_bits(q, p) - top / np.log(2)) < 2e-4 * (1 + abs(top))
    x = np.linspace(float(low) - length / 4, float(high) + length / 4, 50).astype(np.float32)
    ratios = jax.vmap(pair_of(q, p).log_ratio)(x)
    inside = (x >= low) & (x <= high)
    assert (np.asarray(ratios)[~inside] == -np.inf).all()
    np.testing.assert_allclose(
        np.asarray(ratios)[inside], -law.logpdf(x[inside]) - np.log(length), rtol=2e-4, atol=2e-4
    )


def test_components_add_up():
    q = recjax.Uniform(np.array([-0.5, 1.0]), np.array([0.5, 2.0]))
    p = recjax.Logistic(np.array([0.2, 0.1]), np.array([1.0, 2.0]))
    alone = [
        recjax.kl_bits(recjax.Uniform(q.low[i], q.high[i]), recjax.Logistic(p.loc[i], p.scale[i]))
        for i in (0, 1)
    ]
    assert abs(recjax.kl_bits(q, p) - sum(alone)) < 1e-5
