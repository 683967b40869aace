"""Comparing rate-distortion curves."""

import math
from typing import NamedTuple

import numpy as np
from scipy.interpolate import PchipInterpolator


class Curve(NamedTuple):
    """Rates in bits per pixel and quality in dB, in any order."""

    bpp: list[float]
    psnr: list[float]


def psnr_at(curve: Curve, bpp: float) -> float | None:
    """Quality in dB at a rate, linear between points in the logarithm of the rate; None outside of the curve.

    >>> psnr_at(Curve([4.0, 1.0], [40.0, 30.0]), 2.0)
    35.0
    """
    rates, quality = zip(*sorted(zip(curve.bpp, curve.psnr, strict=True)), strict=True)
    if not rates[0] <= bpp <= rates[-1]:
        return None
    return float(np.interp(math.log(bpp), np.log(rates), quality))


def bd_rate(curve: Curve, anchor: Curve) -> float | None:
    """Percent of rate that a curve needs more than the anchor, averaged over their common range of quality.

    Bjontegaard's delta rate (ITU-T VCEG-M33, 2001) with piecewise cubics (pchip) of the log rate; None if the curves
    have no quality in common, or one has a single point.

    >>> round(bd_rate(Curve([1.1, 2.2], [30.0, 40.0]), Curve([1.0, 2.0], [30.0, 40.0])), 6)
    10.0
    """
    low = max(min(curve.psnr), min(anchor.psnr))
    high = min(max(curve.psnr), max(anchor.psnr))
    if low >= high:
        return None
    means = []
    for bpp, psnr in (curve, anchor):
        order = np.argsort(psnr)
        log_rate = PchipInterpolator(np.array(psnr)[order], np.log(np.array(bpp)[order]))
        means.append(log_rate.integrate(low, high) / (high - low))
    return 100 * (math.exp(means[0] - means[1]) - 1)
