"""Settings of a training of transforms."""

import dataclasses
import math

from recjax.codec.transform.architecture import TransformConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformTraining:
    """Settings of a training of a family of transform priors.

    Attributes:
        prices: Lagrange multipliers, one per prior: the price of a nat per cell of the signal
            (pixel), in units of the mean squared error of values in [0, 1].
        steps: gradient steps, each at one price.
        batch: crops per step.
        crop: sides of a crop, multiples of a cell of the top level; one number for all axes or one
            per axis. Crops should have several cells, unless signals are to be no larger: a network
            that saw single cells knows no neighbours.
        lr: Adam's learning rate after a warm-up; it falls to a fiftieth along a cosine.
        scales: sizes at which the signals are shown, besides the original one.
        recolour: whether crops change in ways that widen the statistics, see
            `recjax.codec.training.data.random_crops`.
        budget: bits of KL per block.
        seed: seed of the initial network, the crops and the samples.
        network: the architecture.

    Raises:
        ValueError: a number is out of its range.
    """

    prices: tuple[float, ...] = (2.5e-2, 7e-3, 2e-3, 6e-4)
    steps: int = 24000
    batch: int = 4
    crop: int | tuple[int, ...] = 128
    lr: float = 4e-3
    scales: tuple[float, ...] = (0.75, 0.5)
    recolour: bool = True
    budget: int = 16
    seed: int = 0
    network: TransformConfig = dataclasses.field(default_factory=TransformConfig)

    def __post_init__(self):
        for name in ("steps", "batch", "lr"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        if not self.prices or not all(0 < price < 1 for price in self.prices):
            raise ValueError(f"prices must be between 0 and 1, got {self.prices}")
        if not all(0 < scale < 1 for scale in self.scales):
            raise ValueError(f"scales must be between 0 and 1, got {self.scales}")
        cell = self.network.cell
        if len(self.sides) != len(cell) or any(
            n < 1 or n % c for n, c in zip(self.sides, cell, strict=True)
        ):
            sides = " x ".join(map(str, sorted(set(cell))))
            raise ValueError(f"crop must be a multiple of {sides}, got {self.crop}")
        if not 4 <= self.budget <= 20:
            raise ValueError(f"budget must be 4 to 20 bits, got {self.budget}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of a crop."""
        return (self.crop,) * self.network.rank if isinstance(self.crop, int) else self.crop
