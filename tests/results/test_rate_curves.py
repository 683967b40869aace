"""Interpolated quality and BD-rate."""

import pytest

from recjax.results.files import Curve
from recjax.results.rate_curves import bd_rate, psnr_at

ANCHOR = Curve("anchor", (0.1, 0.3, 0.9, 2.0), (25.0, 30.0, 34.0, 40.0))
DEARER = Curve("dearer", tuple(1.25 * bpp for bpp in ANCHOR.x), ANCHOR.y)


def test_quality_at_a_rate():
    assert psnr_at(ANCHOR, 0.3) == 30 and psnr_at(ANCHOR, 0.3 * 3**0.5) == pytest.approx(32)
    assert psnr_at(ANCHOR, 0.09) is None and psnr_at(ANCHOR, 2.1) is None


def test_bd_rate():
    pytest.importorskip("scipy")
    assert bd_rate(ANCHOR, ANCHOR) == 0 and bd_rate(DEARER, ANCHOR) == pytest.approx(25)
    assert bd_rate(ANCHOR, DEARER) == pytest.approx(-20)
    shuffled = Curve("anchor", (2.0, 0.3, 0.1, 0.9), (40.0, 30.0, 25.0, 34.0))
    assert bd_rate(DEARER, shuffled) == pytest.approx(25)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ((1.0,), (30.0,)),
        ((1.0, 2.0), (50.0, 60.0)),
        ((1.0, 2.0), (30.0, 30.0)),
        ((0.0, 2.0), (30.0, 35.0)),
    ],
)
def test_curves_that_cannot_be_compared(x, y):
    pytest.importorskip("scipy")
    assert bd_rate(Curve("other", x, y), ANCHOR) is None
