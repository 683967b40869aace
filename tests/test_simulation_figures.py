"""Figures of exact simulation, tiny: errors are those that theory says."""

import pytest

import recjax
from experiments.figures import perception, private_mean

pytestmark = pytest.mark.standard_promotion


@pytest.mark.slow
@pytest.mark.parametrize(
    "coder,shape", [(recjax.BranchAndBoundGPRS(), ()), (recjax.AStar(), (2,))], ids=["one", "two"]
)
def test_perfect_realism_at_the_error_of_theory(coder, shape):
    row = perception.measure(coder, 1.0, 2000, shape)
    assert abs(row["errors_from_theory"]) < 5 and row["p_value"] > 1e-4
    assert row["kl"] == pytest.approx(1, abs=0.05)
    assert row["kl"] < row["file"] < row["kl"] + 3 and not row["not_exact"]


@pytest.mark.slow
def test_private_mean_has_the_error_of_the_plain_mechanism():
    sigma = 0.8
    row = private_mean.private_mean(sigma, 40, 16, 4)
    assert abs(row["mse"] - 16 * sigma**2 / 40) < 5 * row["mse_error"]
    assert row["kl"] < row["file"] and row["perhaps_not_exact"] <= 1


def test_the_gaussian_mechanism_is_calibrated():
    """Balle and Wang's theorem 8 for a sensitivity of 1, at epsilon 1 and delta 1e-5."""
    assert private_mean.deviation(1.0, 1.0) == pytest.approx(3.7307, abs=1e-3)
    assert private_mean.local_epsilon(private_mean.deviation(3.0, 2.0)) == pytest.approx(3.0)
