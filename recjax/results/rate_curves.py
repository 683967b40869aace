"""Comparing curves of rate and quality."""

import math

import numpy as np

from recjax.results.files import Curve


def psnr_at(curve: Curve, bpp: float) -> float | None:
    """Quality in dB at a rate, linear between points in the logarithm of the rate; None outside of the curve.

    Args:
        curve: rates in bits per pixel and quality in dB, in any order.
        bpp: the rate.

    >>> psnr_at(Curve("codec", (4.0, 1.0), (40.0, 30.0)), 2.0)
    35.0
    """
    rates, quality = zip(*sorted(zip(curve.x, curve.y, strict=True)), strict=True)
    if not rates[0] <= bpp <= rates[-1]:
        return None
    return float(np.interp(math.log(bpp), np.log(rates), quality))


def bd_rate(curve: Curve, anchor: Curve) -> float | None:
    """Percent of rate that a curve needs more than the anchor, averaged over their common range of quality.

    Bjontegaard's delta rate (ITU-T VCEG-M33, 2001) with piecewise cubics (pchip) of the log rate. None if the curves
    have no quality in common, one has a single point or the same quality twice, or a rate is not positive.

    Args:
        curve, anchor: rates and quality in dB, in any order.

    Raises:
        ImportError: SciPy, of the extra ``plots``, is not installed.

    >>> anchor = Curve("a", (1.0, 2.0), (30.0, 40.0))
    >>> round(bd_rate(Curve("b", (1.1, 2.2), (30.0, 40.0)), anchor), 6)
    10.0
    """
    from scipy.interpolate import PchipInterpolator

    if any(min(each.x) <= 0 or len(set(each.y)) < len(each.y) for each in (curve, anchor)):
        return None
    low, high = max(min(curve.y), min(anchor.y)), min(max(curve.y), max(anchor.y))
    if low >= high:
        return None
    means = []
    for each in (curve, anchor):
        order = np.argsort(each.y)
        log_rate = PchipInterpolator(np.array(each.y)[order], np.log(np.array(each.x)[order]))
        means.append(log_rate.integrate(low, high) / (high - low))
    return 100 * (math.exp(means[0] - means[1]) - 1)
