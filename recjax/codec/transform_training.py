"""Learning a transform and its analysis together: a variational autoencoder for several rates at once.

Every gradient step lowers distortion + beta KL (Kingma and Welling, ICLR 2014; for compression Balle et al., ICLR 2018)
on random crops, at one of the prices in turn. Matrices are shared by all prices; whatever is a vector (biases, gains,
curvatures) each price has for itself. So a family of priors costs hardly more than one, to learn and to store.

Unlike the latents of a SIREN prior, those of the training images are not kept: the analysis guesses them, which takes
one pass, and an encoder refines its guess.
"""

import dataclasses
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx, struct
from jaxtyping import Array, Float, UInt8

from recjax.atomic import check_output
from recjax.codec.checkpoints import Checkpoints
from recjax.codec.crops import random_crops
from recjax.codec.karhunen_loeve import karhunen_loeve
from recjax.codec.transform_statistics import save_transform
from recjax.inr.corners import lapped
from recjax.inr.guess import kl_nats, walk
from recjax.inr.initial import PerPrice
from recjax.inr.transform import Transform, TransformConfig

STEPS_A_LOOK = 60
"""Steps after which the loss and the clock are looked at."""
LOG_STEPS = 1200
SLOW = {"lapped", "synthesis", "log_gain", "log_curvature", "upper_gain"}
"""What starts near its optimum learns ten times slower."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformTraining:
    """How a family of transform priors is trained.

    Attributes:
      prices: of a nat a pixel, in units of the mean squared error of values in [0, 1]; one prior each.
      steps: gradient steps, each at one price.
      batch: crops a step.
      crop: side of a crop in pixels, a multiple of a cell of the top level; several cells, unless images are to be
        no larger: a network that saw single cells knows no neighbours.
      lr: Adam's learning rate after a warm-up; it falls to a fiftieth along a cosine.
      scales: sizes at which the images are shown, besides their own.
      recolour: whether colours and contrast of crops change, see :func:`recjax.codec.crops.random_crops`.
      budget: bits of KL a block.
      seed: of the initial network, the crops and the block partition.
      network: the architecture.

    Raises:
      ValueError: a number is out of its range.
    """

    prices: tuple[float, ...] = (2.5e-2, 7e-3, 2e-3, 6e-4)
    steps: int = 24000
    batch: int = 4
    crop: int = 128
    lr: float = 4e-3
    scales: tuple[float, ...] = (0.75, 0.5)
    recolour: bool = True
    budget: int = 16
    seed: int = 0
    network: TransformConfig = dataclasses.field(default_factory=TransformConfig)

    def __post_init__(self):
        for name in ("steps", "batch", "crop", "lr"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        if not self.prices or not all(0 < price < 1 for price in self.prices):
            raise ValueError(f"prices must be between 0 and 1, got {self.prices}")
        if not all(0 < scale < 1 for scale in self.scales):
            raise ValueError(f"scales must be between 0 and 1, got {self.scales}")
        if self.crop % self.network.cell:
            raise ValueError(f"crop must be a multiple of {self.network.cell}, got {self.crop}")
        if not 4 <= self.budget <= 20:
            raise ValueError(f"budget must be 4 to 20 bits, got {self.budget}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")


class FamilyParams(NamedTuple):
    """Parameters of a family: vectors stacked along a leading axis of prices, and the matrices that they share."""

    vectors: nnx.State
    matrices: nnx.State


@struct.dataclass
class TransformState:
    """Parameters, which are :class:`FamilyParams`; the optimiser; steps done."""

    params: Any  # optax knows nothing but arrays
    optimiser: optax.OptState
    step: Array


def model_at(graph: nnx.GraphDef, params: FamilyParams, price: int | Array) -> Transform:
    """The transform of one price."""
    return nnx.merge(graph, jax.tree.map(lambda x: x[price], params.vectors), params.matrices)


def initial_state(config: TransformTraining, images: Sequence[UInt8[np.ndarray, "h w 3"]]) -> TransformState:
    """Synthesis and analysis are Karhunen-Loeve transforms of the images, whose deviations are the gains."""
    network, models = config.network, []
    bases = karhunen_loeve(network, images, np.random.default_rng(config.seed))
    for price in config.prices:
        model = Transform(network, config.seed)
        # of the squared error of an orthonormal coefficient, over the price
        curvature = 2 / (network.channels * price)
        for level, (moments, blocks) in enumerate(bases):
            half = network.factors[level] // 2
            window = np.pad(blocks, [(half, half)] * 2 + [(0, 0)] * 2)
            own, analysis = model.levels[level], model.analysis
            own.synthesis[...] = jnp.asarray(lapped(blocks))
            analysis.lapped[level][...] = jnp.asarray(window.reshape(-1, window.shape[-1]))
            analysis.log_curvature[level][...] += jnp.float32(math.log(curvature))
            gains = np.zeros(network.depths[level], np.float32)
            gains[: len(moments)] = 0.5 * np.log(moments)
            if level + 1 < network.levels:  # predicted from above, up to about the error that pays
                gains[: network.channels] = -0.5 * math.log(curvature)
            own.log_gain[...] = jnp.asarray(gains)
        models.append(nnx.split(model, PerPrice, ...)[1:])
    vectors = jax.tree.map(lambda *x: jnp.stack(x), *(vectors for vectors, _ in models))
    params = FamilyParams(vectors, models[0][1])
    return TransformState(params=params, optimiser=_optimiser(config).init(params), step=jnp.int32(0))


def _optimiser(config):
    schedule = optax.warmup_cosine_decay_schedule(
        0, config.lr, min(100, config.steps), max(config.steps, 101), 0.02 * config.lr
    )

    def slowed(updates: Any) -> Any:
        def one(path, update):
            return 0.1 * update if SLOW & {getattr(key, "key", None) for key in path} else update

        return jax.tree_util.tree_map_with_path(one, updates)

    return optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.scale_by_adam(b2=0.99),
        optax.stateless(lambda updates, params: slowed(updates)),
        optax.scale_by_learning_rate(schedule),
    )


def elbo(model: Transform, images: Float[Array, "n h w 3"], key: Array) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean squared error and nats of KL a pixel at one sample of the guessed posterior."""
    posteriors, decoded = walk(model, images, key)
    kl = jnp.stack([kl_nats(posterior).sum() for posterior in posteriors]).sum()
    return jnp.mean((decoded - images) ** 2), kl / images[..., 0].size


def make_step(config: TransformTraining):
    """The compiled function of a step: (state, crops, key) -> (state, error and KL).

    One step a dispatch: XLA's CPU backend convolves ten times slower inside a loop.
    """
    graph = nnx.split(nnx.eval_shape(lambda: Transform(config.network)), PerPrice, ...)[0]
    prices = jnp.asarray(config.prices, jnp.float32)
    optimiser = _optimiser(config)

    @jax.jit(donate_argnums=0)
    def step(state: TransformState, crops: UInt8[Array, "batch h w 3"], key: Array):
        price = state.step % len(prices)

        def loss(params):
            values, noise = crops.astype(jnp.float32) / 255 - 0.5, jax.random.fold_in(key, state.step)
            error, kl = elbo(model_at(graph, params, price), values, noise)
            total = error + prices[price] * kl
            # relative, so that no price outweighs the others
            return total / jax.lax.stop_gradient(total), (error, kl)

        gradient, report = jax.grad(loss, has_aux=True)(state.params)
        update, moments = optimiser.update(gradient, state.optimiser, state.params)
        state = TransformState(optax.apply_updates(state.params, update), moments, state.step + 1)
        return state, jnp.stack(report)

    return step


def train_transform(
    config: TransformTraining,
    images: Sequence[UInt8[np.ndarray, "h w 3"]],
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

    Args:
      config: see :class:`TransformTraining`.
      images: training images with sides of at least a crop.
      outs: the prior files, as many as prices.
      checkpoint_dir, checkpoint_minutes, max_minutes, metadata, force, log: as for
        :func:`recjax.codec.training_run.train_prior`.

    Returns:
      Whether all steps are done.

    Raises:
      ValueError: the images do not fit, a file cannot be written, or training diverged.
    """
    if len(outs) != len(config.prices):
        raise ValueError(f"{len(config.prices)} prices need as many files, got {len(outs)}")
    for out in outs:
        check_output(out, force=force)
    shown = [scaled for image in images for scaled in _scaled(image, config)]
    if not shown:
        raise ValueError(f"images: no image has sides of {config.crop} pixels")
    if small := sum(min(image.shape[:2]) < config.crop for image in images):
        log(f"{small} of {len(images)} images are smaller than a crop of {config.crop} pixels and left out")
    data = hashlib.sha256(b"".join(image.tobytes() for image in images)).hexdigest()
    state, curve, checkpoints = initial_state(config, shown), [], None
    if checkpoint_dir is not None:
        identity = json.dumps({"config": dataclasses.asdict(config), "data": data}, sort_keys=True)
        checkpoints = Checkpoints(Path(checkpoint_dir), identity)
        state, curve = checkpoints.restore(state)
    step, key = make_step(config), jax.random.key(config.seed)
    first, begun, saved, reports = int(state.step), time.monotonic(), time.monotonic(), []
    for start in range(first, config.steps, STEPS_A_LOOK):
        done = min(start + STEPS_A_LOOK, config.steps)
        for number in range(start, done):
            crops = random_crops(shown, config.batch, config.crop, [config.seed, number], recolour=config.recolour)
            state, report = step(state, crops, key)
            reports.append(report)
        # this waits for the steps, so that the clock below is true
        last = done == config.steps
        if not np.isfinite(reports[-1]).all():
            raise ValueError("training diverged; lower lr")
        if last or done % LOG_STEPS == 0:
            curve.append(_point(np.stack(reports, axis=1), done, len(config.prices)))
            log(_line(config, curve[-1], begun, first))
            reports = []
        out_of_time = time.monotonic() - begun > 60 * max_minutes
        if checkpoints and (last or out_of_time or time.monotonic() - saved > 60 * checkpoint_minutes):
            checkpoints.save(done, state, curve)
            saved = time.monotonic()
        if out_of_time and not last:
            log(f"stopped after {done} of {config.steps} steps: the same command goes on from here")
            break
    graph = nnx.split(nnx.eval_shape(lambda: Transform(config.network)), PerPrice, ...)[0]
    for i, (out, price) in enumerate(zip(outs, config.prices, strict=True)):
        bits = save_transform(
            out, model_at(graph, state.params, i), shown, crop=config.crop, beta=price, budget=config.budget,
            seed=config.seed, metadata={"data_sha256": data, **(metadata or {}),
            "training": _account(config, state, curve, i)}, force=force,
        )  # fmt: skip
        log(f"{out}: {bits:.3f} bpp of KL")
    return int(state.step) == config.steps


def _scaled(image, config):
    """The image in all sizes that hold a crop."""
    from recjax.modalities.image import resized

    sizes = [image, *(resized(image, scale) for scale in config.scales)]
    return [size for size in sizes if min(size.shape[:2]) >= config.crop]


def _point(reports, step, prices):
    """Means at every price of ``[2, steps]``, errors and nats a pixel, the last of which is that of ``step``."""
    which = np.arange(step - reports.shape[1], step) % prices
    error, kl = ([float(row[which == i].mean()) for i in range(prices) if (which == i).any()] for row in reports)
    return {"step": step, "psnr": [-10 * math.log10(e) for e in error], "bpp": [k / math.log(2) for k in kl]}


def _line(config, point, begun, first):
    elapsed = time.monotonic() - begun
    left = elapsed / (point["step"] - first) * (config.steps - point["step"])
    rates = "  ".join(f"{b:.3f} bpp {p:.2f} dB" for b, p in zip(point["bpp"], point["psnr"], strict=True))
    return f"step {point['step']}/{config.steps}  {rates}  {elapsed / 60:.1f} min, {left / 60:.1f} min left"


def _account(config, state, curve, price):
    return {
        "config": dataclasses.asdict(config),
        "price": config.prices[price],
        "steps_done": int(state.step),
        "curve": curve,
        "versions": {"jax": jax.__version__, "numpy": np.__version__},
    }
