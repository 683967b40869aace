"""A training run from images to the priors of a family of transforms.

Unlike the latents of a SIREN prior, those of the training images are not kept: the analysis guesses them, which takes
one pass, and an encoder refines its guess.
"""

import dataclasses
import functools
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recjax import parallel
from recjax.codec.training.data import Signals, as_signals, random_crops
from recjax.codec.training.loop import Limits, Training
from recjax.codec.training.run import run
from recjax.codec.transform.family import graph_of, initial_state, make_step, model_at
from recjax.codec.transform.settings import TransformTraining
from recjax.codec.transform.statistics import save_transform


def train_transform(
    config: TransformTraining,
    images: Signals,
    outs: Sequence[str | os.PathLike[str]],
    *,
    checkpoint_dir: str | os.PathLike[str] | None = None,
    checkpoint_minutes: float = 5.0,
    max_minutes: float = math.inf,
    metadata: dict[str, Any] | None = None,
    force: bool = False,
    log: Callable[[str], None] = print,
) -> bool:
    """Trains a transform and writes one prior for each price. The crops of a step are divided among all devices that
    they can be divided among evenly.

    Args:
      config: see :class:`TransformTraining`.
      images: training images with sides of at least a crop.
      outs: the prior files, as many as prices.
      checkpoint_dir, checkpoint_minutes, max_minutes, metadata, force, log: as for
        `recjax.codec.siren.training.train_prior`.

    Returns:
      Whether all steps are done.

    Raises:
      ValueError: the images do not fit, a file cannot be written, or training diverged.
    """
    if len(outs) != len(config.prices):
        raise ValueError(f"{len(config.prices)} prices need as many files, got {len(outs)}")
    modality, known = as_signals(images)
    images = [signal.values for signal in known]
    shown = [scaled for image in images for scaled in _scaled(image, config, modality)]
    if not shown:
        raise ValueError(f"images: no image has sides of {config.crop} pixels")
    if small := sum(min(image.shape[:2]) < config.crop for image in images):
        log(
            f"{small} of {len(images)} images are smaller than a crop of {config.crop} pixels and left out"
        )
    devices = parallel.devices_for(config.batch)
    step, key = make_step(config, devices), jax.random.key(config.seed)

    def advance(state, first, end):
        reports = []
        for number in range(first, end):
            crops = random_crops(
                shown,
                config.batch,
                (config.crop,) * modality.rank,
                [config.seed, number],
                modality=modality,
                augment=config.recolour,
            )
            state, report = step(state, parallel.placed(crops, devices, parallel.divided()), key)
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
        for i, (out, price) in enumerate(zip(outs, config.prices, strict=True)):
            bits = save_transform(
                out, model_at(graph_of(config), params, i), shown, crop=config.crop, beta=price,
                budget=config.budget, seed=config.seed, metadata={**provenance,
                "training": _account(config, int(state.done), curve, i, devices)}, force=force,
            )  # fmt: skip
            log(f"{out}: {bits:.3f} bpp of KL")

    limits = Limits(
        checkpoint_dir=checkpoint_dir,
        checkpoint_minutes=checkpoint_minutes,
        max_minutes=max_minutes,
        log=log,
    )
    return run(
        training,
        functools.partial(initial_state, config, shown),
        write,
        outs=outs,
        signals=known,
        limits=limits,
        metadata=metadata,
        force=force,
    )


def _scaled(image, config, modality):
    """The image in all sizes that hold a crop."""
    scales = config.scales if modality.rescale else ()
    sizes = [image, *(modality.rescale(image, scale) for scale in scales)]
    return [size for size in sizes if min(size.shape[:2]) >= config.crop]


def _means(reports, step, prices):
    """PSNR and bits a pixel at every price, None where it had no step.

    Args:
      reports: ``[2, steps]``, errors and nats a pixel, the last of which is that of ``step``.
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
