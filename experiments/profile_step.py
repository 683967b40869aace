"""What a gradient step of the encoder is bound by.

    python -m experiments.profile_step --prior photo-siren-high --rows 384

Times the whole step inside its compiled loop, and loops over each of its parts alone at the same shapes; the
rate of a large matrix product on the same cores is the yardstick.
"""

import math
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from recjax.codec import load_prior
from recjax.codec.siren.batch import make_batch
from recjax.codec.siren.encoding import prior_start
from recjax.codec.siren.fit import Job, adam, advance, initial_fit
from recjax.codec.siren.objective import in_chunks, posterior_gradient
from recjax.codec.siren.sine import sine_turns
from recjax.codec.siren.targets import make_targets, take_subset

STEPS = 50


def seconds(function: Callable, *args) -> float:
    """Of one call, the best of five after a warm-up."""
    jax.block_until_ready(function(*args))
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        jax.block_until_ready(function(*args))
        best = min(best, time.perf_counter() - start)
    return best


def looped(function: Callable) -> Callable:
    """``function`` applied ``STEPS`` times inside one program, so that its buffers are reused."""
    return jax.jit(lambda x: jax.lax.fori_loop(0, STEPS, lambda _, x: function(x), x))


def main(prior: str = "photo-siren-high", rows: int = 384) -> None:
    """Profiles the step of a batch of patches.

    Args:
        prior: name or path.
        rows: patches in the batch.
    """
    loaded = load_prior(prior)
    config, network = loaded.config, loaded.network
    batch = make_batch(loaded, [(rows, *(1,) * (len(loaded.patch) - 1))])
    geometry, padded = batch.layout.geometry, batch.padded[-1]
    shape = (padded, *loaded.patch, loaded.channels)
    patches = np.random.default_rng(0).uniform(-0.5, 0.5, shape).astype(np.float32)
    targets = make_targets(patches, split=config.split)
    state = initial_fit(batch.layout, prior_start(loaded), jnp.float32(np.log(loaded.beta)))
    key, rates = jax.random.key(0), (jnp.float32(1e-3), jnp.float32(1e-3))
    subset = take_subset(targets, 0)
    beta = jax.tree.map(lambda free: jnp.full(free.shape, loaded.beta), state.free)
    own = state.free[-1][:, : config.n_weight_latents]

    def whole(state):
        job = Job(network, jax.tree.map(jnp.asarray, batch.layout), targets, key)
        return advance(job, state, rates, steps=STEPS, budget=float(loaded.budget))[0]

    def gradient(posterior):
        g, _ = posterior_gradient(
            network, posterior, beta, state.free, state.free, subset, geometry
        )
        return jax.tree.map(lambda p, u: p - 1e-6 * u, posterior, g)

    def weights_only(z):
        """The products with the learned matrices, forward and backward."""

        def one(part):
            start, out = 0, []
            for i, size in enumerate(config.layer_latents):
                matrix = network.params["matrices"][i]
                out.append(part[:, start : start + size] @ matrix @ matrix.T)
                start += size
            return jnp.concatenate(out, axis=1)

        return in_chunks(one, z) * 1e-3

    def sines(hidden):
        return in_chunks(lambda part: sine_turns(part) * sine_turns(part + 0.25), hidden)

    def optimise(carry):
        posterior, optimiser = carry
        update, optimiser = adam().update(posterior, optimiser)
        return jax.tree.map(lambda p, u: p - 1e-6 * u, posterior, update), optimiser

    hidden = jnp.zeros((padded, config.width * (config.layers - 1), len(subset.points)))
    square = jnp.ones((2048, 2048))
    peak = 2 * 2048**3 / seconds(jax.jit(lambda a: jnp.matmul(a, a, precision="highest")), square)
    parts = {
        "whole step": seconds(whole, state) / STEPS,
        "gradient": seconds(looped(gradient), state.posteriors) / STEPS,
        "  latents to weights and back": seconds(looped(weights_only), own) / STEPS,
        "  sines and cosines": seconds(looped(sines), hidden) / STEPS,
        "noise": seconds(looped(lambda x: x + jax.random.normal(key, x.shape)), state.free[-1])
        / STEPS,
        "Adam": seconds(looped(optimise), (state.posteriors, state.optimiser)) / STEPS,
    }
    multiplications = (
        config.n_points
        // len(targets.points)
        * sum(n_in * n_out for n_in, n_out in config.layer_dims)
    )
    if config.encoding.depth:  # corners of all layers, the last one at one phase
        sides, rank = list(config.encoding.cells), config.rank
        for n_in, n_out, factor in config.encoding.layer_dims:
            corners = math.prod(side + 1 for side in sides)
            sides = [side * factor for side in sides]
            last = tuple(sides) == config.grid
            outputs = (factor // 2 if last else factor) ** rank * n_out
            multiplications += corners * 2**rank * n_in * outputs
    maps = sum(n * size for n, size in zip(config.layer_latents, config.layer_sizes, strict=True))
    flops = 2 * padded * (3 * multiplications + 2 * maps)
    print(
        f"{padded} rows, {len(subset.points)} of {config.n_points} points a step, {len(jax.devices())} device(s)"
    )
    for name, took in parts.items():
        print(
            f"{name:32} {1e3 * took:8.2f} ms  {1e6 * took / padded:7.1f} us a row  {took / parts['whole step']:5.0%}"
        )
    rate = flops / parts["whole step"]
    share = f"{rate / 1e9:.0f} GFLOP/s of {peak / 1e9:.0f} ({rate / peak:.0%})"
    print(f"products: {flops / padded / 1e6:.2f} MFLOP a row; {share}")


if __name__ == "__main__":
    tyro.cli(main)
