"""Exact samples of the posteriors, counted at their KL divergence: ideal relative entropy coding.

What a relative entropy coder without overhead or bias would reach with the same prior and the same encoder.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from recjax.codec import Prior
from recjax.codec.siren.batch import render
from recjax.codec.siren.efforts import SirenEffort
from recjax.codec.siren.encoding import code_signals
from recjax.codec.siren.prior import SirenPrior
from recjax.codec.transform.decoding import values_of
from recjax.codec.transform.fit import Fit, fit_transform
from recjax.codec.transform.level_posterior import level_posterior, top_of
from recjax.codec.transform.prior import TransformPrior
from recjax.modalities import Grid, Signal
from recjax.modalities.image import IMAGE


@dataclasses.dataclass(frozen=True)
class ExactSampler:
    """Stands in for the block coder: samples the posterior itself and sends nothing."""

    budget: int
    lookahead = 0

    def table(self, key: jax.Array, d: int) -> jax.Array:
        return jnp.zeros(())

    def encode(self, table, key, ids, mean, std, width, previous):
        ids, mean, std = ids[:, 0], mean[:, 0], std[:, 0]
        keys = jax.vmap(
            lambda pair: jax.random.fold_in(jax.random.fold_in(jax.random.key(7), pair[0]), pair[1])
        )
        # rows of different images have equal ids, but noise of their own
        noise = jax.random.normal(keys(ids[:1])[0], mean.shape)
        return jnp.zeros(len(mean), jnp.int32), mean + std * noise


def exact_samples(
    signals: Sequence[Signal], prior: Prior, effort: SirenEffort
) -> tuple[list[Signal], float]:
    """The signals with exact samples of their latents, and the KL of all of them in bits.

    Args:
        effort: of the fit, and of a SIREN's refinement, which cost what they do in real coding.
    """
    if isinstance(prior, TransformPrior):
        keys = jax.random.split(jax.random.key(0), len(signals))
        samples = []
        for signal, key in zip(signals, keys, strict=True):
            fit = fit_transform(
                IMAGE.to_grid(signal), prior, steps=effort.fit_steps, lagrangian=1.0, key=key
            )
            samples.append(sample_fit(signal, prior, fit, key))
        images, bits = zip(*samples, strict=True)
        return list(images), sum(bits)
    assert isinstance(prior, SirenPrior)
    grids = [IMAGE.to_grid(signal) for signal in signals]
    batch, z, _, kl_bits = code_signals(
        grids, prior, effort, jax.random.key(0), ExactSampler(prior.budget)
    )
    values = render(prior, batch, z, [grid.sides for grid in grids])
    decoded = [IMAGE.from_grid(Grid(own)) for own in values]
    return decoded, float(sum(part.sum() for part in kl_bits))


def sample_fit(
    signal: Signal, prior: TransformPrior, fit: Fit, key: jax.Array
) -> tuple[Signal, float]:
    """One image at a sample of its posterior, and the KL of all latents, also of those that files leave out."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    above, latents, bits = top_of(prior), [], 0.0
    for level in reversed(range(prior.config.levels)):
        posterior, context = level_posterior(prior, fit, level, above)
        noise = rng.standard_normal(posterior.mean.shape, np.float32)
        latents.append(posterior.mean + posterior.std * noise)
        bits += float(posterior.bits.sum(dtype=np.float64))
        if context is not None:
            above = context.above(latents[-1])
    values = values_of(prior, latents[::-1], IMAGE.to_grid(signal).sides)
    return IMAGE.from_grid(Grid(values)), bits
