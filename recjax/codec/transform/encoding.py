"""Signals to streams of a transform: from the top level down, the best path of samples."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Float, Int

from recjax.blocks.trellis import TrellisCoder
from recjax.codec.payload import Payload
from recjax.codec.prior import stream_key
from recjax.codec.transform.efforts import TransformEffort
from recjax.codec.transform.fit import Above, Fit, fit_transform, level_posterior, top_of
from recjax.codec.transform.layout import (
    FACTOR_UNIT,
    Blocks,
    block_ids,
    blocks_of,
    chain_length,
    count_units,
    latents_of,
    samples,
)
from recjax.codec.transform.prior import UNIT, TransformPrior
from recjax.codec.transform.rate_classes import activity_of
from recjax.codec.transform.stream import Parts, part_bits, write_stream
from recjax.codec.transform.symbols import symbols_of
from recjax.modalities import Grid
from recjax.modalities.grid import n_patches

VALUES_A_CALL = 1 << 21
"""Cells of the signals that are coded together, about; it bounds the memory."""
_TOP_OVERSAMPLING = 1.1
"""Rate of the highest level of blocks over its KL: everything below depends on its few latents."""
_LANES = 64, 128
"""Lanes of products for few chains and for many: from 64 on, results do not depend on them."""
_WIDTHS = 256, 64
"""Fewest columns of a table of candidates: of at most 2^18 of them, and of more."""
_MOST_OF_FIRST = 18
_WIDEST = 1.5
"""Latents of the widest block of a level over those of an average one, about."""
_LEAST_WIDTH = 128
"""Least columns of a batch of chains, which are fewer than those of the table."""
_CHAIN = 16
"""Blocks of the longest chains."""


class LevelTask(NamedTuple):
    """The blocks of one level of a signal, and what both sides know of them.

    Attributes:
        level: number of the level.
        classes, rate_factor, blocks: see `recjax.codec.transform.layout`.
        mean, std: posterior of the latents in the order of the blocks.
    """

    level: int
    classes: Int[np.ndarray, "*_class_cells"]
    rate_factor: int
    blocks: Blocks
    mean: Float[np.ndarray, "_coded"]
    std: Float[np.ndarray, "_coded"]


class LevelCode(NamedTuple):
    """A coded level of a signal.

    Attributes:
        rate_factor, blocks: see `recjax.codec.transform.layout`.
        index: index of every block.
        latents: the latents.
        kl_bits: KL of the posteriors of the blocks.
    """

    rate_factor: int
    blocks: Blocks
    index: Int[np.ndarray, "_blocks"]
    latents: Float[np.ndarray, "*_cells _depth"]
    kl_bits: float


@runtime_checkable
class ChainCoder(Protocol):
    """A coder of chains of blocks, such as `TrellisCoder`."""

    budget: int
    extra_bits: int
    table: Callable[..., Any]
    encode_chains: Callable[..., Any]
    decode: Callable[..., Any]


@runtime_checkable
class BlockCoding(Protocol):
    """Chooses candidates for the blocks of a level of several signals."""

    def __call__(
        self, prior: TransformPrior, tasks: Sequence[LevelTask]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Indices of the blocks of every signal, and the samples that a receiver has of them."""
        ...


@dataclasses.dataclass(eq=False)
class Coded:
    """A signal on its way through the levels.

    Attributes:
        fit: its posteriors.
        above: the level above the next one.
        symbols: symbols of the quantised levels, from the top.
        classes: rate classes, once they are known.
        levels: the levels that are coded in blocks, from the top.
        latents: latents of all levels that are coded, from the top.
    """

    fit: Fit
    above: Above
    symbols: list[np.ndarray] = dataclasses.field(default_factory=list)
    classes: np.ndarray | None = None
    levels: list[LevelCode] = dataclasses.field(default_factory=list)
    latents: list[np.ndarray] = dataclasses.field(default_factory=list)

    @property
    def parts(self) -> Parts:
        """The content of the stream."""
        assert self.classes is not None
        factors = [code.rate_factor for code in self.levels]
        return Parts(self.symbols, self.classes, factors, [code.index for code in self.levels])


def encode(
    grids: Sequence[Grid],
    prior: TransformPrior,
    effort: TransformEffort,
    key: jax.Array,
    lagrangians: Sequence[float],
    progress: Callable[[float], None] | None,
) -> list[Payload]:
    """The streams of all signals, each the same as if it were coded alone."""
    coder = TrellisCoder(budget=prior.budget, extra_bits=effort.extra_bits)
    code = {small: ChainCoding(coder, small) for small in (True, False)}
    out: dict[int, Payload] = {}
    for small, group in _groups(grids, prior):
        fits = [
            fit_transform(
                grids[i], prior, steps=effort.fit_steps, lagrangian=lagrangians[i], key=key
            )
            for i in group
        ]
        signals = code_levels(prior, fits, key, code[small])
        out |= {i: _payload(prior, signal) for i, signal in zip(group, signals, strict=True)}
        if progress:
            progress(len(out) / len(grids))
    return [out[i] for i in range(len(grids))]


def _groups(grids, prior):
    """Numbers of the signals in groups of bounded size, whose blocks share the lanes of products.

    Small signals, of one cell of the top level, have programs and groups apart from others.
    """
    groups: dict[bool, list[list[int]]] = {True: [[]], False: [[]]}
    size = {True: 0, False: 0}
    for i, grid in enumerate(grids):
        cells = math.prod(n_patches(grid.sides, prior.patch))
        small, values = cells == 1, cells * math.prod(prior.patch)
        if groups[small][-1] and size[small] + values > VALUES_A_CALL:
            groups[small].append([])
            size[small] = 0
        groups[small][-1].append(i)
        size[small] += values
    return [(small, group) for small, members in groups.items() for group in members if group]


def code_levels(
    prior: TransformPrior, fits: Sequence[Fit], key: jax.Array, code: BlockCoding
) -> list[Coded]:
    """Codes level after level of signals, each with the posteriors that the samples above it leave.

    Args:
        prior: a transform.
        fits: posteriors of the signals.
        key: key of the samples by which rate classes are found.
        code: codes the blocks of a level.
    """
    signals = [Coded(fit, top_of(prior)) for fit in fits]
    for signal in signals:
        _quantise(prior, signal)
        signal.classes = _rate_classes(prior, signal, key)
    for level in reversed(range(prior.class_level + 1)):
        posteriors = [level_posterior(prior, x.fit, level, x.above) for x in signals]
        tasks = [
            _task(prior, level, signal.classes, posterior)
            for signal, (posterior, _) in zip(signals, posteriors, strict=True)
        ]
        results = code(prior, tasks)
        for signal, task, (posterior, context), (index, values) in zip(
            signals, tasks, posteriors, results, strict=True
        ):
            cells = prior.config.cells(level, signal.fit.cells)
            latents = latents_of(prior, level, cells, task.blocks, values)
            kl_bits = float(posterior.bits.reshape(-1)[task.blocks.latents].sum())
            signal.levels.append(LevelCode(task.rate_factor, task.blocks, index, latents, kl_bits))
            signal.latents.append(latents)
            if context is not None:
                signal.above = context.above(latents)
    return signals


def _quantise(prior, signal):
    """Codes the levels above the class level: their posterior means, rounded."""
    for level in reversed(range(prior.class_level + 1, prior.config.levels)):
        step = prior.step_sizes[level - prior.class_level - 1]
        posterior, context = level_posterior(prior, signal.fit, level, signal.above)
        signal.symbols.append(symbols_of(posterior.mean, step))
        signal.latents.append(signal.symbols[-1].astype(np.float32) * step)
        signal.above = context.above(signal.latents[-1])


def _rate_classes(prior, signal, key):
    """Classes by the KL of every cell with everything below it, at a sample of the posterior."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    above, bits = signal.above, []
    for level in reversed(range(prior.class_level + 1)):
        posterior, context = level_posterior(prior, signal.fit, level, above)
        bits.append(posterior.bits[None])
        if context is not None:
            noise = rng.standard_normal(posterior.mean.shape, np.float32)
            above = context.above(posterior.mean + posterior.std * noise)
    activity = activity_of(bits[::-1], prior.config.factors[1])[0]
    return np.searchsorted(prior.thresholds, activity)


def _task(prior, level, classes, posterior):
    """The blocks of a level with about the bits of its KL."""
    expected = count_units(prior, level, classes, FACTOR_UNIT) / UNIT
    wanted = float(posterior.bits.sum(dtype=np.float64))
    if level == prior.class_level:
        wanted *= _TOP_OVERSAMPLING
    factor = int(np.clip(round(FACTOR_UNIT * wanted / max(expected, 1.0)), 1, 256))
    blocks = blocks_of(prior, level, classes, factor)
    mean, std = (x.reshape(-1)[blocks.latents] for x in (posterior.u_mean, posterior.u_std))
    return LevelTask(level, classes, factor, blocks, mean, std)


@dataclasses.dataclass(eq=False)
class ChainCoding:
    """Codes blocks as chains through a trellis.

    Attributes:
        coder: the coder of chains.
        small: whether signals are small. Then the number of lanes does not depend on the number of
            chains, nor that of columns on their blocks: programs depend on both, files on neither.
    """

    coder: ChainCoder
    small: bool = False
    _table: tuple[bytes, int, jax.Array] | None = None

    def __call__(
        self, prior: TransformPrior, tasks: Sequence[LevelTask]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Indices and samples of the blocks of all signals, whose chains share products."""
        needed = max(int(task.blocks.widths.max(initial=0)) for task in tasks)
        # one table for all levels, if the widest blocks of those below are not wider than expected
        expected = max(_expected_width(prior, task) for task in tasks)
        table = self._table_of(prior, self._width(needed), self._width(max(needed, expected)))
        width = self._width(needed)
        chains = [_chains(task, width) for task in tasks]
        out = [np.zeros(0, np.int32)] * len(tasks)
        for length in sorted({x.widths.shape[1] for x in chains}):
            chosen = [i for i, x in enumerate(chains) if x.widths.shape[1] == length]
            together = Chains(*map(np.concatenate, zip(*(chains[i] for i in chosen), strict=True)))
            index = self._best_paths(table, stream_key(prior), together)
            ends = np.cumsum([len(chains[i].widths) for i in chosen])
            for i, paths in zip(chosen, np.split(index, ends[:-1]), strict=True):
                out[i] = paths.reshape(-1)[: len(tasks[i].blocks.widths)]
        return [
            (index, samples(prior, self.coder, task.level, task.blocks, index))
            for task, index in zip(tasks, out, strict=True)
        ]

    def _width(self, needed):
        """Columns of the table of candidates: few numbers, for each compiles other programs."""
        few = self.coder.budget + self.coder.extra_bits <= _MOST_OF_FIRST
        return _few(_WIDTHS[0] if few else _WIDTHS[1], needed)

    def _table_of(self, prior, needed, expected):
        """The candidates' features, kept until a level needs more columns."""
        if self._table is None or self._table[0] != prior.digest or self._table[1] < needed:
            self._table = None  # first free the memory of the last
            self._table = prior.digest, expected, self.coder.table(stream_key(prior), expected)
        return self._table[2]

    def _best_paths(self, table, key, chains):
        """Index of every block on the best paths through the chains, ``[chains, length]``."""
        # the time of a product is that of its widest block
        order = np.argsort(chains.widths.max(axis=1), kind="stable")
        lanes = _LANES[len(order) > _LANES[0] and not self.small]
        length = chains.widths.shape[1]
        index = np.zeros(chains.widths.shape, np.int32)
        for start in range(0, len(order), lanes):
            chosen = order[start : start + lanes]
            # one program for all lengths and counts: blocks and chains that fill up have no width
            parts = Chains(
                *(_filled(_filled(x[chosen], lanes).swapaxes(0, 1), _CHAIN) for x in chains)
            )
            if not self.small:
                width = min(_doubled(_LEAST_WIDTH, parts.widths.max()), chains.mean.shape[2])
                parts = parts._replace(mean=parts.mean[..., :width], std=parts.std[..., :width])
            paths = self.coder.encode_chains(table, key, *parts, length)
            index[chosen] = np.asarray(paths)[:length].T[: len(chosen)]
        return index


def _expected_width(prior, task):
    """Latents of the widest block of the levels below, about, at their expected rates."""
    widths = [0.0]
    for level in range(task.level):
        counts = np.bincount(task.classes.ravel(), minlength=len(prior.expected[level]))
        coded = counts @ np.count_nonzero(prior.expected[level], axis=1)
        units = counts @ prior.expected[level].sum(1, dtype=np.int64)
        widths.append(_WIDEST * prior.budget * UNIT * coded / max(units, 1))
    return int(max(widths))


def _doubled(least, needed):
    """The first of least, 2 least, 4 least, ... that is at least what is needed."""
    while least < needed:
        least *= 2
    return least


def _few(least, needed):
    """The first of 4/4, 5/4, 6/4, 7/4, 8/4, 10/4, ... times the least size that is enough."""
    step = least // 4
    while 8 * step < needed:
        step *= 2
    return max(least, -(-needed // step) * step)


class Chains(NamedTuple):
    """Chains of blocks, filled up with blocks of no width.

    Attributes:
        ids: numbers of the blocks.
        mean, std: posteriors of their latents.
        widths: latents of every block.
    """

    ids: Int[np.ndarray, "_chains _length 2"]
    mean: Float[np.ndarray, "_chains _length _width"]
    std: Float[np.ndarray, "_chains _length _width"]
    widths: Int[np.ndarray, "_chains _length"]


def _chains(task, width):
    """The chains of one signal."""
    widths = task.blocks.widths.astype(np.int32)
    count = len(widths)
    length = chain_length(count)
    inside = np.arange(width) < widths[:, None]
    mean, std = np.zeros((count, width), np.float32), np.ones((count, width), np.float32)
    mean[inside], std[inside] = task.mean, task.std
    parts = block_ids(task.level, count), mean, std, widths
    filled = (_filled(x, -(-count // length) * length) for x in parts)
    return Chains(*(x.reshape(-1, length, *x.shape[1:]) for x in filled))


def _filled(array, length):
    """The array with zeros up to a length along its first axis."""
    return np.pad(array, [(0, length - len(array)), *[(0, 0)] * (array.ndim - 1)])


def _payload(prior, coded):
    parts = coded.parts
    bits = part_bits(prior, parts)
    names = [f"level {level}" for level in range(prior.config.levels)]
    return Payload(
        stream=write_stream(prior, parts),
        exponent=0,
        stream_bits=sum(bits.values()),
        # quantised latents and classes have no KL: they count with the length of their code
        kl_bits={
            "numbers": bits["numbers"],
            "classes": bits["classes"],
            "blocks": sum(code.kl_bits for code in coded.levels),
        },
        latents=dict(zip(names, reversed(coded.latents), strict=True)),
    )
