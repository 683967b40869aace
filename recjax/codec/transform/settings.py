"""Settings of a training of transforms."""

import dataclasses
import math

from recjax.codec.transform.network import TransformConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformTraining:
    """How a family of transform priors is trained.

    Attributes:
      prices: of a nat a pixel, in units of the mean squared error of values in [0, 1]; one prior each.
      steps: gradient steps, each at one price.
      batch: crops a step.
      crop: side of a crop in pixels, a multiple of a cell of the top level; several cells, unless images are to be
        no larger: a network that saw single cells knows no neighbours.
      lr: Adam's learning rate after a warm-up; it falls to a fiftieth along a cosine.
      scales: sizes at which the images are shown, besides their own.
      recolour: whether colours and contrast of crops change, see :func:`recjax.codec.training.data.random_crops`.
      budget: bits of KL a block.
      seed: of the initial network, the crops and the block partition.
      network: the architecture.

    Raises:
      ValueError: a number is out of its range.
    """

    prices: tuple[float, ...] = (2.5e-2, 7e-3, 2e-3, 6e-4)
    steps: int = 24000
    batch: int = 4
    crop: int = 128
    lr: float = 4e-3
    scales: tuple[float, ...] = (0.75, 0.5)
    recolour: bool = True
    budget: int = 16
    seed: int = 0
    network: TransformConfig = dataclasses.field(default_factory=TransformConfig)

    def __post_init__(self):
        for name in ("steps", "batch", "crop", "lr"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        if not self.prices or not all(0 < price < 1 for price in self.prices):
            raise ValueError(f"prices must be between 0 and 1, got {self.prices}")
        if not all(0 < scale < 1 for scale in self.scales):
            raise ValueError(f"scales must be between 0 and 1, got {self.scales}")
        if self.crop % self.network.cell:
            raise ValueError(f"crop must be a multiple of {self.network.cell}, got {self.crop}")
        if not 4 <= self.budget <= 20:
            raise ValueError(f"budget must be 4 to 20 bits, got {self.budget}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
