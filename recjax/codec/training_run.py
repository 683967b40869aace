"""A training run from images to a prior file: checkpoints, resuming, a wall-clock limit, a log."""

import dataclasses
import functools
import hashlib
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from recjax.atomic import check_output
from recjax.codec.checkpoints import Checkpoints
from recjax.codec.groups import LatentGroup, kinds
from recjax.codec.inr_prior import save_prior
from recjax.codec.partition import informative, partition
from recjax.codec.train import (
    ROUND_STEPS,
    TrainState,
    batch_rows,
    initial_state,
    make_round,
    round_key,
    select_targets,
    training_targets,
)
from recjax.codec.train_config import TrainConfig
from recjax.inr.siren import pruned

LOG_ROUNDS = 20


def train_prior(
    config: TrainConfig,
    images: UInt8[np.ndarray, "M h w c"],
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

    Args:
      config: see :class:`TrainConfig`.
      images: training signals.
      out: the prior file.
      checkpoint_dir: where the state is kept, every ``checkpoint_minutes``; a run that finds its own state there
        goes on from it, with the results that an undisturbed run would have had.
      max_minutes: wall-clock limit; a run that reaches it keeps its state and writes a usable prior.
      metadata: provenance to store in the prior (data, licence, command).
      force: whether ``out`` may be replaced.
      log: receives one line every 20 rounds: rate, distortion, price, remaining time.

    Returns:
      Whether all rounds are done.

    Raises:
      ValueError: the images do not fit, ``out`` cannot be written, or training diverged.
    """
    check_output(out, force=force)
    targets = training_targets(images, config)
    data = hashlib.sha256(images.tobytes()).hexdigest()
    state = initial_state(config, len(images))
    checkpoints, curve = None, []
    if checkpoint_dir is not None:
        identity = json.dumps({"config": dataclasses.asdict(config), "data": data}, sort_keys=True)
        checkpoints = Checkpoints(Path(checkpoint_dir), identity)
        state, curve = checkpoints.restore(state)
    run = make_round(config)
    first, begun, saved = int(state.round), time.monotonic(), time.monotonic()
    for number in range(first, config.rounds):
        signals = batch_rows(config, len(images), number)
        state, report = run(state, select_targets(targets, signals, config), signals, round_key(config, number))
        # This waits for the round, so that the clock below is true.
        mse, kl = float(report.mse), float(report.kl_bits)
        if not math.isfinite(mse + kl):
            raise ValueError("training diverged; lower lr_shared or lr")
        last = number + 1 == config.rounds
        if last or (number + 1) % LOG_ROUNDS == 0:
            curve.append({"step": (number + 1) * ROUND_STEPS, "psnr": _psnr(mse), "kl_bits": kl})
            log(_line(config, number + 1, curve[-1], begun, first, float(state.log_beta)))
        out_of_time = time.monotonic() - begun > 60 * max_minutes
        if checkpoints and (last or out_of_time or time.monotonic() - saved > 60 * checkpoint_minutes):
            checkpoints.save((number + 1) * ROUND_STEPS, state, curve)
            saved = time.monotonic()
        if out_of_time and not last:
            log(f"stopped after {number + 1} of {config.rounds} rounds: the same command goes on from here")
            break
    write_trained(config, state, out, curve=curve, metadata={"data_sha256": data} | (metadata or {}), force=force)
    return int(state.round) == config.rounds


def write_trained(
    config: TrainConfig,
    state: TrainState,
    out: str | os.PathLike[str],
    *,
    curve: list[dict[str, float]],
    metadata: dict[str, Any],
    force: bool = False,
) -> None:
    """Partitions the latents by their average KL and writes the prior of a training state.

    Raises:
      ValueError: ``out`` cannot be written, or exists and ``force`` is off.
    """
    n_weights = config.network.n_weight_latents
    kl_bits = [np.asarray(q.kl_nats().mean(0), np.float64) / math.log(2) for q in state.posteriors]
    # a latent of the weights stays if any group has information about it
    coded = [informative(kl) for kl in kl_bits]
    kept = functools.reduce(np.logical_or, [keep[:n_weights] for keep in coded])
    loc = np.asarray(sum(prior.loc[:n_weights] for prior in state.priors))
    network, params = pruned(config.network, state.params, loc, kept)
    groups = []
    for kind, kl, keep, prior, q in zip(
        kinds(config.levels), kl_bits, coded, state.priors, state.posteriors, strict=True
    ):
        there = np.concatenate([kept, np.ones(len(kl) - n_weights, bool)])
        listed = np.flatnonzero(keep[there])
        order, widths = partition(kl[keep], config.budget, config.seed)
        groups.append(
            LatentGroup(
                kind=kind,
                scale=np.asarray(prior.scale)[there],
                log_std=np.asarray(q.log_std.mean(0))[there],
                order=listed[order],
                widths=widths,
            )
        )
    rate = sum(kl.sum() * rows for kl, rows in zip(kl_bits, config.rows, strict=True))
    training = {
        "config": dataclasses.asdict(config),
        "rounds_done": int(state.round),
        "signals": len(state.posteriors[0].mean) // config.rows[0],
        "curve": curve,
        "kl_bits": float(rate),
        "versions": {"jax": jax.__version__, "numpy": np.__version__},
    }
    save_prior(
        out,
        config=network,
        params=params,
        groups=tuple(groups),
        region=config.region,
        beta=float(jnp.exp(state.log_beta)),
        budget=config.budget,
        metadata=metadata | {"training": training},
        force=force,
    )


def _psnr(mse: float) -> float:
    return -10 * math.log10(mse)


def _line(config, done, point, begun, first, log_beta):
    elapsed = time.monotonic() - begun
    left = elapsed / (done - first) * (config.rounds - done)
    rate = point["kl_bits"] / config.n_points
    return (
        f"round {done}/{config.rounds}  {rate:.3f} bpp  {point['psnr']:.2f} dB  beta {math.exp(log_beta):.2e}  "
        f"{elapsed / 60:.1f} min, {left / 60:.1f} min left"
    )
