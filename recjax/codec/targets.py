"""Bounds on a measure of files, such as their rate: the targets that a file can have."""

import dataclasses
import math
from collections.abc import Callable

from recjax.codec.encoding import Encoding
from recjax.modalities import Modality


@dataclasses.dataclass(frozen=True)
class Target:
    """A bound on a measure of files, which the Lagrange multiplier can meet.

    Attributes:
        name: argument of `recjax.compress`, and flag of the command line.
        measure: from a file to the measure.
        text: from a value of the measure to its words in messages.
        ceiling: whether values above the target violate it, rather than values below.
        bounds_rate: whether the best file is the largest that meets the target, rather than the
            smallest.
        needs_decoding: whether the measure is one of the decoded signal.
        needs_time: whether the measure is one of signals whose first axis is time.
        scale: from the measure to a number which changes about linearly with the logarithm of the
            multiplier.
        slope: change of that number per nat of the multiplier, before it is known.
        tolerance: distance from the target, in units of that number, at which the search has
            failed.
        near: distance at which the search ends.
        margin: distance inside the bound that the search aims at.
    """

    name: str
    measure: Callable[[Encoding], float]
    text: Callable[[float], str]
    ceiling: bool
    bounds_rate: bool
    needs_decoding: bool
    scale: Callable[[float], float]
    slope: float
    tolerance: float
    near: float
    margin: float
    needs_time: bool = False

    def is_met(self, measure: float, value: float) -> bool:
        """Whether a file with this measure meets the target ``value``."""
        return measure <= value if self.ceiling else measure >= value

    def error(self, measure: float, value: float) -> float:
        """Signed distance of a measure from the target, in units of ``scale``."""
        return self.scale(measure) - self.scale(value)

    def check(self, value: float) -> None:
        """Raises a ValueError unless the target is a positive, finite number."""
        if not 0 < value < math.inf:
            raise ValueError(f"{self.name} must be positive and finite, got {value}")

    def check_modality(self, modality: Modality) -> None:
        """Raises a ValueError unless signals of the modality have the measure."""
        if self.needs_time and modality.cells_per_second is None:
            raise ValueError(f"{self.name} is for signals in time, which {modality.name} is not")


def _log(value: float) -> float:
    return math.log(max(value, 1e-300))


_RATE = Target(
    name="bpp",
    measure=lambda encoding: encoding.rate,
    text=lambda value: f"{value:.4g} bpp",
    ceiling=True,
    bounds_rate=True,
    needs_decoding=False,
    scale=_log,
    slope=-0.55,
    tolerance=0.02,
    near=0.015,
    margin=0.006,
)

TARGETS = {
    target.name: target
    for target in (
        _RATE,
        dataclasses.replace(
            _RATE,
            name="kbps",
            measure=lambda encoding: encoding.kbps,
            text=lambda value: f"{value:.4g} kbit/s",
            needs_time=True,
        ),
        Target(
            name="psnr",
            measure=lambda encoding: encoding.score,
            text=lambda value: f"{value:.2f} dB",
            ceiling=False,
            bounds_rate=False,
            needs_decoding=True,
            scale=lambda value: min(value, 1e3),  # equal signals have an infinite PSNR
            slope=-2.5,
            tolerance=0.2,
            near=0.06,
            margin=0.02,
        ),
    )
}
