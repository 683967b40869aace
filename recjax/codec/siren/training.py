"""A training run, from signals to a prior file."""

import dataclasses
import functools
import math
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recjax import parallel
from recjax.codec.siren.layout import LatentGroup, kinds
from recjax.codec.siren.network import pruned
from recjax.codec.siren.partition import partition
from recjax.codec.siren.prior import SirenPrior, save
from recjax.codec.siren.round import ROUND_STEPS, make_round
from recjax.codec.siren.settings import TrainConfig
from recjax.codec.siren.training_batches import (
    batch_rows,
    batch_signals,
    round_key,
    select_targets,
    training_targets,
)
from recjax.codec.siren.training_state import TrainState, initial_state
from recjax.codec.training.data import Signals, as_signals, grids_of
from recjax.codec.training.informative import informative
from recjax.codec.training.loop import Limits, Training
from recjax.codec.training.run import run


def train_prior(
    config: TrainConfig,
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
    """Trains a prior and writes it to ``out``.

    The signals of a round are divided among as many devices of this process as divide them evenly.

    Args:
        config: the settings.
        signals: training signals of one modality, all of the sides ``config.sides``. Arrays stand
            for images.
        out: the prior file.
        checkpoint_dir: folder of the checkpoints. A run that finds its state there goes on from it,
            with the results that an undisturbed run would have had (up to rounding, if the number
            of devices is another).
        checkpoint_minutes: minutes between checkpoints.
        max_minutes: wall-clock limit; a run that reaches it keeps its state, if it has a
            ``checkpoint_dir``, and writes a usable prior.
        metadata: provenance to store in the prior (data, licence, command).
        force: whether ``out`` may be replaced.
        log: receives one line every 20 rounds: rate, distortion, Lagrange multiplier, remaining
            time.

    Returns:
        Whether all rounds are done.

    Raises:
        ValueError: the signals do not fit, ``out`` cannot be written, or training diverged.
    """
    modality, known = as_signals(signals)
    grids = grids_of(modality, known)
    targets = training_targets(grids, config)
    devices = parallel.devices_for(batch_signals(config, len(grids)))
    one_round = make_round(config, devices)

    def advance(state, number, end):
        batch = batch_rows(config, len(grids), number)
        state, report = one_round(
            state, select_targets(targets, batch, config), batch, round_key(config, number)
        )
        return state, jnp.stack(report)[:, None]

    def describe(point, state):
        rate = point["kl_bits"] / config.n_points
        beta = math.exp(float(state.log_beta))
        return f"{rate:.3f} bits per {modality.unit}  {point['psnr']:.2f} dB  beta {beta:.2e}"

    training = Training(
        unit="round",
        units=config.rounds,
        stride=1,
        log_units=20,
        gradient_steps=ROUND_STEPS,
        config=config,
        advance=advance,
        summary=lambda report, done: {
            # of errors of values in [-1/2, 1/2]
            "psnr": -10 * math.log10(report[0, 0]),
            "kl_bits": float(report[1, 0]),
        },
        describe=describe,
        devices=devices,
    )

    def write(state, curve, provenance):
        write_trained(
            config, state, out, modality=modality.name, curve=curve, devices=devices,
            metadata=provenance, force=force,
        )  # fmt: skip

    limits = Limits(
        checkpoint_dir=checkpoint_dir,
        checkpoint_minutes=checkpoint_minutes,
        max_minutes=max_minutes,
        log=log,
    )
    return run(
        training,
        functools.partial(initial_state, config, len(grids)),
        write,
        outs=[out],
        signals=known,
        limits=limits,
        metadata=metadata,
        force=force,
    )


def write_trained(
    config: TrainConfig,
    state: TrainState,
    out: str | os.PathLike[str],
    *,
    modality: str,
    curve: list[dict[str, float]],
    devices: int = 1,
    metadata: dict[str, Any],
    force: bool = False,
) -> None:
    """Partitions the latents by their average KL and writes the prior of a training state.

    Args:
        config: the settings.
        state: the state.
        out: the prior file.
        modality: name of the signals' modality.
        curve: the learning curve.
        devices: number of devices that trained.
        metadata: provenance.
        force: whether ``out`` may be replaced.

    Raises:
        ValueError: ``out`` cannot be written, or exists and ``force`` is off.
    """
    n_weights = config.network.n_weight_latents
    kl_bits = [
        np.asarray(group.posterior.kl_nats().mean(0), np.float64) / math.log(2)
        for group in state.groups
    ]
    # a latent of the weights stays if any group has information about it
    coded = [informative(kl) for kl in kl_bits]
    kept = functools.reduce(np.logical_or, [keep[:n_weights] for keep in coded])
    loc = np.asarray(sum(group.prior.loc[:n_weights] for group in state.groups))
    network, params = pruned(config.network, state.params, loc, kept)
    groups = []
    for kind, kl, keep, group in zip(
        kinds(config.levels), kl_bits, coded, state.groups, strict=True
    ):
        # all latents of the grid stay: they have no matrix that could lose a row
        remaining = np.concatenate([kept, np.ones(len(kl) - n_weights, bool)])
        order, widths = partition(kl[keep], config.budget, config.seed)
        groups.append(
            LatentGroup(
                kind=kind,
                scale=np.asarray(group.prior.scale)[remaining],
                log_std=np.asarray(group.posterior.log_std.mean(0))[remaining],
                order=np.flatnonzero(keep[remaining])[order].astype(np.int32),
                widths=widths,
            )
        )
    rate = sum(kl.sum() * rows for kl, rows in zip(kl_bits, config.rows, strict=True))
    training = {
        "config": dataclasses.asdict(config),
        "rounds_done": int(state.done),
        "devices": devices,
        "signals": len(state.groups[0].posterior.mean) // config.rows[0],
        "curve": curve,
        "kl_bits": float(rate),
        "versions": {"jax": jax.__version__, "numpy": np.__version__},
    }
    prior = SirenPrior(
        name="",
        digest=b"",
        beta=float(jnp.exp(state.log_beta)),
        budget=config.budget,
        modality=modality,
        metadata=metadata | {"training": training},
        config=network,
        params=params,
        groups=tuple(groups),
        region=config.region,
    )
    save(prior, out, force=force)
