"""Latents of a variational autoencoder as strings: rate against distortion, bits written beside the ELBO's divergence.

The autoencoder is that of `experiments.autoencoder`: 8x8 patches of a photograph have latents with posteriors N(m, s^2)
over N(0, 1), and the decoder learns from what a receiver would decode. Trained at some prices of a bit, it sends the
latents of all held-out patches: one at a time, by `BranchAndBoundGPRS`, or as one long vector, by `VectorCoder`.
"""

import contextlib
import dataclasses
import io
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from matplotlib.figure import Figure

import recjax
from experiments import autoencoder


@dataclasses.dataclass(frozen=True)
class Args:
    """Setting.

    Attributes:
        steps: steps of training at each price.
        latents: latents of a patch.
        prices: squared error of a patch worth one bit.
        block_bits: log2 of the number of candidates of a block of the vector.
    """

    steps: int = 200
    latents: int = 16
    prices: tuple[float, ...] = (0.1, 0.005)
    block_bits: int = 12


FULL = Args(steps=1500, prices=(0.3, 0.1, 0.03, 0.01, 0.003), block_bits=16)


class Sent(NamedTuple):
    """The string of all latents, and the latents [n, latents] as the receiver decodes them from it."""

    string: bytes
    latents: np.ndarray


def one_by_one(posterior: recjax.Normal, kl_bits: float) -> Sent:
    """A key and an index for every latent, exact samples; the receiver knows the mean divergence."""
    coder, key = autoencoder.CODER, jax.random.key(1)
    n, rate = posterior.loc.size, round(kl_bits / posterior.loc.size, 2)
    keys = jax.random.split(key, n)
    index = autoencoder.send(keys, posterior).index
    string = recjax.write_indices(coder, keys, index, rate_bits=rate)
    index = recjax.read_indices(coder, string, keys, rate_bits=rate)
    latents = jax.vmap(coder.decode, (0, 0, None))(keys, index, autoencoder.PROPOSAL)
    return Sent(string, latents.reshape(posterior.loc.shape))


def as_vector(coder: recjax.VectorCoder, posterior: recjax.Normal, kl_bits: float) -> Sent:
    """All latents as one vector; the receiver knows its divergence."""
    key, kl = jax.random.key(1), [round(kl_bits)]
    target = jax.tree.map(jnp.ravel, posterior)
    proposal = recjax.Normal(jnp.zeros(target.loc.shape), 1.0)
    code = coder.encode(key, target, proposal, kl_bits=kl[0])
    string = recjax.write_indices(coder, key, [code.index], kl_bits=kl, proposal=proposal)
    (index,) = recjax.read_indices(coder, string, key, kl_bits=kl, proposal=proposal)
    latents = coder.decode(key, index, proposal, kl_bits=kl[0])
    return Sent(string, latents.reshape(posterior.loc.shape))


class Point(NamedTuple):
    """Bits per patch, and PSNR in dB."""

    bits: float
    psnr: float


def measure(args: Args, price: float) -> dict[str, Point]:
    """Trains at a price, and sends the held-out patches in every way."""
    patches, held_out = autoencoder.photo_patches()
    with contextlib.redirect_stdout(io.StringIO()):  # its progress
        model = autoencoder.train(patches, args.steps, 64, args.latents, price, seed=0)
    posterior = jax.jit(lambda patches: model.encode(patches))(held_out)
    unit = recjax.Normal(jnp.zeros(args.latents), 1.0)
    kl_bits = float(jax.vmap(lambda q: recjax.kl_bits(q, unit))(posterior).sum())

    def psnr(latents) -> float:
        decoded = np.clip(model.decode(latents), -1, 1)
        return float(10 * np.log10(4 / np.mean(np.square(decoded - held_out))))

    noise = jax.random.normal(jax.random.key(2), posterior.loc.shape)
    exact = psnr(posterior.loc + posterior.scale * noise)
    found = {"KL divergence, exact samples": Point(kl_bits / len(held_out), exact)}
    ways = {
        "each latent, branch-and-bound GPRS": one_by_one(posterior, kl_bits),
        "vector, ordered": as_vector(
            recjax.VectorCoder(block_bits=args.block_bits), posterior, kl_bits
        ),
        "vector, trellis": as_vector(
            recjax.VectorCoder(block_bits=args.block_bits, method="trellis"), posterior, kl_bits
        ),
    }
    for name, sent in ways.items():
        found[name] = Point(8 * len(sent.string) / len(held_out), psnr(sent.latents))
    for name, point in found.items():
        print(f"price {price:g}, {name}: {point.bits:.1f} bits per patch, {point.psnr:.2f} dB")
    return found


def main(args: Args) -> Figure:
    """Measures all prices, and draws distortion and bits written against the divergence."""
    rows = [measure(args, price) for price in args.prices]
    figure = Figure(figsize=(10, 4), dpi=120, layout="constrained")
    rate, written = figure.subplots(1, 2)
    divergence, *_ = rows[0]
    for name, style in zip(rows[0], ("k--", "C2^-", "C0o-", "C1s-"), strict=True):
        points = [row[name] for row in rows]
        bits = [point.bits for point in points]
        rate.plot(bits, [point.psnr for point in points], style, ms=5, label=name)
        written.plot([row[divergence].bits for row in rows], bits, style, ms=5, label=name)
    rate.set(xlabel="bits per patch of 64 pixels", ylabel="PSNR of held-out patches (dB)")
    written.set(
        xlabel="KL divergence, the rate of the ELBO (bits per patch)",
        ylabel="bits written per patch",
    )
    for axes in (rate, written):
        axes.grid(alpha=0.3)
    written.legend(fontsize=9)
    return figure


if __name__ == "__main__":
    main(tyro.cli(Args)).savefig("vae_latents.png")
