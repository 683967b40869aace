"""Settings of a training of staged coefficients."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True, kw_only=True)
class StagedTraining:
    """Settings of a training of contexts.

    Attributes:
        steps: gradient steps.
        batch: pieces of signals per step.
        frames: frames of a piece.
        lr: Adam's learning rate after a warm-up; it falls to a fiftieth along a cosine.
        hidden: hidden units of a layer.
        finest, coarsest: log2 of the least and the largest quantisation step relative to the root
            mean square of a piece's coefficients; each piece draws one between them.
        beta: squared quantisation step at the price 1, divided by 12, for values in [-1/2, 1/2].
        seed: seed of the initial network and the pieces.

    Raises:
        ValueError: a number is out of its range.
    """

    steps: int = 4000
    batch: int = 4
    frames: int = 192
    lr: float = 4e-3
    hidden: int = 64
    finest: float = -3.5
    coarsest: float = 3.5
    beta: float = 5e-6
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "frames", "lr", "hidden"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        if not self.finest < self.coarsest:
            raise ValueError(f"finest must be below coarsest, got {self.finest}, {self.coarsest}")
        if not 0 < self.beta < 1:
            raise ValueError(f"beta must be between 0 and 1, got {self.beta}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
