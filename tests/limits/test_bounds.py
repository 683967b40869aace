"""Published bounds against numbers worked out by hand, and the hockey-stick divergence against SciPy."""

import jax
import numpy as np
import pytest
from scipy import stats

import recjax


@pytest.mark.parametrize(
    "bound,argument,expected",
    [
        (recjax.gprs_rate_bound_bits, 6.0, 12.0),
        (recjax.gprs_log_index_bound_bits, 6.0, 7.0),
        (recjax.a_star_log_index_bound_bits, 6.0, 7.53073784),
        (recjax.greedy_rejection_entropy_bound_bits, 6.0, 7.89464011),
        (recjax.expected_steps, 6.0, 64.0),
        (recjax.branch_and_bound_steps_bound, 6.0, 23.21110532),
        (recjax.greedy_rejection_coder_steps_bound, 6.0, 28.92),
        (recjax.channel_simulation_bounds_bits, 7.0, (7.0, 11.0)),
    ],
)
def test_bounds(bound, argument, expected):
    np.testing.assert_allclose(bound(argument), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(bound)(argument), expected, rtol=1e-6)


def test_hockey_stick_divergences_of_normal_pairs():
    p, q = stats.norm(0, 1), stats.norm(1, 0.5)
    x = np.linspace(-10, 10, 400_001)
    h = np.float32([0.0, 0.5, 1.0, 3.0, 3.8, 5.0])
    excess = [np.maximum(q.pdf(x) - level * p.pdf(x), 0).sum() * (x[1] - x[0]) for level in h]
    ours = recjax.hockey_stick(recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0), h)
    np.testing.assert_allclose(ours, excess, atol=2e-6)
    with pytest.raises(ValueError, match="h must"):
        recjax.hockey_stick(recjax.Normal(1.0, 0.5), recjax.Normal(0.0, 1.0), -1.0)


@pytest.mark.slow
def test_hockey_stick_divergence_of_a_normal_vector():
    q, p = recjax.Normal(np.ones(3, np.float32), 0.5), recjax.Normal(np.zeros(3, np.float32), 1.0)
    for h in (np.float32(1.0), np.float32(20.0)):
        w_p, w_q = recjax.width_function(q, p, h)
        np.testing.assert_allclose(recjax.hockey_stick(q, p, h), w_q - h * w_p, rtol=1e-4)
