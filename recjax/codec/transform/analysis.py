"""Amortised posterior of the latents: one pass of a network instead of hundreds of steps.

The posterior of a level's latents depends on the values of those above, which therefore are coded
first.

For a linear synthesis with squared error and Lagrange multiplier beta, the posterior of a
coefficient c with prior N(m, g^2) has precision 1 + h g^2 in units of the prior, where h is the
curvature of the error over beta, and mean h g (c - m) / (1 + h g^2). The network starts from there:
lapped transforms give the coefficients of all levels, and a small network, which sees their
energies, corrects their posterior and gives that of the latents which are no coefficients.

Files do not depend on any of this: it belongs to the encoder.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from recjax.codec.corners import PRECISION
from recjax.codec.transform.network import (
    Context,
    Params,
    TransformNetwork,
    layer,
    padded_channels,
    wide,
)

_LEAST_ENERGY = 1e-2
_NARROW = 4.0
"""What the network adds to a log standard deviation starts at -log(1 + exp(-4))."""


class Features(NamedTuple):
    """Features of a signal at one level.

    Attributes:
        coefficients: lapped transform of the level below.
        hidden: units that summarise the energies in and below a cell and next to it.
    """

    coefficients: Float[Array, "_n *_sides _linear"]
    hidden: Float[Array, "_n *_sides _hidden"]


def analyse(
    network: TransformNetwork, values: Float[Array, "_n *_values _channels"]
) -> list[Features]:
    """Features of signals at all levels, lowest first.

    Args:
        network: the transform.
        values: in [-1/2, 1/2]; the sides are multiples of a cell of the top level.
    """
    config, out, x = network.config, [], values
    for level, factors in enumerate(config.factors):
        params = analysis_params(network, level)
        # edge values rather than zeros: beyond the edge there is no step to be coded
        x = _padded(x, [(f // 2, f // 2) for f in factors], "edge")
        coefficients = coefficients_of(params, factors, x)
        if level == 0:
            # energies beyond the edges are 0
            inputs = _padded(energies(params, coefficients), [(1, 1)] * config.rank)
            hidden = lowest_features(params, inputs)
        else:
            below = _padded(out[-1].hidden, [taps_beyond(f) for f in factors])
            hidden = upper_features(params, factors, coefficients, below)
        out.append(Features(coefficients, hidden))
        x = coefficients[..., : config.channels]
    return out


def analysis_params(network: TransformNetwork, level: int) -> Params:
    """Parameters of the features of a level, of equal shapes for all but the lowest."""
    config, params = network.config, network.params["analysis"]
    weights = jnp.exp(-network.params["levels"][level]["log_gain"][: config.linear[level]])
    if level + 1 < config.levels:
        # the first coefficients are predicted from above, their gain is that of what remains; in
        # units of the coefficient of a constant block they are means of values
        values = math.prod(math.prod(factors) for factors in config.factors[: level + 1])
        weights = weights.at[: config.channels].set(1 / math.sqrt(values))
    out = {name: params[name][level] for name in ("lapped", "seen", "seen_bias")}
    out |= {"below": params["below"][level - 1]} if level else {}
    return out | {"weights": weights}


def coefficients_of(
    params: Params, factors: Sequence[int], below: Float[Array, "_n *_sides _channels"]
) -> Float[Array, "n *cells linear"]:
    """Lapped transform of the first coefficients of the level below (level 0: of the signal).

    Args:
        params: see `analysis_params`.
        factors: sides of a cell in those of the level below.
        below: with half a cell beyond the edges; along axes with factor 1 without.
    """
    sides = [f if f == 1 else 2 * f for f in factors]
    return _convolve(below, params["lapped"], sides, factors)


def energies(
    params: Params, coefficients: Float[Array, "_n *_cells _linear"]
) -> Float[Array, "n *cells inputs"]:
    """Log energies and signs of coefficients in units of their gains."""
    relative = coefficients * wide(params["weights"], coefficients.ndim - 2)
    energy = 0.5 * jnp.log(relative * relative + _LEAST_ENERGY)
    return jnp.concatenate([energy, jnp.tanh(relative)], axis=-1)


def lowest_features(
    params: Params, inputs: Float[Array, "_n *_bordered_cells _inputs"]
) -> Float[Array, "n *cells hidden"]:
    """Hidden units of the lowest level, from `energies` that are 0 beyond the signal's edges."""
    rank = inputs.ndim - 2
    hidden = _convolve(inputs, params["seen"], [3] * rank, [1] * rank)
    return jax.nn.gelu(hidden + wide(params["seen_bias"], rank))


def upper_features(
    params: Params,
    factors: Sequence[int],
    coefficients: Float[Array, "n *cells linear"],
    below: Float[Array, "n *sides hidden"],
) -> Float[Array, "n *cells hidden"]:
    """Hidden units of another level.

    Args:
        params: see `analysis_params`.
        factors: sides of a cell in those of the level below.
        coefficients: coefficients of the level.
        below: hidden units of the level below, with 0 beyond the signal's edges, see `taps_beyond`.
    """
    rank = below.ndim - 2
    hidden = _convolve(below, params["below"], [3] * rank, factors)
    hidden = hidden + jnp.matmul(
        energies(params, coefficients), params["seen"], precision=PRECISION
    )
    return jax.nn.gelu(hidden + wide(params["seen_bias"], rank))


def posterior_of(
    params: Params,
    features: Features,
    context: Context,
    log_lagrangian: Float[Array, ""] | float,
) -> tuple[Float[Array, "_n *_cells _depth"], Float[Array, "_n *_cells _depth"]]:
    """Mean and log standard deviation of the latents of a level.

    Args:
        params: those of the analysis for the level, see `level_params`.
        features: features of its cells.
        context: context of its cells, without those beyond the edges.
        log_lagrangian: logarithm of the Lagrange multiplier relative to the one of the training.
    """
    linear, rank = features.coefficients.shape[-1], features.coefficients.ndim - 2
    gain = jnp.exp(context.log_gain[..., :linear])
    curvature = jnp.exp(wide(params["log_curvature"] - log_lagrangian, rank))
    precision = 1 + gain * gain * curvature
    centre = gain * curvature * (features.coefficients - context.mean[..., :linear]) / precision
    log_std = -0.5 * jnp.log(precision)
    inputs = jnp.concatenate([features.hidden, centre, log_std, context.hidden], axis=-1)
    x = jax.nn.gelu(layer(inputs, params["mix"], params["mix_bias"]))
    shift, wider = jnp.split(layer(x, params["head"], params["head_bias"]), 2, axis=-1)
    depth = context.mean.shape[-1]
    centre, log_std = padded_channels(centre, depth), padded_channels(log_std, depth)
    return centre + shift * jnp.exp(log_std), log_std - jax.nn.softplus(wider - _NARROW)


def level_params(network: TransformNetwork, level: int) -> Params:
    """Parameters of the posterior of a level."""
    names = "log_curvature", "mix", "mix_bias", "head", "head_bias"
    return {name: network.params["analysis"][name][level] for name in names}


def _padded(x, borders, mode="constant"):
    return jnp.pad(x, ((0, 0), *borders, (0, 0)), mode=mode)


def taps_beyond(factor: int) -> tuple[int, int]:
    """Cells of the level below beyond either edge that three taps see at a stride."""
    return (0, 1) if factor == 2 else (1, 1)


def _convolve(x, kernel, sides, strides):
    spatial = "XYZ"[: len(sides)]
    return jax.lax.conv_general_dilated(
        x,
        kernel.reshape(*sides, x.shape[-1], -1),
        strides,
        "VALID",
        dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
        precision=PRECISION,
    )
