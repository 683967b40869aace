"""The figures on channels, in small parts."""

import numpy as np
import pytest

import recjax
from experiments.channel_rates import measure
from experiments.figures import asymptotics, ring_toss


@pytest.mark.slow
def test_redundancy_of_blocks_is_that_of_the_channel_they_are():
    for n in (1, 2, 4):
        channel = asymptotics.blocks(asymptotics.symmetric(), n)
        gap = recjax.functional_information_bits(channel) - recjax.mutual_information_bits(channel)
        assert abs(float(gap) - asymptotics.symmetric_redundancy(n)) < 2e-4


@pytest.mark.slow
def test_redundancy_grows_with_half_the_logarithm_of_the_length():
    lengths = (1000, 3000, 10_000, 30_000, 100_000)
    values = [asymptotics.symmetric_redundancy(n) for n in lengths]
    assert abs(asymptotics.slope(lengths, values) - 0.5) < 1e-3
    gaussian = [asymptotics.gaussian_redundancy(n, nodes=8) for n in (16, 64)]
    assert abs(asymptotics.slope((16, 64), gaussian) - 0.5) < 0.03


@pytest.mark.slow
def test_rates_of_blocks_are_within_the_bounds():
    for single in (asymptotics.symmetric(), asymptotics.erasing()):
        channel = asymptotics.blocks(single, 2)
        functional = float(recjax.functional_information_bits(channel))
        found = measure(recjax.RingToss(), channel, 800, 1.0)
        assert functional - 5 * found["error"] < found["rate"]
        assert (
            found["rate"] < recjax.ring_toss_rate_bound_bits(functional) + 5 * found["error"] + 0.02
        )


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "saved"), [(0.25, 0), (0.06, 1)])
def test_ring_toss_is_shorter_than_zeta_codes(noise, saved):
    limits = ring_toss.limits(noise)
    found = {
        name: measure(coder, ring_toss.noisy(noise), 3000, limits["information"])
        for name, coder in ring_toss.CODERS.items()
    }
    ring = found.pop("ring toss")
    assert (
        limits["functional"]
        < ring["rate"]
        < limits["functional"] + np.log2(np.e) + 5 * ring["error"]
    )
    for other in found.values():
        assert ring["rate"] + saved + 5 * np.hypot(ring["error"], other["error"]) < other["rate"]
