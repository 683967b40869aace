"""Images through a transform: one pass of its analysis, and the best path through a trellis of samples."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from recjax.bits import stream
from recjax.bits.range_coder import put_indices
from recjax.codec.activity import class_bits, put_classes
from recjax.codec.coded import Coded
from recjax.codec.effort import Effort
from recjax.codec.patches import table_key
from recjax.codec.pyramid import (
    block_ids,
    blocks_of,
    chain_length,
    grid_of,
    next_context,
    pixels,
    samples,
    table_width,
)
from recjax.codec.transform_prior import TransformPrior
from recjax.inr.guess import walk
from recjax.modalities import Signal
from recjax.modalities.image import n_patches, to_gray
from recjax.samplers.trellis_coder import TrellisCoder

PIXELS_A_CALL = 1 << 22
_LANES = 64


def encode_transform(
    signals: Sequence[Signal],
    prior: TransformPrior,
    effort: Effort,
    key: jax.Array,
    progress: Callable[[float], None] | None,
) -> list[Coded]:
    """The streams of all signals; those of one shape are coded together."""
    coder = TrellisCoder(budget=prior.budget, extra_bits=effort.extra_bits)
    out: dict[int, Coded] = {}
    for lot in _lots(signals, prior):
        for i, coded in zip(lot, _encode([signals[i] for i in lot], prior, coder, key), strict=True):
            out[i] = coded
        if progress:
            progress(len(out) / len(signals))
    return [out[i] for i in range(len(signals))]


def _lots(signals, prior):
    """Numbers of signals in lots of one shape of whole cells and bounded size."""
    lots: dict[tuple, list[list[int]]] = {}
    cell = prior.config.cell
    for i, signal in enumerate(signals):
        cells = n_patches(signal.values.shape, prior.patch_shape)
        own = lots.setdefault(cells, [[]])
        if own[-1] and (len(own[-1]) + 1) * cells[0] * cells[1] * cell**2 > PIXELS_A_CALL:
            own.append([])
        own[-1].append(i)
    return [lot for own in lots.values() for lot in own]


def _encode(signals, prior, coder, key):
    images = np.stack([_whole_cells(signal.values, prior.patch_shape) for signal in signals])
    activity, seen, context = _look(prior.network, images, key, class_level=prior.class_level)
    classes = np.searchsorted(prior.thresholds, np.asarray(activity))
    if not np.isfinite(activity).all():
        raise ValueError("a posterior is not finite: the prior does not fit the image")
    grids, indices, kl_bits = [], [[] for _ in signals], np.zeros(len(signals))
    for level in reversed(range(prior.config.levels)):
        mean, log_std = map(np.asarray, _posterior(prior.network, level, seen[level], context))
        blocks = [blocks_of(prior, level, own) for own in classes]
        posteriors = [_coded_part(prior, level, own, *q) for own, q in zip(blocks, zip(mean, log_std))]
        coded = _code(prior, coder, level, blocks, posteriors)
        shape, latents = mean.shape[1:3], []
        for i, (own, index, (m, s)) in enumerate(zip(blocks, coded, posteriors, strict=True)):
            latents.append(grid_of(prior, level, shape, own, samples(prior, coder, level, own, index)))
            indices[i].append(index)
            kl_bits[i] += float((0.5 * (s * s + m * m - 1) - np.log(s)).sum() / np.log(2))
        grids.append(np.stack(latents))
        if level:
            context = next_context(prior.network, level - 1, context, jnp.asarray(grids[-1]))
    return [
        _stream(prior, own, np.concatenate(index), kl, _image(prior, signal, [grid[i] for grid in grids[::-1]]))
        for i, (signal, own, index, kl) in enumerate(zip(signals, classes, indices, kl_bits, strict=True))
    ]


def _whole_cells(values, patch):
    """The image, its edge pixels continued to whole cells of the top level."""
    rows, columns = n_patches(values.shape, patch)
    padding = (0, rows * patch[0] - values.shape[0]), (0, columns * patch[1] - values.shape[1]), (0, 0)
    return np.pad(values, padding, mode="edge")


@functools.partial(jax.jit, static_argnames="class_level")
def _look(network, images, key, *, class_level):
    """Bits of the cells of the class level at a sample of the guessed posterior; what the analysis saw; the top."""
    model = nnx.merge(network.graph, network.params)
    values = images.astype(jnp.float32) / 255 - 0.5
    _, _, kl = walk(model, values, key)
    total = 0
    for level, nats in enumerate(kl[: class_level + 1]):
        side, (n, height, width, _) = 1 << (class_level - level), nats.shape
        total = total + nats.reshape(n, height // side, side, width // side, -1).sum((2, 4))
    cells = tuple(n // model.config.cell for n in images.shape[1:3])
    seen = model.analysis.look(values, [level.log_gain[...] for level in model.levels])
    return total / np.log(2), seen, model.top(len(images), *cells)


@functools.partial(jax.jit, static_argnames="level")
def _posterior(network, level, seen, context):
    model = nnx.merge(network.graph, network.params)
    return model.analysis.posterior(level, seen, *context.inside())


def _coded_part(prior, level, blocks, mean, log_std):
    """Mean and standard deviation of the coded latents in the order of the blocks, in units of the prior's."""
    scale = prior.scales[level][blocks.latents % prior.config.depths[level]]
    return mean.reshape(-1)[blocks.latents] / scale, np.exp(log_std.reshape(-1)[blocks.latents]) / scale


def _code(prior, coder, level, blocks, posteriors):
    """Indices of the blocks of all images, whose chains fill the lanes of one product after the other."""
    width = table_width(blocks)
    table = coder.table(table_key(prior), width)
    chains = [_chains(level, own, q, width) for own, q in zip(blocks, posteriors, strict=True)]
    lengths, out = [own[0].shape[1] for own in chains], [np.zeros(0, np.int32)] * len(blocks)
    for length in sorted(set(lengths)):
        chosen = [i for i, own in enumerate(lengths) if own == length]
        parts = [np.concatenate(part) for part in zip(*(chains[i] for i in chosen), strict=True)]
        index = _best_paths(coder, table, table_key(prior), parts)
        ends = np.cumsum([len(chains[i][0]) for i in chosen])
        for i, own in zip(chosen, np.split(index[: ends[-1]], ends[:-1]), strict=True):
            out[i] = own.reshape(-1)[: len(blocks[i].widths)]
    return out


def _best_paths(coder, table, key, parts):
    """Indices of so many chains, ``[chains, length]``, and of some padding."""
    parts = [np.pad(part, [(0, -len(part) % _LANES)] + [(0, 0)] * (part.ndim - 1)) for part in parts]
    lots = [[part[i : i + _LANES].swapaxes(0, 1) for part in parts] for i in range(0, len(parts[0]), _LANES)]
    index = [np.asarray(coder.encode_chains(table, key, *lot)).T for lot in lots]
    return np.concatenate([*index, np.zeros((0, parts[0].shape[1]), np.int32)])


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


def _image(prior, signal, grids):
    height, width = signal.values.shape[:2]
    image = pixels(prior, grids)[:height, :width]
    gray = bool(signal.meta.get("gray"))
    return Signal(to_gray(image) if gray else image, "image", {"gray": gray})


def _stream(prior, classes, indices, kl_bits, decoded):
    encoder = stream.queue.RangeEncoder()
    put_classes(encoder, classes, prior.frequencies)
    # the trellis has no preference for small indices
    put_indices(encoder, indices, np.full(len(indices), prior.budget), 0)
    return Coded(
        payload=stream.shortest(encoder),
        exponent=0,
        stream_bits=class_bits(classes, prior.frequencies) + float(prior.budget * len(indices)),
        kl_bits=float(kl_bits),
        decoded=decoded,
    )
