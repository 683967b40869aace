"""A modality of three axes: volumes of one channel, 8 bits each."""

import math

import numpy as np

from recjax.modalities import Grid, Signal
from recjax.modalities.modality import Modality, Score

MAGIC = b"VOLU"


def check(signal: Signal) -> None:
    values = np.asarray(signal.values)
    if values.dtype != np.uint8 or values.ndim != 3:
        raise ValueError(f"the values of a volume must be uint8[D, H, W], got {values.shape}")


def to_grid(signal: Signal) -> Grid:
    return Grid(signal.values[..., None].astype(np.float32) / 255 - 0.5)


def from_grid(grid: Grid) -> Signal:
    levels = np.rint(255 * (np.clip(grid.values[..., 0], -0.5, 0.5) + 0.5))
    return Signal(levels.astype(np.uint8), "volume")


def read(data: bytes, name: str) -> Signal:
    sides = [int.from_bytes(data[at : at + 4], "big") for at in (4, 8, 12)]
    if len(data) != 16 + math.prod(sides):
        raise ValueError(f"{name} is damaged")
    return Signal(np.frombuffer(data[16:], np.uint8).reshape(sides).copy(), "volume")


def write(signal: Signal, suffix: str) -> bytes:
    sides = b"".join(side.to_bytes(4, "big") for side in signal.values.shape)
    return MAGIC + sides + signal.values.tobytes()


def mean_error(original: Signal, decoded: Signal) -> float:
    return float(np.abs(original.values.astype(int) - decoded.values).mean())


VOLUME = Modality(
    name="volume",
    code=6,
    axes=("depth", "height", "width"),
    channels=frozenset({1}),
    unit="voxel",
    max_side=1 << 10,
    max_cells=1 << 20,
    score=Score("error", "levels", mean_error),
    qualities={"low": "volume-low", "high": "volume-high"},
    default_quality="high",
    check=check,
    to_grid=to_grid,
    from_grid=from_grid,
    formats="toy volume",
    sniff=lambda head: head.startswith(MAGIC),
    read=read,
    write=write,
    suffixes=(".volume",),
    describe=lambda flag, meta: {},
    symmetry=lambda values, rng: values[::-1] if rng.random() < 0.5 else values,
    augment=lambda values, rng: values,
)


def volumes(seed, count, sides, spread):
    """Plane waves, whose frequencies have a standard deviation of ``spread`` radians per cell."""
    rng, out = np.random.default_rng(seed), []
    places = np.meshgrid(*map(np.arange, sides), indexing="ij")
    for _ in range(count):
        phase = sum(rng.normal(0, spread) * place for place in places)
        out.append(Signal(np.uint8(128 + 100 * np.sin(phase + rng.uniform(0, 6))), "volume"))
    return out
