"""A modality of one axis: signals in time with two channels."""

import numpy as np

from recjax.modalities import Grid, Signal
from recjax.modalities.modality import Modality, Score

MAGIC = b"SOUN"


def check(signal: Signal) -> None:
    values = np.asarray(signal.values)
    if values.dtype != np.float32 or values.ndim != 2 or values.shape[1] != 2:
        raise ValueError(f"the values of a sound must be float32[T, 2], got {values.shape}")


def to_grid(signal: Signal) -> Grid:
    return Grid(signal.values / 2, flag=bool(signal.meta.get("loud")))


def from_grid(grid: Grid) -> Signal:
    values = np.clip(2 * grid.values, -1, 1).astype(np.float32)
    return Signal(values, "sound", {"loud": grid.flag})


def read(data: bytes, name: str) -> Signal:
    if len(data) < 9 or len(data) != 9 + 8 * int.from_bytes(data[5:9], "big"):
        raise ValueError(f"{name} is damaged")
    values = np.frombuffer(data[9:], "<f4").reshape(-1, 2)
    return Signal(values.copy(), "sound", {"loud": data[4] == 1})


def write(signal: Signal, suffix: str) -> bytes:
    head = MAGIC + bytes([signal.meta["loud"]]) + len(signal.values).to_bytes(4, "big")
    return head + signal.values.astype("<f4").tobytes()


def snr(original: Signal, decoded: Signal) -> float:
    error = float(np.square(original.values - decoded.values).mean())
    return np.inf if error == 0 else -10 * np.log10(error)


SOUND = Modality(
    name="sound",
    code=5,
    axes=("time",),
    channels=frozenset({2}),
    unit="sample",
    max_side=1 << 16,
    max_cells=1 << 16,
    score=Score("SNR", "dB", snr),
    qualities={"only": "sound-only"},
    default_quality="only",
    check=check,
    to_grid=to_grid,
    from_grid=from_grid,
    formats="toy sound",
    sniff=lambda head: head.startswith(MAGIC),
    read=read,
    write=write,
    suffixes=(".sound",),
    describe=lambda flag, meta: {"loud": flag},
    symmetry=lambda values, rng: values[::-1] if rng.random() < 0.5 else values,
    augment=lambda values, rng: values * np.float32(rng.uniform(0.5, 1)),
)


def sounds(seed, count, sides, slowest, fastest):
    """Sines of two channels, with frequencies in radians per sample."""
    rng, t = np.random.default_rng(seed), np.arange(sides[0])[:, None]
    waves = [np.sin(rng.uniform(slowest, fastest) * t + rng.uniform(0, 6, 2)) for _ in range(count)]
    return [Signal(np.float32(0.8 * wave), "sound", {"loud": False}) for wave in waves]
