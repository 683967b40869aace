"""Levels of a transform from the top down: posteriors given the samples above, coded as blocks."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Float, Int

from recjax.codec.transform.fit import Fit
from recjax.codec.transform.layout import FACTOR_UNIT, Blocks, blocks_of, count_units, latents_of
from recjax.codec.transform.level_posterior import Above, level_posterior, top_of
from recjax.codec.transform.prior import UNIT, TransformPrior
from recjax.codec.transform.rate_classes import activity_of
from recjax.codec.transform.stream import Parts
from recjax.codec.transform.symbols import symbols_of

_TOP_OVERSAMPLING = 1.1
"""Rate of the highest level of blocks over its KL: everything below depends on its few latents."""


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
