"""``recjax train staged``."""

import math
import shlex
import sys
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional, arg

from recjax import codec
from recjax.codec import StagedTraining
from recjax.commands.shared import resumable


def train_staged(
    sounds: Positional[Path],
    out: Positional[Path],
    *,
    config: OmitArgPrefixes[Annotated[StagedTraining, arg(name="")]] = StagedTraining(),
    data: str = "",
    licence: str = "",
    checkpoints: Path | None = None,
    max_minutes: float = math.inf,
    force: bool = False,
) -> None:
    """Learn a prior of staged coefficients from sounds, one for all rates.

    After an interruption, the same command goes on from the last checkpoint.

    Args:
        sounds: a folder of WAV, FLAC, OGG and MP3 files.
        out: the .safetensors file to write.
        config: how the prior is trained.
        data: what the sounds are, kept in the prior.
        licence: of the sounds, kept in the prior.
        checkpoints: folder of the checkpoints, by default OUT with .checkpoints appended.
        max_minutes: stop by then with a usable prior.
        force: replace the file if it exists.
    """
    checkpoints = checkpoints or out.with_name(f"{out.name}.checkpoints")
    if not max_minutes > 0:
        raise ValueError(f"--max-minutes must be positive, got {max_minutes}")
    with resumable():
        codec.train_staged(
            config,
            codec.load_whole_images(sounds),
            out,
            checkpoint_dir=checkpoints,
            max_minutes=max_minutes,
            metadata={
                "data": data or sounds.name,
                "licence": licence or "not stated",
                "command": shlex.join(sys.argv),
            },
            # then the file is what the interrupted run wrote
            force=force or (checkpoints / "run.json").exists(),
            log=lambda line: print(line, flush=True),
        )
