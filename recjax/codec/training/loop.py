"""The loop of every training: it logs, keeps checkpoints, goes on from them and stops in time."""

import dataclasses
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from recjax.codec.training.checkpoints import Checkpoints

LAYOUT = 3
"""Version of the states in checkpoints; another number whenever their fields change."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Interruptions of a training.

    Attributes:
        checkpoint_dir: folder of the checkpoints; a run that finds its state there goes on from it.
        checkpoint_minutes: minutes between two checkpoints.
        max_minutes: wall-clock limit; a run that reaches it keeps its state, if it has a folder for
            checkpoints, and stops.
        log: receives lines for people.
    """

    checkpoint_dir: str | os.PathLike[str] | None = None
    checkpoint_minutes: float = 5.0
    max_minutes: float = math.inf
    log: Callable[[str], None] = print


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """One training, in units of work.

    Attributes:
        unit: name of a unit.
        units: number of units.
        stride: units between two looks at the clock.
        log_units: units between two points of the learning curve, which are lines of the log too; a
            multiple of the stride.
        gradient_steps: gradient steps per unit.
        config: the settings, a dataclass. A run with others does not go on from a checkpoint.
        advance: trains from one unit up to another: from the state, the first unit and the unit
            after the last to the state and the reported numbers, ``[k, n]``.
        summary: a point of the learning curve, from the latest report and the number of units done.
            It must not depend on earlier reports, which a resumed run lacks.
        describe: a line of the log, from a point of the curve and the state.
        devices: number of devices that share the work.
    """

    unit: str
    units: int
    stride: int
    log_units: int
    gradient_steps: int
    config: Any
    advance: Callable[[Any, int, int], tuple[Any, Any]]
    summary: Callable[[np.ndarray, int], dict[str, Any]]
    describe: Callable[[dict[str, Any], Any], str]
    devices: int


def train(
    training: Training, state: Any, limits: Limits, data: str
) -> tuple[Any, list[dict[str, Any]]]:
    """Trains until all units are done or time is up.

    Args:
        training: the training.
        state: the state before the first unit, which counts its units as ``done``.
        limits: limits of time, and the checkpoints.
        data: digest of the training data; a run with others does not go on from a checkpoint.

    Returns:
        The state and the learning curve.

    Raises:
        ValueError: the checkpoints cannot be used, or training diverged.
    """
    checkpoints, curve = None, []
    if limits.checkpoint_dir is not None:
        config = dataclasses.asdict(training.config)
        identity = {"config": config, "data": data, "layout": LAYOUT}
        checkpoints = Checkpoints(Path(limits.checkpoint_dir), json.dumps(identity, sort_keys=True))
        state, curve = checkpoints.restore(state)
    if training.devices > 1:
        limits.log(f"on {training.devices} devices")
    first, begun, saved = int(state.done), time.monotonic(), time.monotonic()
    for start in range(first, training.units, training.stride):
        done = min(start + training.stride, training.units)
        state, report = training.advance(state, start, done)
        # this waits for the units, so that the clock below is true
        report = np.asarray(jax.device_get(report))
        if not np.isfinite(report).all():
            raise ValueError("training diverged; lower the learning rates")
        last, elapsed = done == training.units, time.monotonic() - begun
        if last or done % training.log_units == 0:
            curve = [
                *curve,
                {"step": done * training.gradient_steps} | training.summary(report, done),
            ]
            left = elapsed / (done - first) * (training.units - done)
            words = training.describe(curve[-1], state)
            limits.log(
                f"{training.unit} {done}/{training.units}  {words}  "
                f"{elapsed / 60:.1f} min, {left / 60:.1f} min left"
            )
        out_of_time = elapsed > 60 * limits.max_minutes
        if checkpoints and (
            last or out_of_time or time.monotonic() - saved > 60 * limits.checkpoint_minutes
        ):
            checkpoints.save(done * training.gradient_steps, state, curve)
            saved = time.monotonic()
        if out_of_time and not last:
            resumed = ": the same command goes on from here" if checkpoints else ""
            limits.log(f"stopped after {done} of {training.units} {training.unit}s{resumed}")
            break
    return state, curve
