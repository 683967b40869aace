"""Comparison of rate-distortion curves."""

import math

import numpy as np

from recjax.results.files import Curve


def psnr_at(curve: Curve, bpp: float) -> float | None:
    """Interpolates the PSNR of a curve at a rate, linearly in the logarithm of the rate.

    Args:
        curve: rates in bits per pixel and PSNR in dB, in any order.
        bpp: rate in bits per pixel.

    Returns:
        PSNR in dB, or None outside of the curve's range of rates.

    >>> psnr_at(Curve("codec", (4.0, 1.0), (40.0, 30.0)), 2.0)
    35.0
    """
    rates, quality = zip(*sorted(zip(curve.x, curve.y, strict=True)), strict=True)
    if not rates[0] <= bpp <= rates[-1]:
        return None
    return float(np.interp(math.log(bpp), np.log(rates), quality))


def bd_rate(curve: Curve, anchor: Curve) -> float | None:
    """Bjontegaard's delta rate of a curve over an anchor, in percent.

    This is the additional rate of the curve, averaged over the range of quality that both curves
    have (ITU-T VCEG-M33, 2001), with piecewise cubics (pchip) of the log rate.

    Args:
        curve, anchor: rates and quality in dB, in any order.

    Returns:
        Percent, or None if the curves have no quality in common, one has a single point or the same
        quality twice, or a rate is not positive.

    Raises:
        ImportError: SciPy, of the extra ``plots``, is not installed.

    >>> anchor = Curve("a", (1.0, 2.0), (30.0, 40.0))
    >>> round(bd_rate(Curve("b", (1.1, 2.2), (30.0, 40.0)), anchor), 6)
    10.0
    """
    from scipy.interpolate import PchipInterpolator

    if any(min(c.x) <= 0 or len(set(c.y)) < len(c.y) for c in (curve, anchor)):
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
