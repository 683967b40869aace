"""Semi-amortised inference: the guess of an analysis, moved by gradient steps for the image at hand.

Kim et al. (ICML 2018); for compression Yang et al. (NeurIPS 2020). What is learned is a move of every posterior mean
in units of its standard deviation, relative to the guess, which goes on following the samples of the levels above. In
these units and in nats the curvature of the loss is about 1 where a latent carries bits and 0 where it carries none, so
that plain gradient steps of one length suit all latents; Adam would move those that carry nothing, by noise, as far as
the others. Standard deviations stay as guessed: steps on them gained nothing.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from recjax.codec.prior import Network
from recjax.codec.transform.amortised import descend
from recjax.codec.transform.analysis import Seen
from recjax.codec.transform.sinh_prior import kl_bits, posterior_of_u

_STEP = 0.15
_LARGEST_GRADIENT = 2.0

Moves = tuple[Float[Array, "n height width depth"], ...]
"""Of the posterior means of every level, lowest first, in standard deviations."""


@jax.jit
def moved(
    network: Network,
    seen: Sequence[Seen],
    moves: Moves,
    images: Float[Array, "n height width channels"],
    inside: Bool[Array, "n height width 1"],
    price: Float[Array, ""],
    scales: Sequence[Array],
    tails: Sequence[Array],
    key: Array,
    steps: Array,
) -> Moves:
    """Moves after so many steps.

    Args:
      network: parameters of a transform.
      seen: what the analysis sees of the images.
      moves: to begin with.
      images: values in [-1/2, 1/2], of whole cells.
      inside: where their errors count.
      price: of a nat a pixel, in units of the mean squared error.
      scales, tails: of the prior.
      key: of the samples.
      steps: their number.
    """
    model = network.module()
    levels, (n, height, width, channels) = model.config.levels, images.shape
    top = model.top(n, height // model.config.cell, width // model.config.cell)
    weight = 1 / (channels * price)

    def nats(moves, key):
        posteriors, decoded = descend(model, levels - 1, seen, top, key, moves)
        bits = jnp.float32(0)
        for own, scale, tail in zip(posteriors, scales, tails):
            bits = (
                bits
                + kl_bits(
                    *posterior_of_u(*own, scale[None, None, None], tail[None, None, None])
                ).sum()
            )
        return (
            weight * jnp.sum(jnp.where(inside, jnp.square(decoded - images), 0))
            + math.log(2) * bits
        )

    def step(i, moves):
        gradient = jax.grad(nats)(moves, jax.random.fold_in(key, i))
        size = _STEP * (1 - jnp.float32(i) / (jnp.float32(steps) + 1))
        return jax.tree.map(
            lambda x, g: x - size * jnp.clip(g, -_LARGEST_GRADIENT, _LARGEST_GRADIENT),
            moves,
            gradient,
        )

    return jax.lax.fori_loop(0, steps, step, moves)
