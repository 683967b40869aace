"""Positional encodings: a latent grid per patch, upsampled to features of every cell of the signal.

RECOMBINER (He et al., ICLR 2024, section 3.2). There every layer is nearest upsampling by f and
then a convolution; with f + 1 taps that is a product around the corners between cells
(`recjax.codec.corners`). Deviation: these matrices are learned as they are, of which the folded
convolutions are a special case.

A patch depends on one cell of each neighbour, whatever the depth: the grids of a signal, each with
such a border, give the same features as the grids stitched into one. So patches can be computed
apart and have no seams.

In this file a *cell* is one of the latent grid, a *point* one of the patch.
"""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from recjax.codec.corners import corner_product, folded
from recjax.codec.siren.settings import EncodingConfig


def initial_upsampler(config: EncodingConfig) -> dict[str, Any]:
    """Parameters before training: random convolutions after nearest upsampling, folded."""
    rng, rank = np.random.default_rng(0), config.rank
    params: dict[str, Any] = {"kernels": [], "biases": []}
    for n_in, n_out, factor in config.layer_dims:
        taps = factor + 1
        kernel = rng.standard_normal((*(taps,) * rank, n_in, n_out))
        kernel *= math.sqrt(2 / n_in) / taps ** (rank / 2)
        params["kernels"].append(jnp.asarray(folded(kernel.astype(np.float32), (factor,) * rank)))
        params["biases"].append(jnp.zeros(n_out, jnp.float32))
    return params


def upsampled(
    config: EncodingConfig,
    params: dict[str, Any],
    grids: Float[Array, "rows *bordered_cells depth"],
    phase: Int[Array, ""] | None = None,
) -> Float[Array, "rows points encodings"]:
    """Features of the points of every patch, in row-major order.

    Args:
        config: the architecture.
        params: arrays that `recjax.codec.siren.settings.network_shapes` describes.
        grids: latent grids with one cell of each neighbour around them, 0 beyond the signal.
        phase: if given, only every second point along each axis; the bits of the number, that of
            the first axis highest, say where each axis begins. The last and largest layer then
            costs 2^rank times less.
    """
    rank, x, last = config.rank, grids, len(config.factors) - 1
    for i, (_, n_out, factor) in enumerate(config.layer_dims):
        kernel = params["kernels"][i]
        # the first output belongs to the corner before the border's cell; layers but the last keep
        # one cell of border for the next layer
        start = [factor // 2 - (i < last)] * rank
        if i == last and phase is not None:
            kernel, start = _of_phase(kernel, phase, factor, n_out, rank)
            factor //= 2
        # one phase of factor 2 has one output per corner, which still mixes the cells around it
        corners = corner_product(x, kernel, (factor,) * rank, mixed=(True,) * rank)
        border = 0 if i == last else 2
        sides = [(n - 2) * factor + border for n in x.shape[1:-1]]
        x = jax.lax.dynamic_slice(corners, (0, *start, 0), (len(x), *sides, n_out))
        x = x + jnp.expand_dims(params["biases"][i], range(rank + 1))
        x = x if i == last else jax.nn.leaky_relu(x)
    return x.reshape(len(x), -1, x.shape[-1])


def _of_phase(kernel, phase, factor, n_out, rank):
    """The part of a kernel for one phase of the points, and the patch's start in its outputs."""
    # every axis of a window of outputs in pairs of even and odd places
    pairs = itertools.chain.from_iterable([(factor // 2, 2)] * rank)
    kernel = kernel.reshape(-1, *pairs, n_out)
    start = []
    for axis in range(rank):
        parity = (phase >> (rank - 1 - axis)) & 1
        # the points around corner j are f j - f/2 + a for 0 <= a < f
        side = (parity + factor // 2) % 2
        kernel = jax.lax.dynamic_slice_in_dim(kernel, side, 1, 2 * axis + 2)
        start.append((parity + factor // 2 - side) // 2)
    return kernel.reshape(len(kernel), -1), start
