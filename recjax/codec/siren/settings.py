"""Settings of a training run."""

import dataclasses
import math

from recjax.codec.siren.groups import kinds, n_rows
from recjax.codec.siren.network import SirenConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a prior is trained.

    Attributes:
      rate: wanted KL in bits per grid cell (pixel), averaged over the training signals.
      rounds: rounds of 50 gradient steps; the learning rate falls to zero at the end.
      batch: patches a round, about: whole signals, as many as fill chunks of 128 patches if any number up to this does.
        Else they are worked on in chunks of about 128.
      lr: Adam's learning rate for the posteriors (in units of the prior's standard deviation).
      lr_shared: Adam's learning rate for matrices and features.
      steering: change of log beta in a step, per nat by which log KL misses its goal.
      budget: bits of KL a block.
      scene: rows and columns of patches of a training signal. More than one are needed to learn seamless
        positional encodings and a hierarchy.
      levels: 1 for patches alone, 2 with a level above them for the whole image, 3 with regions in between.
      region: patches along a side of a region.
      seed: of the initial network, the batches, the noise and the block partition.
      network: the architecture.

    Raises:
      ValueError: a number is out of its range.
    """

    rate: float = 1.0
    rounds: int = 400
    batch: int = 1024
    lr: float = 0.02
    lr_shared: float = 1e-3
    steering: float = 5e-4
    budget: int = 16
    scene: tuple[int, int] = (1, 1)
    levels: int = 1
    region: int = 4
    seed: int = 0
    network: SirenConfig = dataclasses.field(default_factory=SirenConfig)

    def __post_init__(self) -> None:
        for name in ("rate", "rounds", "batch", "lr", "lr_shared", "steering"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        if not 4 <= self.budget <= 20:
            raise ValueError(f"budget must be 4 to 20 bits, got {self.budget}")
        if len(self.network.grid) != 2:
            raise ValueError(f"grid must be height and width, got {self.network.grid}")
        if len(self.scene) != 2 or min(self.scene) < 1:
            raise ValueError(f"scene must be two positive numbers of patches, got {self.scene}")
        if self.levels not in (1, 2, 3):
            raise ValueError(f"levels must be 1 to 3, got {self.levels}")
        if self.region < 1:
            raise ValueError(f"region must be positive, got {self.region}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        if self.network.latents is not None:
            raise ValueError(f"latents are chosen after training, got {self.network.latents}")

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of every group that a signal has."""
        return tuple(n_rows(kind, self.scene, self.region) for kind in kinds(self.levels))

    @property
    def n_points(self) -> int:
        """Pixels of a signal."""
        return math.prod(self.scene) * self.network.n_points

    @property
    def signal_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a training signal."""
        (height, width), (rows, columns) = self.network.grid, self.scene
        return height * rows, width * columns, self.network.channels
