"""The loop around any training: it looks at the clock, logs, keeps checkpoints, goes on from them and stops in time."""

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

LAYOUT = 2
"""Of the states that are kept: another number if their fields change."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What interrupts a training.

    Attributes:
      checkpoint_dir: where the state is kept; a run that finds its own state there goes on from it.
      checkpoint_minutes: between two checkpoints.
      max_minutes: of wall-clock time, then the run keeps its state, if it has a folder for it, and stops.
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
      unit: what one is called.
      units: in all.
      stride: units between two looks at the clock.
      log_units: between two points of the learning curve, which are lines of the log, a multiple of the stride.
      gradient_steps: of a unit.
      identity: the settings and the data, for JSON: a state is not gone on from with others.
      advance: (state, first unit, the unit after the last) -> state and the numbers that are reported, ``[k, n]``.
      summary: the last report and the units done -> what the learning curve says of them. Of no earlier reports, which
        a run that goes on does not have.
      describe: a point of the curve and the state -> the log's words for it.
      devices: that share the work.
    """

    unit: str
    units: int
    stride: int
    log_units: int
    gradient_steps: int
    identity: dict[str, Any]
    advance: Callable[[Any, int, int], tuple[Any, Any]]
    summary: Callable[[np.ndarray, int], dict[str, Any]]
    describe: Callable[[dict[str, Any], Any], str]
    devices: int


def train(training: Training, state: Any, limits: Limits) -> tuple[Any, list[dict[str, Any]]]:
    """The state and the learning curve at the end, or when time is up. The state counts its units as ``done``.

    Raises:
      ValueError: the checkpoints cannot be used, or training diverged.
    """
    checkpoints, curve = None, []
    if limits.checkpoint_dir is not None:
        identity = json.dumps(training.identity | {"layout": LAYOUT}, sort_keys=True)
        checkpoints = Checkpoints(Path(limits.checkpoint_dir), identity)
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
                f"{training.unit} {done}/{training.units}  {words}  {elapsed / 60:.1f} min, {left / 60:.1f} min left"
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
