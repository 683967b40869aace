"""A training from signals to the priors of a family of transforms.

Unlike the latents of a SIREN prior, those of the training signals are not kept: the amortised
posterior takes one pass, and an encoder improves it.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from recjax import parallel
from recjax.codec.training.data import Signals, as_signals, random_crops
from recjax.codec.training.loop import Limits, Training
from recjax.codec.training.run import run
from recjax.codec.transform.family import graph_of, initial_state, make_step, model_at
from recjax.codec.transform.prior import save
from recjax.codec.transform.settings import TransformTraining
from recjax.codec.transform.statistics import BATCH, BATCHES, prior_of
from recjax.modalities import Modality, Signal


def train_transform(
    config: TransformTraining,
    signals: Signals,
    outs: Sequence[str | os.PathLike[str]],
    *,
    checkpoint_dir: str | os.PathLike[str] | None = None,
    checkpoint_minutes: float = 5.0,
    max_minutes: float = math.inf,
    metadata: dict[str, Any] | None = None,
    force: bool = False,
    log: Callable[[str], None] = print,
) -> bool:
    """Trains a transform and writes one prior for each price.

    The crops of a step are divided among all devices that they can be divided among evenly.

    Args:
        config: settings of the training.
        signals: training signals of one modality with sides of at least a crop, or arrays that are
            the values of images.
        outs: the prior files, as many as prices.
        checkpoint_dir, checkpoint_minutes, max_minutes, metadata, force, log: as for
            `recjax.codec.siren.training.train_prior`.

    Returns:
        Whether all steps are done.

    Raises:
        ValueError: the signals do not fit, a file cannot be written, or training diverged.
    """
    if len(outs) != len(config.prices):
        raise ValueError(f"{len(config.prices)} prices need as many files, got {len(outs)}")
    modality, known = as_signals(signals)
    network = config.network
    if network.rank != modality.rank or network.channels not in modality.channels:
        raise ValueError(
            f"a network of {network.rank} axes and {network.channels} channels is not one for "
            f"{modality.name}"
        )
    shown = [values for signal in known for values in _scaled(signal.values, config, modality)]
    sides = " x ".join(map(str, sorted(set(config.sides))))
    if not shown:
        raise ValueError(f"images: no {modality.name} has sides of {sides} {modality.unit}s")
    if small := sum(not _holds_crop(signal.values, config) for signal in known):
        log(
            f"{small} of {len(known)} {modality.name}s are smaller than a crop of {sides} "
            f"{modality.unit}s and left out"
        )
    devices = parallel.devices_for(config.batch)
    step, key = make_step(config, devices), jax.random.key(config.seed)

    def advance(state, first, end):
        reports = []
        for number in range(first, end):
            crops = random_crops(
                shown,
                config.batch,
                config.sides,
                [config.seed, number],
                modality=modality,
                augment=config.recolour,
            )
            values = parallel.placed(_values(crops, modality), devices, parallel.divided())
            state, report = step(state, values, key)
            reports.append(report)
        return state, jnp.stack(reports, axis=1)

    training = Training(
        unit="step",
        units=config.steps,
        stride=120,
        log_units=1200,
        gradient_steps=1,
        config=config,
        advance=advance,
        summary=lambda reports, done: _means(reports, done, len(config.prices)),
        devices=devices,
        describe=lambda point, state: "  ".join(
            f"{bpp:.3f} bpp {psnr:.2f} dB" if bpp is not None else "no step"
            for bpp, psnr in zip(point["bpp"], point["psnr"], strict=True)
        ),
    )

    def write(state, curve, provenance):
        params = parallel.placed(state.params, 1)
        crops = [
            _values(
                random_crops(
                    shown,
                    BATCH,
                    config.sides,
                    [config.seed, 1, i],
                    modality=modality,
                    augment=False,
                ),
                modality,
            )
            for i in range(BATCHES)
        ]
        for i, (out, price) in enumerate(zip(outs, config.prices, strict=True)):
            account = _account(config, int(state.done), curve, i, devices)
            prior, bits = prior_of(
                model_at(graph_of(config), params, i).network(),
                crops,
                modality=modality.name,
                beta=price,
                budget=config.budget,
                seed=config.seed,
                metadata={**provenance, "training": account},
            )
            save(prior, out, force=force)
            log(f"{out}: {bits:.3f} bpp of KL")

    limits = Limits(
        checkpoint_dir=checkpoint_dir,
        checkpoint_minutes=checkpoint_minutes,
        max_minutes=max_minutes,
        log=log,
    )
    return run(
        training,
        lambda: initial_state(config, [_values(x[None], modality)[0] for x in shown]),
        write,
        outs=outs,
        signals=known,
        limits=limits,
        metadata=metadata,
        force=force,
    )


def _values(crops: np.ndarray, modality: Modality) -> Float[np.ndarray, "n *sides channels"]:
    """Values in [-1/2, 1/2] of values of signals."""
    return np.stack([modality.to_grid(Signal(x, modality.name)).values for x in crops])


def _scaled(values, config, modality):
    """The signal in all sizes that hold a crop."""
    scales = config.scales if modality.rescale else ()
    sizes = [values, *(modality.rescale(values, scale) for scale in scales)]
    return [size for size in sizes if _holds_crop(size, config)]


def _holds_crop(values, config):
    return all(n >= side for n, side in zip(values.shape, config.sides))


def _means(reports, step, prices):
    """PSNR and bits per cell of the signal at every price, None where it had no step.

    Args:
        reports: ``[2, steps]``, errors and nats per cell, up to those of ``step``.
        step: number of the last step.
        prices: number of prices.
    """
    which = np.arange(step - reports.shape[1], step) % prices
    error, kl = (
        [float(row[which == i].mean()) if (which == i).any() else None for i in range(prices)]
        for row in reports
    )
    return {
        "psnr": [None if e is None else -10 * math.log10(e) for e in error],
        "bpp": [None if k is None else k / math.log(2) for k in kl],
    }


def _account(config, steps, curve, price, devices):
    return {
        "config": dataclasses.asdict(config),
        "price": config.prices[price],
        "steps_done": steps,
        "devices": devices,
        "curve": curve,
        "versions": {"jax": jax.__version__, "numpy": np.__version__},
    }
