"""Private mean of 500 vectors of 1,000 dimensions in chunks, beside the Gaussian mechanism with quantisation.

Each client has a vector x of norm 1 and sends a sample of N(x, sigma^2 I), the Gaussian mechanism, with
`PoissonPrivate` and one index per chunk of coordinates; the server averages. sigma is the least with which the mean is
(epsilon, 1e-5)-private for those who see the mean alone. Beside it the same noise is added and the sum is rounded with
a dither that both sides know, at the ideal length of its entropy code: rounding adds error, and an entropy code for so
many levels spends on noise. See `experiments.figures.private_mean`, whose mechanisms these are.
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from matplotlib.figure import Figure

import recjax
from experiments.figures.private_mean import deviation, rounded_mean


@dataclasses.dataclass(frozen=True)
class Args:
    """Setting.

    Attributes:
        epsilons: privacy of the mean.
        clients: number of vectors.
        dimension: their dimension.
        chunk_nats: the most that ln of the largest density ratio of a chunk should be in the mean; a search examines
            about e to that power of candidates.
    """

    epsilons: tuple[float, ...] = (1.0,)
    clients: int = 500
    dimension: int = 1000
    chunk_nats: float = 5.0


FULL = Args(epsilons=(0.5, 1.0, 2.0, 4.0))


class Measured(NamedTuple):
    """Bits that a client writes in the mean, and squared error of the mean of all."""

    bits: float
    error: float


def estimate(args: Args, sigma: float, alpha: float = 2.0) -> Measured:
    """Sends all vectors in chunks, writes each client's string, and averages what the server decodes."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(args.clients, args.dimension)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    # The wider the proposal, the lower the largest ratio: least at sigma^2 (1 + gap) for norm 1
    gap = 1 / math.sqrt(args.dimension * sigma**2)
    nats = 0.5 / (gap * sigma**2) + args.dimension / 2 * math.log1p(gap)
    divisors = [n for n in range(1, args.dimension + 1) if args.dimension % n == 0]
    width = max(n for n in divisors if n * nats <= args.dimension * args.chunk_nats or n == 1)
    proposal = recjax.Normal(jnp.zeros(width), jnp.full(width, sigma * math.sqrt(1 + gap)))
    chunks = x.reshape(-1, width)
    targets = recjax.Normal(chunks, np.full_like(chunks, sigma))

    coder = recjax.PoissonPrivate(alpha=alpha)
    keys = jax.random.split(jax.random.key(0), len(chunks))  # known to the server
    secret = jax.random.split(jax.random.key(1), len(chunks))  # of a secure source, if it were real
    code = coder.encode_batch(keys, targets, proposal, private_keys=secret)

    kl = jax.jit(jax.vmap(recjax.kl_bits, (0, None)))(targets, proposal)
    rate = round(float(kl.mean()) + 1, 2)
    of_client = keys.reshape(args.clients, -1), np.asarray(code.index).reshape(args.clients, -1)
    strings = [
        recjax.write_indices(coder, *client, rate_bits=rate)
        for client in zip(*of_client, strict=True)
    ]
    z = jax.jit(jax.vmap(coder.decode, (0, 0, None)))(keys, code.index, proposal)
    mean = np.asarray(z).reshape(x.shape).mean(0)
    bits = 8 * float(np.mean([*map(len, strings)]))
    return Measured(bits, float(np.square(mean - x.mean(0)).sum()))


def main(args: Args) -> Figure:
    """Sends the vectors, prints what it cost, and draws error against bits."""
    figure = Figure(figsize=(7, 4.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    for i, epsilon in enumerate(args.epsilons):
        sigma = deviation(epsilon, 2 / args.clients) * math.sqrt(args.clients)
        sent, plain = estimate(args, sigma), args.dimension * sigma**2 / args.clients
        rounded = [rounded_mean(sigma, 2.0**k, args.dimension) for k in range(4)]
        print(
            f"epsilon {epsilon:g}: {sent.bits:.0f} bits per client, squared error {sent.error:.4f}; "
            f"of the noise alone {plain:.4f}; rounded to steps of 1 to 8 sigma: "
            + ", ".join(f"{r['bits']:.0f} bits {r['error'] / args.clients:.4f}" for r in rounded)
        )
        label = f"epsilon {epsilon:g}: "
        axes.plot(sent.bits, sent.error, f"C{i}*", ms=13, label=label + "PoissonPrivate")
        errors = [row["error"] / args.clients for row in rounded]
        axes.plot(
            [row["bits"] for row in rounded], errors, f"C{i}o-", ms=4, label=label + "rounded"
        )
        axes.axhline(plain, color=f"C{i}", ls=":", lw=1)
    axes.set(
        xscale="log", yscale="log", xlabel="bits per client", ylabel="squared error of the mean"
    )
    axes.set_title("dotted: the Gaussian mechanism, 32,000 bits of float32", fontsize=9)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


if __name__ == "__main__":
    main(tyro.cli(Args)).savefig("private_mean.png")
