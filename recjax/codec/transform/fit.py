"""What an encoder thinks of images before anything is coded: the posterior of every level, given those above."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from recjax.codec.prior import Network
from recjax.codec.transform.amortised import look
from recjax.codec.transform.analysis import Seen
from recjax.codec.transform.network import Context
from recjax.codec.transform.prior import TransformPrior
from recjax.codec.transform.semi_amortised import Moves, moved
from recjax.modalities import Grid
from recjax.modalities.grid import filled_up, weights_of

_STRIP_PIXELS = 1 << 20
"""Of the images at a time that gradients are taken of, for they need 800 bytes a pixel."""


class Fit(NamedTuple):
    """Posteriors of images of one shape, see :func:`recjax.codec.transform.amortised.posterior`.

    Attributes:
      network: of the prior, its analysis for the price.
      seen: what the analysis sees, lowest level first.
      top: context of the top level.
      moves: of the means of the posteriors.
    """

    network: Network
    seen: list[Seen]
    top: Context
    moves: Moves


def fit_transform(
    grids: Sequence[Grid], prior: TransformPrior, *, steps: int, price: float, key: jax.Array
) -> Fit:
    """Guesses posteriors of images of equally many cells, and improves the guess.

    Args:
      grids: the images.
      prior: a transform.
      steps: gradient steps, see :mod:`recjax.codec.transform.semi_amortised`.
      price: of a bit, relative to that at which the prior was trained. Decoders need not know: only posteriors change.
      key: of the samples.
    """
    values = jnp.asarray(np.stack([filled_up(grid.values, prior.patch) for grid in grids]))
    network, seen, top = _look(prior.network, values, np.float32(np.log(price)))
    moves = _still(prior, values.shape)
    if steps:
        # errors in what fills up the last cells do not count
        inside = np.stack([weights_of(grid, prior.patch) > 0 for grid in grids])[..., None]
        cells, out = values.shape[1] // prior.config.cell, []
        for low, high, kept in _strips(cells, values[..., 0].size):
            own = moved(
                network, *_rows((seen, moves, values, inside), cells, slice(low, high)), np.float32(prior.beta * price),
                prior.scales, prior.tails, key, np.int32(steps),
            )  # fmt: skip
            out.append(_rows(own, high - low, kept))
        moves = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), *out)
    return Fit(network, seen, top, moves)


def _strips(cells, pixels):
    """First and last of the rows of cells of every strip, all of one height, and which of the strip's rows are kept:
    those next to a cut have another neighbour than in the image."""
    rows = max(1, _STRIP_PIXELS * cells // pixels)
    rows = cells if cells <= rows + 2 else rows
    for start in range(0, cells, rows):
        low = min(max(start - 1, 0), max(cells - rows - 2, 0))
        yield low, min(low + rows + 2, cells), slice(start - low, min(start + rows, cells) - low)


def _rows(tree, cells, which):
    """Some rows of cells of arrays with so many."""

    def cut(x):
        side = x.shape[1] // cells
        return x[:, which.start * side : which.stop * side]

    return jax.tree.map(cut, tree)


def _still(prior, shape):
    """No moves of the latents of images of this shape."""
    sides = (prior.config.stride << np.arange(prior.config.levels)).tolist()
    return tuple(
        jnp.zeros((shape[0], shape[1] // side, shape[2] // side, depth), jnp.float32)
        for side, depth in zip(sides, prior.config.depths, strict=True)
    )


@jax.jit
def _look(network: Network, values: Array, log_price: Array):
    """The network at a price, what its analysis sees of the values, the context of the top level."""
    model = network.module()
    for log_curvature in model.analysis.log_curvature:
        log_curvature[...] -= log_price
    cells = tuple(n // model.config.cell for n in values.shape[1:3])
    graph, params = nnx.split(model)
    return Network(graph, params), look(model, values), model.top(len(values), *cells)
