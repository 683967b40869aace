"""What ``effort`` 1 to 9 means: gradient steps and look-ahead.

For implicit neural representations more candidates (``extra_bits``) cost time and gain nothing that
``experiments/coding_gap.py`` can measure.
"""

import dataclasses
import math

from recjax.samplers.base import check_range


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effort:
    """How long an encoder works.

    Attributes:
      fit_steps: gradient steps before the first block is coded.
      refine_steps: gradient steps after each block.
      extra_bits: ``t``; a block has 2^(budget + t) candidates.
      lookahead: blocks that a block is chosen in view of.
      lr: learning rate of the fit, which falls to ``lr_refine``, which falls to ``lr_end`` at the last block.

    Raises:
      ValueError: a setting is out of range.
    """

    fit_steps: int
    refine_steps: int
    extra_bits: int = 0
    lookahead: int = 4
    lr: float = 0.05
    lr_refine: float = 0.03
    lr_end: float = 0.02

    def __post_init__(self) -> None:
        limits = (0, math.inf), (0, math.inf), (0, 7), (0, math.inf)
        names = "fit_steps", "refine_steps", "extra_bits", "lookahead"
        for name, (least, most) in zip(names, limits, strict=True):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be {least} to {most}, got {getattr(self, name)}")


EFFORTS = {
    1: Effort(fit_steps=60, refine_steps=2, lookahead=2),
    2: Effort(fit_steps=100, refine_steps=4, lookahead=2),
    3: Effort(fit_steps=200, refine_steps=6, lookahead=3),
    4: Effort(fit_steps=300, refine_steps=10, lookahead=3),
    5: Effort(fit_steps=500, refine_steps=16, lookahead=4),
    6: Effort(fit_steps=1000, refine_steps=30, lookahead=4),
    7: Effort(fit_steps=2000, refine_steps=60, lookahead=6),
    8: Effort(fit_steps=4000, refine_steps=120, lookahead=6, lr_end=0.01),
    9: Effort(fit_steps=10000, refine_steps=300, lookahead=6, lr_end=0.01),
}


_TRANSFORM_STEPS = {1: 0, 2: 5, 3: 10, 4: 15, 5: 20, 6: 30, 7: 50, 8: 100, 9: 200}
_TRANSFORM_EXTRA_BITS = {1: 0, 2: 0, 3: 0, 4: 0, 5: 1, 6: 1, 7: 2, 8: 3, 9: 4}
"""For transforms, whose blocks are coded in one pass: twice the time a bit, about 0.03 dB."""


def effort_of(level: int, *, transform: bool = False) -> Effort:
    """The settings of an effort level.

    Args:
      level: 1 to 9.
      transform: whether the prior is one of a transform.

    Raises:
      ValueError: ``level`` is not a whole number from 1 to 9.
    """
    check_range("effort", level, 1, 9)
    if transform:
        steps, extra_bits = _TRANSFORM_STEPS[level], _TRANSFORM_EXTRA_BITS[level]
        return Effort(fit_steps=steps, refine_steps=0, extra_bits=extra_bits)
    return EFFORTS[level]
