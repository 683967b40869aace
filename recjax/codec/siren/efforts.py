"""Settings of the encoder by effort, 1 to 9.

More candidates (``extra_bits``) cost time and gain nothing that ``experiments/coding_gap.py`` can
measure.
"""

import dataclasses
import math


@dataclasses.dataclass(frozen=True, kw_only=True)
class SirenEffort:
    """Amount of an encoder's work.

    Attributes:
        fit_steps: gradient steps before the first block is coded.
        refine_steps: gradient steps after each block.
        extra_bits: ``t``; a block has 2^(budget + t) candidates.
        lookahead: blocks after the coded one that the choice of its index takes into account.
        lr: learning rate at the start of the fit.
        lr_refine: learning rate at the end of the fit and when the first block is coded.
        lr_end: learning rate when the last block is coded.

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
    1: SirenEffort(fit_steps=60, refine_steps=2, lookahead=2),
    2: SirenEffort(fit_steps=100, refine_steps=4, lookahead=2),
    3: SirenEffort(fit_steps=200, refine_steps=6, lookahead=3),
    4: SirenEffort(fit_steps=300, refine_steps=10, lookahead=3),
    5: SirenEffort(fit_steps=500, refine_steps=16, lookahead=4),
    6: SirenEffort(fit_steps=1000, refine_steps=30, lookahead=4),
    7: SirenEffort(fit_steps=2000, refine_steps=60, lookahead=6),
    8: SirenEffort(fit_steps=4000, refine_steps=120, lookahead=6, lr_end=0.01),
    9: SirenEffort(fit_steps=10000, refine_steps=300, lookahead=6, lr_end=0.01),
}
