"""One pass of analysis and synthesis: a sample of the guessed posterior of a transform."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from recjax.inr.transform import Transform, bordered


def walk(
    model: Transform, images: Float[Array, "n height width channels"], key: Array
) -> tuple[Float[Array, "n height width channels"], list[tuple[Array, Array]], list[Array]]:
    """Down the pyramid, every level's posterior given a sample of those above.

    Args:
      model: the transform.
      images: values in [-1/2, 1/2]; their sides are multiples of a cell of the top level.
      key: of the samples.

    Returns:
      The decoded image; and lowest level first mean and log standard deviation of the latents, and their KL in nats.
    """
    levels, cell = model.config.levels, model.config.cell
    seen = model.analysis.look(images, [level.log_gain[...] for level in model.levels])
    context = model.top(len(images), images.shape[1] // cell, images.shape[2] // cell)
    posteriors, kl = [], []
    coefficients = context.mean
    for level in reversed(range(levels)):
        if level < levels - 1:
            context = model.context(level, context, coefficients)
        mean, log_std = model.analysis.posterior(level, seen[level], *context.inside())
        noise = jax.random.normal(jax.random.fold_in(key, level), mean.shape)
        coefficients = context.coefficients(bordered(mean + jnp.exp(log_std) * noise))
        posteriors.append((mean, log_std))
        kl.append(0.5 * (jnp.exp(2 * log_std) + mean**2 - 1) - log_std)
    return model.pixels(context, coefficients), posteriors[::-1], kl[::-1]
