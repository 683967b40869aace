"""The blocks of one level of images as chains through a trellis."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from recjax.blocks.trellis import TrellisCoder
from recjax.codec.prior import stream_key
from recjax.codec.transform.allocation import Blocks
from recjax.codec.transform.prior import TransformPrior
from recjax.codec.transform.pyramid import block_ids, chain_length, samples, table_width

_LANES = 64, 128


class Level(NamedTuple):
    """What is coded of one level of images of one shape, and what both sides know of it.

    Attributes:
      number: of the level.
      classes, factors, blocks: of every image, see :mod:`recjax.codec.transform.allocation`.
      posteriors: means and standard deviations of the latents of every image, in the order of its blocks.
    """

    number: int
    classes: Int[np.ndarray, "images rows columns"]
    factors: list[int]
    blocks: list[Blocks]
    posteriors: list[tuple[Float[np.ndarray, "coded"], Float[np.ndarray, "coded"]]]


def code_level(
    coder: TrellisCoder, prior: TransformPrior, level: Level
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Indices and samples of the blocks of all images, whose chains fill the lanes of one product after the other."""
    width = table_width(level.blocks)
    table = coder.table(stream_key(prior), width)
    chains = [
        _chains(level.number, own, q, width)
        for own, q in zip(level.blocks, level.posteriors, strict=True)
    ]
    lengths, out = [own[0].shape[1] for own in chains], [np.zeros(0, np.int32)] * len(chains)
    for length in sorted(set(lengths)):
        chosen = [i for i, own in enumerate(lengths) if own == length]
        parts = [np.concatenate(part) for part in zip(*(chains[i] for i in chosen), strict=True)]
        index = _best_paths(coder, table, stream_key(prior), parts)
        ends = np.cumsum([len(chains[i][0]) for i in chosen])
        for i, own in zip(chosen, np.split(index, ends[:-1]), strict=True):
            out[i] = own.reshape(-1)[: len(level.blocks[i].widths)]
    return [
        (index, samples(prior, coder, level.number, own, index))
        for own, index in zip(level.blocks, out, strict=True)
    ]


def _best_paths(coder, table, key, parts):
    """Indices of so many chains, ``[chains, length]``."""
    *_, widths = parts
    order = np.argsort(
        widths.max(axis=1), kind="stable"
    )  # the time of a product is that of its widest block
    lanes = _LANES[0] if len(order) <= _LANES[0] else _LANES[1]
    index = np.zeros(widths.shape, np.int32)
    for start in range(0, len(order), lanes):
        chosen = order[start : start + lanes]
        lot = [
            np.pad(part[chosen], [(0, lanes - len(chosen))] + [(0, 0)] * (part.ndim - 1))
            for part in parts
        ]
        paths = coder.encode_chains(table, key, *(part.swapaxes(0, 1) for part in lot))
        index[chosen] = np.asarray(paths).T[: len(chosen)]
    return index


def _chains(level, blocks, posterior, width):
    """Ids, means, standard deviations and widths of the chains of one image, ``[chains, length, ...]`` each."""
    count = len(blocks.widths)
    length = chain_length(count)
    inside = np.arange(width) < blocks.widths[:, None]
    mean, std = np.zeros((count, width), np.float32), np.ones((count, width), np.float32)
    mean[inside], std[inside] = posterior
    parts = block_ids(level, count), mean, std, blocks.widths.astype(np.int32)
    parts = (np.pad(part, [(0, -count % length)] + [(0, 0)] * (part.ndim - 1)) for part in parts)
    return [part.reshape(-1, length, *part.shape[1:]) for part in parts]
