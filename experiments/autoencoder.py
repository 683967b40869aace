"""A sampler inside a Flax training loop: an autoencoder whose latents are sent by branch-and-bound GPRS.

Patches of 8x8 gray pixels are mapped to latents with posteriors N(m, s^2) over N(0, 1). Every training step codes
them for real: the decoder sees what a receiver would decode, and gradients reach m and s through
x = m + s stop_gradient((x - m) / s), because an exact sample of N(m, s^2) is m + s times a standard normal variable. In
the end the indices of held-out patches are written as one string of bytes, read back and decoded. Every latent costs
about 2.5 bits beside its divergence: few latents of many bits are cheaper than many of few.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from matplotlib import cbook
from PIL import Image

import recjax
from recjax import read_indices, write_indices

CODER, PROPOSAL = recjax.BranchAndBoundGPRS(), recjax.Normal(0.0, 1.0)
SIDE = 8


class Autoencoder(nnx.Module):
    """Patches [64] to ``latents`` posteriors, and latents to patches."""

    def __init__(self, latents: int, rngs: nnx.Rngs):
        layers = [(SIDE * SIDE, 128), (128, 2 * latents), (latents, 128), (128, SIDE * SIDE)]
        self.inward, self.posterior, self.outward, self.pixels = (
            nnx.Linear(*shape, rngs=rngs) for shape in layers
        )

    def encode(self, patch):
        """The posterior of the latents; scales below 1 keep density ratios bounded."""
        loc, scale = jnp.split(self.posterior(jax.nn.gelu(self.inward(patch))), 2, axis=-1)
        return recjax.Normal(loc, jax.nn.sigmoid(scale - 2))

    def decode(self, latents):
        return self.pixels(jax.nn.gelu(self.outward(latents)))


def send(keys, posterior):
    """The code of every latent [n, latents], each with its own key."""
    flat = jax.tree.map(lambda x: jax.lax.stop_gradient(x.ravel()), posterior)
    return CODER.encode_batch(keys, flat, PROPOSAL)


def loss(model, patches, key, price):
    """Squared error plus ``price`` for a bit of KL divergence, means over patches."""
    posterior = model.encode(patches)
    sample = send(jax.random.split(key, posterior.loc.size), posterior).sample.reshape(
        posterior.loc.shape
    )
    noise = jax.lax.stop_gradient((sample - posterior.loc) / posterior.scale)
    error = jnp.square(model.decode(posterior.loc + posterior.scale * noise) - patches).sum(-1)
    bits = jax.vmap(lambda q: recjax.kl_bits(q, recjax.Normal(jnp.zeros_like(q.loc), 1.0)))(
        posterior
    )
    return jnp.mean(error + price * bits), (error.mean() / SIDE**2, bits.mean())


def photo_patches() -> tuple[np.ndarray, np.ndarray]:
    """Gray patches in [-1, 1] of a photograph inside Matplotlib: [n, 64] to learn from, and held-out ones."""
    with Image.open(cbook.get_sample_data("grace_hopper.jpg")) as photo:
        pixels = np.asarray(photo.convert("L"), np.float32) / 127.5 - 1
    rows, columns = (side // SIDE for side in pixels.shape)
    grid = pixels[: rows * SIDE, : columns * SIDE].reshape(rows, SIDE, columns, SIDE).swapaxes(1, 2)
    patches = grid.reshape(-1, SIDE * SIDE)
    return np.delete(patches, np.s_[::8], axis=0), patches[::8]


def train(
    patches: np.ndarray, steps: int, batch: int, latents: int, price: float, seed: int
) -> Autoencoder:
    """Learns from patches, and prints rates in bits a patch and the PSNR in dB."""
    model = nnx.state(module := Autoencoder(latents, nnx.Rngs(seed)), nnx.Param)
    graph = nnx.graphdef(module)
    optimiser = optax.adam(optax.cosine_decay_schedule(3e-3, steps))
    order = np.random.default_rng(seed).integers(len(patches), size=(steps, batch))

    @jax.jit
    def train(carry, turn):
        model, state = carry
        rows, key = turn

        def objective(model):
            return loss(nnx.merge(graph, model), jnp.asarray(patches)[rows], key, price)

        grads, (error, bits) = jax.grad(objective, has_aux=True)(model)
        updates, state = optimiser.update(grads, state)
        return (optax.apply_updates(model, updates), state), (error, bits)

    carry, keys = (model, optimiser.init(model)), jax.random.split(jax.random.key(seed), steps)
    for chunk in np.array_split(np.arange(steps), 10):
        carry, (error, bits) = jax.lax.scan(train, carry, (jnp.asarray(order[chunk]), keys[chunk]))
        psnr = 10 * jnp.log10(4 / error.mean())
        print(f"step {chunk[-1] + 1}: {bits.mean():.2f} bits a patch, {psnr:.2f} dB", flush=True)

    return nnx.merge(graph, carry[0])


def main(steps: int, batch: int, latents: int, price: float, seed: int) -> dict[str, float]:
    """Trains, codes the held-out patches, prints and returns rates in bits a patch and the PSNR in dB."""
    patches, held_out = photo_patches()
    module = train(patches, steps, batch, latents, price, seed)
    posterior = jax.jit(lambda patches: module.encode(patches))(held_out)
    keys = jax.random.split(jax.random.key(seed + 1), posterior.loc.size)
    codes = send(keys, posterior)
    kl = jax.vmap(lambda m, s: recjax.kl_bits(recjax.Normal(m, s), PROPOSAL))(
        posterior.loc.ravel(), posterior.scale.ravel()
    )
    rate = float(kl.mean())
    data = write_indices(CODER, keys, codes.index, rate_bits=rate)
    index = read_indices(CODER, data, keys, rate_bits=rate)
    received = jax.vmap(CODER.decode, (0, 0, None))(keys, index, PROPOSAL).reshape(
        posterior.loc.shape
    )
    decoded = np.clip(module.decode(received), -1, 1)
    results = {
        "kl": rate * latents,
        "written": 8 * len(data) / len(held_out),
        "psnr": float(10 * np.log10(4 / np.mean(np.square(decoded - held_out)))),
    }
    print(
        f"{len(held_out)} held-out patches: {len(data)} bytes, {results['written']:.2f} bits a patch, KL divergence "
        f"{results['kl']:.2f} bits, {results['psnr']:.2f} dB; {float(codes.steps.mean()):.2f} steps a latent"
    )
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--latents", type=int, default=8)
    parser.add_argument(
        "--price", type=float, default=0.02, help="squared error of a patch worth one bit"
    )
    parser.add_argument("--seed", type=int, default=0)
    main(**vars(parser.parse_args()))
