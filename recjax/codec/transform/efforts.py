"""Settings of the encoder of transforms by effort, 1 to 9."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformEffort:
    """How long an encoder of a transform works.

    Attributes:
        fit_steps: gradient steps on the posterior means before anything is coded.
        extra_bits: ``t``; a block has 2^(budget + t) candidates. Every bit doubles the time of the
            blocks for about 0.03 dB.

    Raises:
        ValueError: a setting is out of range.
    """

    fit_steps: int
    extra_bits: int = 0

    def __post_init__(self) -> None:
        for name, most in (("fit_steps", math.inf), ("extra_bits", 7)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be 0 to {most}, got {getattr(self, name)}")


_STEPS = {1: 0, 2: 5, 3: 10, 4: 15, 5: 20, 6: 30, 7: 50, 8: 100, 9: 200}
_EXTRA_BITS = {1: 0, 2: 0, 3: 0, 4: 0, 5: 1, 6: 1, 7: 2, 8: 3, 9: 4}

EFFORTS = {
    level: TransformEffort(fit_steps=_STEPS[level], extra_bits=_EXTRA_BITS[level])
    for level in range(1, 10)
}
