"""The front of every training: checks the outputs, hashes the data, trains, writes the priors."""

import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Any

from recjax import parallel
from recjax.atomic import check_output
from recjax.codec.training.loop import Limits, Training, train
from recjax.modalities import Signal


def run(
    training: Training,
    initial: Callable[[], Any],
    write: Callable[[Any, list[dict[str, Any]], dict[str, Any]], None],
    *,
    outs: Sequence[str | os.PathLike[str]],
    signals: Sequence[Signal],
    limits: Limits,
    metadata: dict[str, Any] | None,
    force: bool,
) -> bool:
    """Trains, and writes what was learned, also when time is up.

    Args:
        training: the training.
        initial: makes the state before the first unit.
        write: writes the priors of a state, from the state, the learning curve and the metadata.
        outs: the files that ``write`` writes.
        signals: the training signals, whose digest goes into the metadata and the checkpoints.
        limits: limits of time, and the checkpoints.
        metadata: provenance to store in the priors.
        force: whether ``outs`` may be replaced.

    Returns:
        Whether all units are done.

    Raises:
        ValueError: a file cannot be written, the checkpoints cannot be used, or training diverged.
    """
    for out in outs:
        check_output(out, force=force)
    data = hashlib.sha256(b"".join(signal.values.tobytes() for signal in signals)).hexdigest()
    state = parallel.placed(initial(), training.devices)
    state, curve = train(training, state, limits, data)
    write(state, curve, {"data_sha256": data} | (metadata or {}))
    return int(state.done) == training.units
