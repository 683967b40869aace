"""One vector from PyTorch to NumPy: a photograph as 16,384 normal numbers.

Each pixel x of a photograph of unit variance becomes a sample of N(a x, 1 - a^2), so that all pixels together are about
N(0, 1): a Gaussian test channel of log2(1 / deviation) bits per pixel. The sender hands its array over by DLPack, from
PyTorch where that is installed, else from NumPy. The receiver is a process that has NumPy alone, and reads the string
of indices with `experiments.examples.numpy_receiver`.
"""

import dataclasses
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from matplotlib import cbook
from matplotlib.figure import Figure
from PIL import Image

import recjax

SIDE = 128
RECEIVER = """
import sys
import numpy as np
from experiments.examples.numpy_receiver import Settings, receive

data, key, kl_bits, settings = sys.stdin.buffer.read(), {key}, {kl_bits}, Settings({settings})
(normal,) = receive(data, key, {d}, [kl_bits], settings)
np.save({out!r}, normal)  # times the proposal's deviation 1, plus its mean 0
assert not {{"jax", "recjax"}} & set(sys.modules)
"""


@dataclasses.dataclass(frozen=True)
class Args:
    """Setting.

    Attributes:
        pixel_bits: bits per pixel.
        block_bits: log2 of the number of candidates of a block.
        extra_bits: those beyond the divergence of a block.
    """

    pixel_bits: float = 1.0
    block_bits: int = 12
    extra_bits: int = 4


FULL = Args(block_bits=16)


def photograph() -> np.ndarray:
    """Gray pixels [128, 128] of mean 0 and variance 1."""
    with Image.open(cbook.get_sample_data("grace_hopper.jpg")) as photo:
        face = photo.convert("L").crop((128, 20, 128 + 2 * SIDE, 20 + 2 * SIDE))
        pixels = np.asarray(face.resize((SIDE, SIDE), Image.Resampling.LANCZOS), np.float32)
    return (pixels - pixels.mean()) / pixels.std()


def of_sender(pixels: np.ndarray) -> Any:
    """The pixels as the sender has them: a tensor of PyTorch, or an array of NumPy."""
    if importlib.util.find_spec("torch"):
        import torch

        return torch.from_numpy(pixels)
    return pixels


def send(coder: recjax.VectorCoder, key, mean, std: float, kl_bits: int) -> tuple[bytes, Any]:
    """The string for a mean of any library that speaks DLPack, and the sample."""
    loc = jnp.from_dlpack(mean).ravel()
    target = recjax.Normal(loc, jnp.full_like(loc, std))
    proposal = recjax.Normal(jnp.zeros_like(loc), 1.0)
    code = coder.encode(key, target, proposal, kl_bits=kl_bits)
    string = recjax.write_indices(coder, key, [code.index], kl_bits=[kl_bits], proposal=proposal)
    return string, code.sample


def received(coder: recjax.VectorCoder, key, string: bytes, d: int, kl_bits: int) -> np.ndarray:
    """What a process without JAX makes of the string."""
    words = tuple(jax.random.key_data(key).tolist())
    settings = f"{coder.block_bits}, {coder.extra_bits}, {coder.method!r}"
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "normal.npy")
        script = RECEIVER.format(key=words, kl_bits=kl_bits, settings=settings, d=d, out=out)
        subprocess.run([sys.executable, "-c", script], input=string, check=True)
        return np.load(out)


def main(args: Args) -> Figure:
    """Sends the photograph with both methods, prints what it cost, and draws what arrived."""
    pixels, key = photograph(), jax.random.key(7)
    std = 2.0**-args.pixel_bits
    share = (1 - std**2) ** 0.5
    kl_bits = round(args.pixel_bits * pixels.size)
    figure = Figure(figsize=(9, 3.4), dpi=120, layout="constrained")
    original, *others = figure.subplots(1, 3)
    _show(original, pixels, f"{pixels.size:,} pixels")
    for method, axes in zip(("ordered", "trellis"), others, strict=True):
        coder = recjax.VectorCoder(
            block_bits=args.block_bits, extra_bits=args.extra_bits, method=method
        )
        mean = of_sender(share * pixels)
        string, sample = send(coder, key, mean, std, kl_bits)
        vector = received(coder, key, string, pixels.size, kl_bits)
        slope = vector @ pixels.ravel() / pixels.size / share
        print(
            f"{method}: {len(string)} bytes for {kl_bits / 8:.0f} bytes of divergence, sent from "
            f"{type(mean).__module__}; largest difference {abs(vector - sample).max():.1e}, slope {slope:.2f}"
        )
        _show(axes, vector.reshape(pixels.shape) / share, f"{method}: {len(string):,} bytes")
    return figure


def _show(axes, pixels, title: str) -> None:
    axes.imshow(pixels, cmap="gray", vmin=-2, vmax=2)
    axes.set(xticks=[], yticks=[], title=title)


if __name__ == "__main__":
    main(tyro.cli(Args)).savefig("photograph_vector.png")
