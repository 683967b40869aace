"""One pass of analysis and synthesis: samples of the guessed posterior of a transform, level by level."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from recjax.codec.transform.analysis import Seen
from recjax.codec.transform.network import Context, Transform, bordered

Posterior = tuple[Array, Array]
"""Mean and log standard deviation of the latents of a level."""


def look(model: Transform, images: Float[Array, "n height width channels"]) -> list[Seen]:
    """What the analysis sees of images, values in [-1/2, 1/2] and sides of whole cells, at all levels."""
    return model.analysis.look(images, [level.log_gain[...] for level in model.levels])


def posterior(model: Transform, level: int, seen: Seen, context: Context, move: Array) -> Posterior:
    """The guess for one level, its means moved by so many standard deviations."""
    mean, log_std = model.analysis.posterior(level, seen, *context.inside())
    return mean + move * jnp.exp(log_std), log_std


def descend(
    model: Transform,
    start: int,
    seen: Sequence[Seen],
    context: Context,
    key: Array,
    moves: Sequence[Array],
) -> tuple[list[Posterior], Float[Array, "n height width channels"]]:
    """From one level down, every level's posterior given a sample of those above.

    Args:
      model: the transform.
      start: the first level.
      seen: what `look` returned.
      context: of the first level.
      key: of the samples.
      moves: of the means of every level, see `posterior`.

    Returns:
      The posteriors, lowest level first, and the decoded images.
    """
    posteriors = []
    for level in reversed(range(start + 1)):
        mean, log_std = posterior(model, level, seen[level], context, moves[level])
        noise = jax.random.normal(jax.random.fold_in(key, level), mean.shape)
        posteriors.append((mean, log_std))
        coefficients = context.coefficients(bordered(mean + jnp.exp(log_std) * noise))
        if level:
            context = model.context(level - 1, context, coefficients)
        else:
            return posteriors[::-1], model.pixels(context, coefficients)
    raise AssertionError("there is a lowest level")


def walk(
    model: Transform, images: Float[Array, "n height width channels"], key: Array
) -> tuple[list[Posterior], Float[Array, "n height width channels"]]:
    """`descend` from the top, for images with values in [-1/2, 1/2] and sides of whole cells."""
    cell = model.config.cell
    top = model.top(len(images), images.shape[1] // cell, images.shape[2] // cell)
    still = [jnp.zeros((1, 1, 1, 1))] * model.config.levels
    return descend(model, model.config.levels - 1, look(model, images), top, key, still)


def kl_nats(own: Posterior) -> Array:
    """KL of every latent from N(0, 1)."""
    mean, log_std = own
    return 0.5 * (jnp.exp(2 * log_std) + mean**2 - 1) - log_std
