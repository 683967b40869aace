"""A training from signals to a prior of staged coefficients: one network for all rates.

Every step codes pieces of signals, quantised with random steps; so the network knows all rates and
levels. The distributions are the family's, corrected by what the rounded network's coefficients
turn out to be.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from recjax.codec.staged import contexts, distributions, lapped, symbols
from recjax.codec.staged.channels import separated
from recjax.codec.staged.encoding import chosen, loudness_of
from recjax.codec.staged.lattice import SMALLEST
from recjax.codec.staged.network import Params, bits_per_coefficient, initial, rounded
from recjax.codec.staged.prior import CENTRES, StagedPrior, save
from recjax.codec.staged.settings import StagedTraining
from recjax.codec.staged.stream import Head, walk
from recjax.codec.training.data import Signals, as_signals
from recjax.codec.training.loop import Limits, Training
from recjax.codec.training.run import run

_BUDGET = 16  # of the blocks that there are not: every prior file has a number
_CELLS = 0, 0, 0, 1  # log2 of the sizes of cells that pieces are cut into, over the smallest
_PIECES = 48  # for the statistics of the rounded network
_FAMILY = 300.0  # counts that the family's probabilities are worth
_LAGRANGIAN = 0.09


class StagedState(NamedTuple):
    """State of a training.

    Attributes:
        params: parameters of the network.
        optimiser: moments of the gradients.
        done: number of gradient steps done.
    """

    params: Params
    optimiser: optax.OptState
    done: Array


def train_staged(
    config: StagedTraining,
    signals: Signals,
    out: str | os.PathLike[str],
    *,
    checkpoint_dir: str | os.PathLike[str] | None = None,
    checkpoint_minutes: float = 5.0,
    max_minutes: float = math.inf,
    metadata: dict[str, Any] | None = None,
    force: bool = False,
    log: Callable[[str], None] = print,
) -> bool:
    """Trains a network of contexts and writes its prior.

    Args:
        config: settings of the training.
        signals: training signals of one modality with one axis.
        out: the prior file.
        checkpoint_dir, checkpoint_minutes, max_minutes, metadata, force, log: as for
            `recjax.codec.siren.training.train_prior`.

    Returns:
        Whether all steps are done.

    Raises:
        ValueError: the signals do not fit, a file cannot be written, or training diverged.
    """
    modality, known = as_signals(signals)
    if modality.rank != 1:
        raise ValueError(f"staged coefficients are for signals with one axis, not {modality.name}")
    rows = [row for signal in known for row in separated(modality.to_grid(signal).values)]
    pieces = _Pieces(
        config, [lapped.coefficients(row[None], SMALLEST << c)[0] for row in rows for c in (0, 1)]
    )
    optimiser = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adam(
            optax.warmup_cosine_decay_schedule(
                0, config.lr, min(50, config.steps), max(config.steps, 51), 0.02 * config.lr
            )
        ),
    )

    @jax.jit
    def step(state, magnitude, activity, loudness):
        def loss(params):
            return bits_per_coefficient(params, magnitude, activity, loudness)

        bits, gradients = jax.value_and_grad(loss)(state.params)
        updates, moments = optimiser.update(gradients, state.optimiser)
        params = optax.apply_updates(state.params, updates)
        return StagedState(params, moments, state.done + 1), bits

    def advance(state, first, end):
        reports = []
        for number in range(first, end):
            y = pieces.draw(number)
            magnitude = np.floor(np.abs(y) + 0.5 - 0.15 * np.random.default_rng(number).random())
            magnitude = np.minimum(magnitude, symbols.LARGEST).astype(np.int32)
            activity = symbols.activities_of(magnitude).astype(np.int32)
            loudness = np.maximum(np.array(loudness_of(y)), 1).astype(np.int32)
            state, bits = step(state, magnitude, activity, loudness)
            reports.append(bits)
        return state, jnp.stack(reports)[None]

    training = Training(
        unit="step",
        units=config.steps,
        stride=50,
        log_units=200,
        gradient_steps=1,
        config=config,
        advance=advance,
        summary=lambda report, done: {"bits_per_coefficient": float(report.mean())},
        describe=lambda point, state: f"{point['bits_per_coefficient']:.4f} bits",
        devices=1,
    )

    def begin():
        params = initial(config.hidden, config.seed)
        return StagedState(params, optimiser.init(params), jnp.int32(0))

    def write(state, curve, provenance):
        account = {
            "config": dataclasses.asdict(config),
            "steps_done": int(state.done),
            "curve": curve,
            "versions": {"jax": jax.__version__, "numpy": np.__version__},
        }
        prior = prior_of(
            config, state.params, pieces, modality.name, {**provenance, "training": account}
        )
        save(prior, out, force=force)

    limits = Limits(
        checkpoint_dir=checkpoint_dir,
        checkpoint_minutes=checkpoint_minutes,
        max_minutes=max_minutes,
        log=log,
    )
    return run(
        training,
        begin,
        write,
        outs=[out],
        signals=known,
        limits=limits,
        metadata=metadata,
        force=force,
    )


class _Pieces:
    """Random pieces of the training signals' coefficients, in random quantisation steps."""

    def __init__(self, config: StagedTraining, coefficients: Sequence[np.ndarray]):
        self.config = config
        self.by_cell = [coefficients[cell::2] for cell in (0, 1)]

    def draw(self, number: int, stream: int = 0) -> Float[np.ndarray, "batch frames bins"]:
        config = self.config
        rng = np.random.default_rng([config.seed, stream, number])
        cell = _CELLS[rng.integers(len(_CELLS))]
        frames = max(config.frames >> cell, 1)
        out = np.zeros((config.batch, frames, SMALLEST << cell), np.float32)
        for piece in out:
            all_frames = self.by_cell[cell][rng.integers(len(self.by_cell[cell]))]
            start = rng.integers(max(len(all_frames) - frames, 0) + 1)
            part = all_frames[start : start + frames]
            piece[: len(part)] = part
            # digital silence has no level of its own
            level = max(float(np.sqrt(np.mean(part**2, dtype=np.float64))), 2.0**-20)
            piece /= level * 2 ** rng.uniform(config.finest, config.coarsest)
        return out


def prior_of(
    config: StagedTraining,
    params: Params,
    pieces: _Pieces,
    modality: str,
    metadata: dict[str, Any],
) -> StagedPrior:
    """The prior of a trained network, with distributions that fit its rounded weights."""
    symbol_family, tail_family = distributions.family()
    prior = StagedPrior(
        name="",
        digest=bytes(32),
        beta=config.beta,
        budget=_BUDGET,
        modality=modality,
        metadata=metadata,
        hidden=config.hidden,
        weights=rounded(params),
        frequencies=distributions.frequencies(symbol_family),
        tails=distributions.frequencies(tail_family),
        shrinkage=np.full((contexts.SCALES, CENTRES), 0.05, np.float32),
    )
    counts = _FAMILY * symbol_family
    tails = _FAMILY * tail_family / tail_family.sum(1, keepdims=True)
    moved = np.full((contexts.SCALES, CENTRES), 0.05 * _FAMILY)
    seen = np.full_like(moved, _FAMILY)
    for number in range(_PIECES):
        y = pieces.draw(number, stream=1)
        loudness = tuple(max(loud, 1) for loud in loudness_of(y))
        head = Head(0, int(math.log2(y.shape[2] // SMALLEST)), loudness)
        size = np.abs(y)

        def decide(stage, which, size=size):
            magnitude = chosen(prior, size[stage.place()], which, _LAGRANGIAN)
            symbol = np.minimum(magnitude, symbols.ESCAPE)
            np.add.at(counts, (which.ravel(), symbol.ravel()), 1)
            scale = which // contexts.SHAPES
            large = magnitude >= symbols.ESCAPE
            np.add.at(tails, (scale[large], symbols.intervals_of(magnitude[large])), 1)
            some = magnitude > 0
            centre = np.minimum(magnitude[some], CENTRES) - 1
            np.add.at(moved, (scale[some], centre), (magnitude - size[stage.place()])[some])
            np.add.at(seen, (scale[some], centre), 1)
            return magnitude

        # a head of as many channels as pieces; the length gives the number of frames
        walk(prior, head, (y.shape[1] - 1) * y.shape[2], decide)
    return dataclasses.replace(
        prior,
        frequencies=distributions.frequencies(counts),
        tails=distributions.frequencies(tails),
        shrinkage=np.clip(moved / seen, -0.5, 0.5).astype(np.float32),
    )
