"""Latents of a variational autoencoder, sent by each sampler: bits written against divergence and negative ELBO.

Patches of 8x8 gray pixels (those of `experiments.autoencoder`) have posteriors N(m, s^2) over N(0, 1), and pixels
logistic distributions in 256 bins round what the decoder makes of the latents, so that the negative ELBO is the length
of a lossless code but for the cost of sampling. The samples of one latent, of all held-out patches, are one string of
bytes, tuned to their mean divergence; the receiver reads it and decodes. Ordered random coding takes several latents at
once, so many that their divergence is rarely above its budget; its samples are not exact, which the likelihood shows.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import recjax
from experiments.autoencoder import SIDE, Autoencoder, photo_patches
from experiments.figures.points import Points
from recjax import Coder, read_indices, write_indices
from recjax.results.files import Axis, Curve, Panel, Results

PIXELS = SIDE * SIDE
BUDGET = 14
CODERS: dict[str, Coder] = {
    "branch-and-bound GPRS": recjax.BranchAndBoundGPRS(),
    "branch-and-bound GPRS, dyadic": recjax.BranchAndBoundGPRS(split="dyadic"),
    "GRCS": recjax.GreedyRejectionCoder(),
    "GRCD": recjax.GreedyRejectionCoder(split="dyadic"),
    "AS*": recjax.AStarCoder(),
    "AD*": recjax.AStarCoder(split="dyadic"),
    "ordered random coding of blocks": recjax.OrderedRandomCoder(budget_bits=BUDGET),
}
_GRC = (20, 50, 100), (1.391, 1.357, 1.362), (1.472, 1.511, 1.523)
"""Latents, negative ELBO, and bits written with a zeta code, in bits per dimension."""


def likelihood_bits(model: dict[str, Any], module: Autoencoder, latents, patches):
    """-log2 p(patch | latents) [n]: every pixel a logistic distribution in 256 bins of [-1, 1]."""
    scale, half = jnp.exp(model["log_scale"]), 1 / 255
    distance = patches - module.decode(latents)
    below = jnp.where(patches < -1 + half, -1e3, (distance - half) / scale)
    above = jnp.where(patches > 1 - half, 1e3, (distance + half) / scale)
    log_mass = (
        jax.nn.log_sigmoid(above) + jax.nn.log_sigmoid(-below) + jnp.log(-jnp.expm1(below - above))
    )
    return -log_mass.sum(-1) / np.log(2)


def divergences(posterior: recjax.Normal):
    """Bits of KL divergence of every latent, in the shape of the posterior."""
    flat = jax.vmap(lambda m, s: recjax.kl_bits(recjax.Normal(m, s), recjax.Normal(0.0, 1.0)))
    return flat(posterior.loc.ravel(), posterior.scale.ravel()).reshape(posterior.loc.shape)


def train(
    patches: np.ndarray, latents: int, steps: int
) -> Callable[[Any], tuple[recjax.Normal, Any]]:
    """Learns an autoencoder; gives patches [n, 64] posteriors [n, latents] and a function latents -> bits of pixels."""
    module = Autoencoder(latents, nnx.Rngs(0))
    graph, network = nnx.split(module, nnx.Param)
    model = {"network": network, "log_scale": jnp.full(PIXELS, -2.0)}
    optimiser = optax.adam(optax.cosine_decay_schedule(2e-3, steps))

    def loss(model, patches, key):
        own = nnx.merge(graph, model["network"])
        posterior = own.encode(patches)
        sample = posterior.loc + posterior.scale * jax.random.normal(key, posterior.loc.shape)
        return (
            jnp.mean(likelihood_bits(model, own, sample, patches) + divergences(posterior).sum(-1))
            / PIXELS
        )

    @jax.jit
    def learn(model, keys):
        def step(carry, key):
            model, state = carry
            rows, noise = jax.random.split(key)
            batch = jnp.asarray(patches)[jax.random.randint(rows, (64,), 0, len(patches))]
            updates, state = optimiser.update(jax.grad(loss)(model, batch, noise), state)
            return (optax.apply_updates(model, updates), state), None

        return jax.lax.scan(step, (model, optimiser.init(model)), keys)[0][0]

    model = learn(model, jax.random.split(jax.random.key(latents), steps))
    own = nnx.merge(graph, model["network"])

    @jax.jit
    def use(patches):
        return own.encode(patches)

    return lambda patches: (use(patches), lambda sent: likelihood_bits(model, own, sent, patches))


def blocks(coder: Coder, kl: np.ndarray) -> list[list[int]]:
    """Which latents are coded together: one each, or as many as the budget takes of nearly all patches [n, latents]."""
    if not isinstance(coder, recjax.OrderedRandomCoder):
        return [[latent] for latent in range(kl.shape[1])]
    found: list[list[int]] = [[]]
    for latent in np.argsort(-kl.mean(0)):
        if found[-1] and np.quantile(kl[:, [*found[-1], latent]].sum(1), 0.95) > BUDGET - 3:
            found.append([])
        found[-1].append(int(latent))
    return found


@functools.partial(jax.jit, static_argnums=0)
def decode(coder: Coder, keys, index, proposal):
    """The samples of a batch of indices."""
    return jax.vmap(coder.decode, (0, 0, None))(keys, index, proposal)


def send(
    coder: Coder, posterior: recjax.Normal, kl: np.ndarray
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Writes, reads and decodes all latents: divergence and written bits a patch for every block, and the latents."""
    rows, received = [], np.zeros(kl.shape, np.float32)
    for number, latents in enumerate(blocks(coder, kl)):
        where = latents if len(latents) > 1 else latents[0]
        targets = recjax.Normal(posterior.loc[:, where], posterior.scale[:, where])
        proposal = recjax.Normal(np.zeros(targets.loc.shape[1:], np.float32), 1.0)
        keys = jax.random.split(jax.random.fold_in(jax.random.key(1), number), len(kl))
        rate = float(kl[:, latents].sum(1).mean())
        code = coder.encode_batch(keys, targets, proposal)
        data = write_indices(coder, keys, code.index, rate_bits=rate)
        index = read_indices(coder, data, keys, rate_bits=rate)
        received[:, where] = decode(coder, keys, jnp.asarray(index), proposal)
        rows.append(
            {
                "latents": latents,
                "kl": rate,
                "written": 8 * len(data) / len(kl),
                "steps": float(code.steps.mean()),
            }
        )
    return rows, received


def measure(latents: int, steps: int) -> dict[str, Any]:
    """Trains and sends the held-out patches with every coder: rates in bits a patch, code lengths in bits a pixel."""
    patches, held_out = photo_patches()
    posterior, pixel_bits = train(patches, latents, steps)(held_out)
    kl = np.asarray(jax.jit(divergences)(posterior))
    exact = posterior.loc + posterior.scale * jax.random.normal(
        jax.random.key(2), posterior.loc.shape
    )
    coded = {}
    for name, coder in CODERS.items():
        rows, received = send(coder, posterior, kl)
        written = sum(row["written"] for row in rows)
        length = (written + float(pixel_bits(received).mean())) / PIXELS
        coded[name] = {"written": written, "length": length, "blocks": rows}
    kl_bits = float(kl.sum(1).mean())
    return {
        "kl": kl_bits,
        "nelbo": (kl_bits + float(pixel_bits(exact).mean())) / PIXELS,
        "coded": coded,
    }


def figure(full: bool, point: Points) -> Results:
    """Rates, code lengths and overhead against the number of latents, and overhead against divergence."""
    sizes, steps = ((2, 4, 8, 16, 32), 20_000) if full else ((4, 8, 16), 2000)
    found = {
        size: point(f"{size} latents", lambda size=size: measure(size, steps)) for size in sizes
    }
    panels = (
        _by_size("Rate", "rate (bits per patch)", found, "KL divergence", lambda own: own["kl"], _written),
        _by_size(
            "Code length", "latents and pixels (bits per pixel)", found, "negative ELBO", lambda own: own["nelbo"],
            lambda own, name: own["coded"][name]["length"],
        ),
        _overhead_by_size(found),
        _overhead_by_divergence(found),
    )  # fmt: skip
    description = f"8x8 patches of a photograph, 600 held out, {steps} training steps; published: MNIST, other networks"
    details = {"measured": [{"latents": size, **own} for size, own in found.items()]}
    return Results("vae", description, "python -m experiments.figures vae", panels, details)


_LATENTS = Axis("latents", "log2")


def _written(own, name):
    return own["coded"][name]["written"]


def _by_size(title, label, found, ideal, value, coded):
    """Of every coder, and what no exact coder can beat."""
    x = tuple(map(float, found))
    curves = [Curve(name, x, tuple(coded(own, name) for own in found.values())) for name in CODERS]
    return Panel(
        title, _LATENTS, Axis(label), (Curve(ideal, x, tuple(map(value, found.values()))), *curves)
    )


def _overhead_by_size(found):
    x = tuple(map(float, found))
    curves = [
        Curve(
            name, x, tuple((_written(own, name) - own["kl"]) / size for size, own in found.items())
        )
        for name in CODERS
    ]
    sizes, nelbo, length = _GRC
    overhead = tuple((b - a) * 28 * 28 / n for n, a, b in zip(sizes, nelbo, length, strict=True))
    source = "Flamich, Markou and Hernandez-Lobato, NeurIPS 2023: (code length - negative ELBO) of 784 dimensions"
    published = Curve(
        "GRC, MNIST", tuple(map(float, sizes)), overhead, kind="published", source=source
    )
    return Panel(
        "Overhead", _LATENTS, Axis("written less KL (bits per latent)"), (*curves, published)
    )


def _overhead_by_divergence(found):
    """Of coders that send one latent at a time."""
    curves = []
    for name, coder in CODERS.items():
        if not isinstance(coder, recjax.OrderedRandomCoder):
            rows = sorted(
                (row["kl"], row["written"])
                for own in found.values()
                for row in own["coded"][name]["blocks"]
            )
            kl = tuple(bits for bits, _ in rows)
            curves.append(
                Curve(name, kl, tuple(written - bits for bits, written in rows), joined=False)
            )
    return Panel(
        "Overhead of a latent", Axis("KL (bits)"), Axis("written less KL (bits)"), tuple(curves)
    )
