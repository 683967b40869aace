"""Factorised Gaussian posteriors over whitened latents: a row per signal, region or patch."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float


class Posterior(NamedTuple):
    """q(z) = N(mean, exp(log_std)^2), against the prior N(0, 1).

    Latents are whitened: the network sees loc + scale * z with the prior's ``loc`` and ``scale``.
    """

    mean: Float[Array, "rows latents"]
    log_std: Float[Array, "rows latents"]

    def kl_nats(self) -> Float[Array, "rows latents"]:
        """KL[q || N(0, 1)] of every latent."""
        return 0.5 * (jnp.exp(2 * self.log_std) + self.mean**2 - 1) - self.log_std

    def sample(self, noise: Float[Array, "rows latents"]) -> Float[Array, "rows latents"]:
        """The sample that standard normal noise gives."""
        return self.mean + jnp.exp(self.log_std) * noise


class LatentPrior(NamedTuple):
    """Mean and standard deviation of every latent before whitening."""

    loc: Float[Array, "latents"]
    scale: Float[Array, "latents"]

    def unwhiten(self, z: Float[Array, "rows latents"]) -> Float[Array, "rows latents"]:
        """The latents that the network sees."""
        return self.loc[None] + self.scale[None] * z


def refit_prior(
    prior: LatentPrior, posterior: Posterior, centred: Bool[np.ndarray, "latents"] | None = None
) -> tuple[LatentPrior, Posterior, Float[Array, "latents"]]:
    """Minimises the mean KL to the given posteriors over the prior, in closed form.

    mu_p = mean(mu_q), sigma_p^2 = mean(sigma_q^2 + (mu_q - mu_p)^2) over signals; COMBINER (Guo et
    al., NeurIPS 2023), section 3.

    Args:
        prior: prior of one group.
        posterior: the posteriors of its rows.
        centred: latents whose prior mean stays; sigma_p is then that around it. By default none.

    Returns:
        The new prior, the same posteriors whitened by it, and the factor by which the unit of every
        latent grew, which gradients with respect to the whitened latents are multiplied by.
    """
    mean = posterior.mean.mean(0)
    mean = mean if centred is None else jnp.where(centred, 0, mean)
    moved = posterior.mean - mean[None]
    std = jnp.sqrt((jnp.exp(2 * posterior.log_std) + moved**2).mean(0))
    refitted = LatentPrior(loc=prior.loc + prior.scale * mean, scale=prior.scale * std)
    whitened = Posterior(mean=moved / std[None], log_std=posterior.log_std - jnp.log(std)[None])
    return refitted, whitened, std


def initial_posterior(rows: int, n_latents: int, std: float = 0.5) -> Posterior:
    """Centred posteriors, all of one width."""
    log_std = jnp.full((rows, n_latents), jnp.log(jnp.float32(std)))
    return Posterior(mean=jnp.zeros_like(log_std), log_std=log_std)
