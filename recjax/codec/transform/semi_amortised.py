"""Semi-amortised inference: the amortised posterior, improved by gradient steps.

Kim et al. (ICML 2018); for compression Yang et al. (NeurIPS 2020). The steps learn an offset of
every posterior mean in units of its standard deviation, relative to the amortised posterior, which
goes on following the samples of the levels above. In these units and in nats the curvature of the
loss is about 1 where a latent carries bits and 0 where it carries none, so that plain gradient
steps of one length suit all latents; Adam would move those that carry nothing, by noise, as far as
the others. Standard deviations stay as they are: steps on them gained nothing.
"""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from recjax.codec.transform.amortised import Extent, ancestral_pass
from recjax.codec.transform.analysis import Features
from recjax.codec.transform.network import TransformNetwork, wide
from recjax.codec.transform.sinh_prior import kl_bits, posterior_of_u

_STEP = 0.15
_LARGEST_GRADIENT = 2.0
_GOLDEN = 0.6180339887


@jax.jit
def improved_offsets(
    network: TransformNetwork,
    features: Sequence[Features],
    values: Float[Array, "n *sides channels"],
    counted: Bool[Array, "n *sides 1"],
    cells: Int[Array, "axes"],
    lagrangian: Float[Array, ""],
    log_relative: Float[Array, ""],
    scales: Sequence[Array],
    tails: Sequence[Array],
    noise: Float[Array, "noise"],
    steps: Int[Array, ""],
) -> list[Array]:
    """Offsets of the posterior means of every level, lowest first, in standard deviations.

    Args:
        network: the transform.
        features: features of the signals.
        values: values in [-1/2, 1/2], of whole cells.
        counted: whether the error of a value counts.
        cells: cells of the top level that belong to the signals, from the first on; the others fill
            up the arrays.
        lagrangian: Lagrange multiplier: the price of a nat per cell of the signal, in units of the
            mean squared error.
        log_relative: logarithm of the Lagrange multiplier relative to the one of the training.
        scales, tails: parameters of the latents' prior.
        noise: standard normal noise, at least twice as much as there are latents.
        steps: number of steps.
    """
    config = network.config
    shapes = [
        (*x.coefficients.shape[:-1], depth)
        for x, depth in zip(features, config.depths, strict=True)
    ]
    extents = [_extent(config, level, shape[1:-1], cells) for level, shape in enumerate(shapes)]
    sizes = [math.prod(shape) for shape in shapes]
    total, ends = sum(sizes), [sum(sizes[: level + 1]) for level in range(len(sizes))]
    weight = 1 / (config.channels * lagrangian)

    def nats(mean_offsets, noise):
        posteriors, decoded = ancestral_pass(
            network, features, noise, mean_offsets, log_relative, extents
        )
        bits = jnp.float32(0)
        for (mean, log_std), scale, tail, extent in zip(posteriors, scales, tails, extents):
            u = posterior_of_u(mean, log_std, wide(scale, config.rank), wide(tail, config.rank))
            # cells beyond the signal are not coded
            bits = bits + jnp.sum(jnp.where(extent.inside, kl_bits(*u), 0))
        error = jnp.sum(jnp.where(counted, jnp.square(decoded - values), 0))
        return weight * error + math.log(2) * bits

    def step(i, mean_offsets):
        # another part of the noise in every step, by a low-discrepancy sequence: drawing as much
        # anew takes a fifth of the time of a step
        start = jnp.mod(jnp.float32(i) * _GOLDEN, 1) * total
        flat = jax.lax.dynamic_slice_in_dim(noise, start.astype(jnp.int32), total)
        drawn = [
            flat[end - size : end].reshape(shape) for end, size, shape in zip(ends, sizes, shapes)
        ]
        gradient = jax.grad(nats)(mean_offsets, drawn)
        size = _STEP * (1 - jnp.float32(i) / (jnp.float32(steps) + 1))
        return [
            x - size * jnp.clip(g, -_LARGEST_GRADIENT, _LARGEST_GRADIENT)
            for x, g in zip(mean_offsets, gradient)
        ]

    return jax.lax.fori_loop(0, steps, step, [jnp.zeros(shape) for shape in shapes])


def _extent(config, level, sides, cells):
    """The cells of a level that belong to the signal, the first ones along every axis."""
    scale = config.cells(level, (1,) * config.rank)
    counts = [n * s for n, s in zip(cells, scale, strict=True)]
    return Extent(
        _first(sides, counts), _first([side + 2 for side in sides], [n + 2 for n in counts])
    )


def _first(sides, counts):
    """Whether a place is among the first ones along every axis, ``[1, *sides, 1]``."""
    places = jnp.indices((1, *sides, 1), jnp.int32, sparse=True)[1:-1]
    return functools.reduce(jnp.logical_and, [x < n for x, n in zip(places, counts, strict=True)])
