"""A training run from images to a prior file."""

import dataclasses
import functools
import hashlib
import math
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from recjax import parallel
from recjax.atomic import check_output
from recjax.codec.siren.groups import LatentGroup, kinds
from recjax.codec.siren.network import pruned
from recjax.codec.siren.partition import informative, partition
from recjax.codec.siren.prior import save_prior
from recjax.codec.siren.round import (
    ROUND_STEPS,
    TrainState,
    batch_rows,
    batch_signals,
    initial_state,
    make_round,
    round_key,
    select_targets,
    training_targets,
)
from recjax.codec.siren.settings import TrainConfig
from recjax.codec.training.loop import Limits, Training, train


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
    """Trains a prior and writes it to ``out``. The signals of a round are divided among all devices that they can be
    divided among evenly.

    Args:
      config: see :class:`TrainConfig`.
      images: training signals.
      out: the prior file.
      checkpoint_dir: where the state is kept, every ``checkpoint_minutes``; a run that finds its own state there
        goes on from it, with the results that an undisturbed run would have had (up to rounding, if the number of
        devices is another).
      max_minutes: wall-clock limit; a run that reaches it keeps its state, if it has a ``checkpoint_dir``, and writes a
        usable prior.
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
    devices = parallel.devices_for(batch_signals(config, len(images)))
    run = make_round(config, devices)

    def advance(state, number, end):
        signals = batch_rows(config, len(images), number)
        state, report = run(
            state, select_targets(targets, signals, config), signals, round_key(config, number)
        )
        return state, jnp.stack(report)[:, None]

    training = Training(
        unit="round",
        units=config.rounds,
        stride=1,
        log_units=20,
        gradient_steps=ROUND_STEPS,
        identity={"config": dataclasses.asdict(config), "data": data},
        advance=advance,
        summary=lambda report, done: {
            "psnr": -10 * math.log10(report[0, 0]),
            "kl_bits": float(report[1, 0]),
        },
        devices=devices,
        describe=lambda point, state: (
            f"{point['kl_bits'] / config.n_points:.3f} bpp  {point['psnr']:.2f} dB  "
            f"beta {math.exp(float(state.log_beta)):.2e}"
        ),
    )
    limits = Limits(
        checkpoint_dir=checkpoint_dir,
        checkpoint_minutes=checkpoint_minutes,
        max_minutes=max_minutes,
        log=log,
    )
    state, curve = train(
        training, parallel.placed(initial_state(config, len(images)), devices), limits
    )
    metadata = {"data_sha256": data} | (metadata or {})
    write_trained(config, state, out, curve=curve, devices=devices, metadata=metadata, force=force)
    return int(state.done) == config.rounds


def write_trained(
    config: TrainConfig,
    state: TrainState,
    out: str | os.PathLike[str],
    *,
    curve: list[dict[str, float]],
    devices: int = 1,
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
        "rounds_done": int(state.done),
        "devices": devices,
        "signals": len(state.posteriors[0].mean) // config.rows[0],
        "curve": curve,
        "kl_bits": float(rate),
        "versions": {"jax": jax.__version__, "numpy": np.__version__},
    }
    save_prior(
        out,
        config=network,
        params=params,
        modality="image",
        groups=tuple(groups),
        region=config.region,
        beta=float(jnp.exp(state.log_beta)),
        budget=config.budget,
        metadata=metadata | {"training": training},
        force=force,
    )
