"""A diffusion model as an image codec: every denoising step is one call of `recjax.VectorCoder`.

Images are digits of the fonts inside Matplotlib, 32x32, turned, moved and scaled. A denoiser learns E[x_0 | x_t]. The
sender knows x_0 and follows the forward process back, q(x_{t-1} | x_t, x_0); the receiver knows p(x_{t-1} | x_t), the
same Gaussian with the denoiser's guess in the place of x_0 (Ho, Jain and Abbeel, *Denoising diffusion probabilistic
models*, NeurIPS 2020). Both have one variance, and the divergence is (SNR_{t-1} - SNR_t) |x_0 - guess|^2 / 2 nats. The
message may end after every step, and the receiver shows the guess, or goes on without bits (Theis, Salimans, Hoffman
and Mentzer, *Lossy compression with Gaussian diffusion*, 2022).
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
import tyro
from flax import nnx
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

import recjax

SIDE, PATCH = 32, 4
LOG_SNR = 6.0  # the denoiser knows log signal-to-noise ratios from -6 to 6


@dataclasses.dataclass(frozen=True)
class Args:
    """Setting.

    Attributes:
        training_steps: steps of training.
        width: features of each patch inside the denoiser.
        layers: layers of the denoiser.
        coded_steps: denoising steps that are sent.
        step_bits: divergence of every step, in the mean over training images.
        images: held-out images that are sent.
    """

    training_steps: int = 400
    width: int = 64
    layers: int = 3
    coded_steps: int = 20
    step_bits: int = 20
    images: int = 6


FULL = Args(training_steps=6000, width=96, layers=4, coded_steps=32, images=30)


def digits(n: int, seed: int) -> np.ndarray:
    """Draws digits [n, 32, 32] in [-1, 1]; ten in a row are 0 to 9."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    styles = ("DejaVuSans", "DejaVuSerif", "STIXGeneral", "cmb", "cmr", "cmss", "cmtt")
    fonts = [
        path
        for path in sorted(folder.glob("*.ttf"))
        if path.stem.startswith(styles) and "Display" not in path.stem
    ]
    rng, images = np.random.default_rng(seed), np.empty((n, SIDE, SIDE), np.float32)
    for i in range(n):
        font = ImageFont.truetype(str(fonts[rng.integers(len(fonts))]), int(rng.integers(22, 31)))
        image, place = Image.new("L", (SIDE, SIDE)), tuple(15.5 + rng.uniform(-2, 2, 2))
        ImageDraw.Draw(image).text(place, str(i % 10), fill=255, font=font, anchor="mm")
        images[i] = image.rotate(rng.uniform(-12, 12), Image.Resampling.BICUBIC)
    return images / 127.5 - 1


class Mixer(nnx.Module):
    """Layer that mixes patches, then features (Tolstikhin et al., *MLP-Mixer*, NeurIPS 2021)."""

    def __init__(self, patches: int, width: int, rngs: nnx.Rngs):
        self.norms = nnx.List([nnx.LayerNorm(width, rngs=rngs) for _ in range(2)])
        sizes = [
            (patches, 2 * patches),
            (2 * patches, patches),
            (width, 2 * width),
            (2 * width, width),
        ]
        self.linear = nnx.List([nnx.Linear(*size, rngs=rngs) for size in sizes])

    def __call__(self, h):
        mixed = self.linear[1](nnx.gelu(self.linear[0](self.norms[0](h).swapaxes(1, 2))))
        h = h + mixed.swapaxes(1, 2)
        return h + self.linear[3](nnx.gelu(self.linear[2](self.norms[1](h))))


class Denoiser(nnx.Module):
    """Network of E[x_0 | x_t] that predicts sqrt(1 - a) noise-ward velocities, a = SNR / (1 + SNR)."""

    def __init__(self, width: int, layers: int, rngs: nnx.Rngs):
        patches = (SIDE // PATCH) ** 2
        self.inward = nnx.Linear(PATCH * PATCH, width, rngs=rngs)
        self.level = nnx.Linear(16, width, rngs=rngs)
        self.place = nnx.Param(0.02 * jax.random.normal(rngs(), (patches, width)))
        self.layers = nnx.List([Mixer(patches, width, rngs) for _ in range(layers)])
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.outward = nnx.Linear(
            width, PATCH * PATCH, kernel_init=nnx.initializers.zeros, rngs=rngs
        )

    def velocity(self, x, log_snr):
        grid = SIDE // PATCH
        patches = x.reshape(-1, grid, PATCH, grid, PATCH).swapaxes(2, 3)
        angle = log_snr[:, None] * jnp.arange(1, 9) / 8
        level = self.level(jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], -1))
        h = (
            self.inward(patches.reshape(-1, grid * grid, PATCH * PATCH))
            + level[:, None]
            + self.place
        )
        for layer in self.layers:
            h = layer(h)
        out = self.outward(self.norm(h)).reshape(-1, grid, grid, PATCH, PATCH)
        return out.swapaxes(2, 3).reshape(x.shape)

    def __call__(self, x, snr):
        """The guess of x_0 for images with one signal-to-noise ratio."""
        a = snr / (1 + snr)
        log_snr = jnp.clip(jnp.log(snr), -LOG_SNR, LOG_SNR)
        return jnp.sqrt(a) * x - jnp.sqrt(1 - a) * self.velocity(x, jnp.full(len(x), log_snr))


def train(args: Args, images: np.ndarray) -> Denoiser:
    """Learns a denoiser: velocities sqrt(a) noise - sqrt(1 - a) x_0 at all levels of noise alike."""
    model = Denoiser(args.width, args.layers, nnx.Rngs(0))
    rate = optax.warmup_cosine_decay_schedule(
        0, 2e-3, args.training_steps // 10, args.training_steps
    )
    optimizer = nnx.Optimizer(model, optax.adam(rate), wrt=nnx.Param)
    data = jnp.asarray(images)

    def loss(model, key):
        keys = jax.random.split(key, 3)
        x_0 = data[jax.random.randint(keys[0], (32,), 0, len(data))]
        log_snr = jax.random.uniform(keys[1], (32,), minval=-LOG_SNR, maxval=LOG_SNR)
        noise = jax.random.normal(keys[2], x_0.shape)
        a = jax.nn.sigmoid(log_snr)[:, None, None]
        x = jnp.sqrt(a) * x_0 + jnp.sqrt(1 - a) * noise
        wanted = jnp.sqrt(a) * noise - jnp.sqrt(1 - a) * x_0
        return jnp.mean(jnp.square(model.velocity(x, log_snr) - wanted))

    @nnx.jit
    def step(model, optimizer, key):
        optimizer.update(model, nnx.grad(loss)(model, key))

    for i in range(args.training_steps):
        step(model, optimizer, jax.random.key(i))
    return model


def schedule(model: Denoiser, images: np.ndarray, args: Args) -> np.ndarray:
    """Signal-to-noise ratios from 0 on; in the mean over images, each step to the next costs ``step_bits``."""
    x_0, snr, guess = jnp.asarray(images), [0.0], nnx.jit(Denoiser.__call__)
    for i in range(args.coded_steps):
        a = snr[-1] / (1 + snr[-1])
        noise = jax.random.normal(jax.random.key(i), x_0.shape)
        errors = guess(model, a**0.5 * x_0 + (1 - a) ** 0.5 * noise, jnp.float32(snr[-1])) - x_0
        squares = float(jnp.square(errors).sum((1, 2)).mean())
        snr.append(snr[-1] + 2 * np.log(2) * args.step_bits / squares)
    return np.array(snr, np.float32)


def back(x, x_0, snr, after) -> recjax.Normal:
    """q(x_{t-1} | x_t, x_0) from the ratios of x_t and x_{t-1}; p(x_{t-1} | x_t) if x_0 is the guess."""
    a, b = snr / (1 + snr), after / (1 + after)  # shares of the signal in the variance, 1
    mean = (jnp.sqrt(b) * (1 - a / b) * x_0 + jnp.sqrt(a / b) * (1 - b) * x) / (1 - a)
    std = jnp.sqrt((1 - b) * (1 - a / b) / (1 - a))
    return recjax.Normal(mean, jnp.full_like(mean, std))


class Walk(NamedTuple):
    """Noisy images and guesses of x_0 [steps + 1, n, 32, 32], and what is noted of each step."""

    x: Any
    guess: Any
    note: Any


class Sent(NamedTuple):
    """Notes of a sender: indices, and the divergences in bits that they are for."""

    index: Any
    kl_bits: Any


Choice = Callable[[Any, Callable[[Any], recjax.Normal], Any, Any], tuple[Any, Any]]
"""From the number of a step, the law of the next x given x_0, the guess, and what is given to the next x and a note."""


def walk(model: Denoiser, snr, x, choose: Choice, given=None) -> Walk:
    """Goes from the noise ``x`` back to the last ratio; ``choose`` says where every step leads."""

    def step(x, turn):
        number, before, after, given = turn
        guess = model(x, before)

        def law(x_0):
            return back(x, x_0, before, after)

        sample, note = choose(number, law, guess, given)
        return sample, Walk(x, guess, note)

    turns = jnp.arange(1, len(snr)), snr[:-1], snr[1:], given
    last, steps = jax.lax.scan(step, x, turns)
    xs = jnp.concatenate([steps.x, last[None]])
    return Walk(xs, jnp.concatenate([steps.guess, model(last, snr[-1])[None]]), steps.note)


UNIT = recjax.Normal(np.zeros((SIDE, SIDE), np.float32), 1.0)
"""Lengths and strings depend on the shape of the proposal alone."""


@dataclasses.dataclass(frozen=True)
class Codec:
    """Images to indices and back: every step is a call of ``coder`` for ``kl_bits``."""

    coder: recjax.VectorCoder
    kl_bits: int

    @nnx.jit(static_argnums=0)
    def encode(self, key, model: Denoiser, snr, x_0) -> Walk:
        """The sender's walk; its notes are the indices [steps, n, blocks]."""
        blocks = -(-self.kl_bits // (self.coder.block_bits - self.coder.extra_bits))
        table = self.coder.table(key, -(-SIDE * SIDE // blocks))  # one for all calls

        def one(target, proposal, call):
            return self.coder.encode(
                key, target, proposal, kl_bits=self.kl_bits, call=call, table=table
            )

        def choose(number, law, guess, _):
            code = jax.vmap(one)(law(x_0), law(guess), calls(number, len(x_0)))
            return code.sample, Sent(code.index, code.kl_bits)

        return walk(model, snr, self.noise(key, len(x_0)), choose)

    @nnx.jit(static_argnums=0)
    def decode(self, key, model: Denoiser, snr, index) -> Walk:
        """The same walk from the indices."""

        def one(index, proposal, call):
            return self.coder.decode(key, index, proposal, kl_bits=self.kl_bits, call=call)

        def choose(number, law, guess, index):
            return jax.vmap(one)(index, law(guess), calls(number, len(guess))), None

        return walk(model, snr, self.noise(key, index.shape[1]), choose, index)

    def noise(self, key, n: int):
        """The first x: a call of no bits decodes to noise that both sides know."""
        none = jnp.zeros(1, jnp.uint32)
        return jax.vmap(lambda call: self.coder.decode(key, none, UNIT, kl_bits=0, call=call))(
            calls(0, n)
        )

    def bits(self, key, index):
        """Lengths [steps, n] of indices [steps, n, blocks]."""

        def one(index):
            return self.coder.codelength(key, index, UNIT, kl_bits=self.kl_bits)

        return jnp.vectorize(one, signature="(b)->()")(index)

    def string(self, key, index) -> bytes:
        """The indices [steps, blocks] of one image as one string."""
        rates = [self.kl_bits] * len(index)
        return recjax.write_indices(
            self.coder, key, list(np.asarray(index)), kl_bits=rates, proposal=UNIT
        )


def calls(number, n: int):
    """Numbers of the calls of a step, different for all images and steps."""
    return number * n + jnp.arange(n, dtype=jnp.uint32)


@nnx.jit
def exact_walk(key, model: Denoiser, snr, x_0) -> Walk:
    """The walk of exact samples, which no coder sends with fewer bits than the divergence."""

    def choose(number, law, guess, _):
        target = law(x_0)
        noise = jax.random.normal(jax.random.fold_in(key, number), x_0.shape)
        return target.loc + target.scale * noise, jax.vmap(recjax.kl_bits)(target, law(guess))

    return walk(model, snr, jax.random.normal(key, x_0.shape), choose)


@nnx.jit
def complete(key, model: Denoiser, snr, x, start):
    """What the model makes of images that are ``start`` steps from noise, without another bit."""

    def choose(number, law, guess, _):
        own = law(guess)
        noise = jax.random.normal(jax.random.fold_in(key, number), x.shape)
        return jnp.where(number > start, own.loc + own.scale * noise, x), None

    return walk(model, snr, x, choose).guess[-1]


def psnr(guess, x_0):
    """Decibels of images [steps, n, 32, 32] in [-1, 1] by their mean squared error [steps]."""
    return 10 * np.log10(4 / np.square(guess - x_0).mean((1, 2, 3)))


def main(args: Args) -> Figure:
    """Trains, sends, decodes, prints what it cost, and draws it."""
    model = train(args, digits(8192, seed=0))
    snr = schedule(model, digits(256, seed=1), args)
    key, x_0 = jax.random.key(0), jnp.asarray(digits(args.images, seed=2))
    bits, more = args.step_bits, args.step_bits * 13 // 10
    path = recjax.VectorCoder(block_bits=14, method="trellis")
    codecs = {
        "ordered": Codec(recjax.VectorCoder(block_bits=14), bits),
        "trellis": Codec(path, bits),
        f"trellis, {more} bits for {bits}": Codec(path, more),
    }
    exact = exact_walk(key, model, snr, x_0)
    curves = {"exact samples, KL": (_sums(exact.note), psnr(exact.guess, x_0))}
    walks = {}
    for name, codec in codecs.items():
        sent = walks[name] = codec.encode(key, model, snr, x_0)
        received = codec.decode(key, model, snr, sent.note.index)
        curves[name] = _sums(codec.bits(key, sent.note.index)), psnr(received.guess, x_0)
        strings = [codec.string(key, sent.note.index[:, i]) for i in range(args.images)]
        kl = sent.note.kl_bits.mean(1)
        print(
            f"{name}: {np.mean([*map(len, strings)]):.1f} bytes per image, {curves[name][1][-1]:.2f} dB, "
            f"divergence of the first step {kl[0]:.0f} bits, of the last {kl[-1]:.0f}"
        )
    return draw(key, model, snr, x_0, curves, walks)


def _sums(bits) -> np.ndarray:
    """Bits after 0, 1, ... steps, in the mean over images, of bits [steps, n]."""
    return np.concatenate([[0], np.cumsum(np.mean(bits, 1))])


def draw(key, model: Denoiser, snr, x_0, curves, walks) -> Figure:
    """The guesses of one image, what the model completes them to, and distortion against bits."""
    figure = Figure(figsize=(11, 4.6), dpi=120, layout="constrained")
    pictures, plot = figure.subfigures(1, 2, width_ratios=(1.35, 1))
    places = np.linspace(1, len(snr) - 1, 6).round().astype(int)
    names = ("ordered", "trellis")
    grid = pictures.subplots(2 * len(names), len(places) + 1)
    for row, name in enumerate(names):
        walk, which = walks[name], min(5, len(x_0) - 1)
        for column, step in enumerate(places):
            completed = complete(key, model, snr, walk.x[step], step)
            above, below = grid[2 * row : 2 * row + 2, column]
            _show(above, walk.guess[step, which])
            _show(below, completed[which])
            above.set_title(f"{curves[name][0][step]:.0f} bits", fontsize=9)
        for place, kind in enumerate(("guess", "completed")):
            grid[2 * row + place, 0].set_ylabel(f"{name}\n{kind}", fontsize=9)
            _show(grid[2 * row + place, -1], x_0[which])
        grid[2 * row, -1].set_title("original", fontsize=9)
    axes = plot.subplots()
    for (name, (bits, decibels)), style in zip(
        curves.items(), ("k--", "C0o-", "C1s-", "C2^-"), strict=True
    ):
        axes.plot(bits, decibels, style, ms=4, label=name)
    axes.set(xlabel="bits per image", ylabel="PSNR of the guess (dB)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    return figure


def _show(axes, image) -> None:
    axes.imshow(image, cmap="gray_r", vmin=-1, vmax=1)
    axes.set(xticks=[], yticks=[])


if __name__ == "__main__":
    main(tyro.cli(Args)).savefig("diffusion.png")
