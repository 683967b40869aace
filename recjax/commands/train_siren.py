"""``recjax train siren``."""

import math
import shlex
import sys
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional, arg

from recjax import codec
from recjax.atomic import check_output
from recjax.codec import TrainConfig
from recjax.commands.shared import resumable


def train_siren(
    images: Positional[Path],
    out: Positional[Path],
    *,
    config: OmitArgPrefixes[Annotated[TrainConfig, arg(name="")]] = TrainConfig(),
    patches: int = 4096,
    data: str = "",
    licence: str = "",
    checkpoints: Path | None = None,
    max_minutes: float = math.inf,
    force: bool = False,
) -> None:
    """Learn a prior from images.

    After an interruption, the same command goes on from the last checkpoint.

    Args:
        images: a folder of PNG, JPEG and WebP images, or an .npz file with uint8 images
            [M, 32, 32, 3].
        out: the .safetensors file to write.
        config: how the prior is trained.
        patches: patches cut from a folder, in signals of --scene patches each.
        data: what the images are, kept in the prior.
        licence: of the images, kept in the prior.
        checkpoints: folder of the checkpoints, by default OUT with .checkpoints appended.
        max_minutes: stop by then with a usable prior.
        force: replace OUT if it exists.
    """
    checkpoints = checkpoints or out.with_name(f"{out.name}.checkpoints")
    force = (
        force or (checkpoints / "run.json").exists()
    )  # then OUT is what the interrupted run wrote
    check_output(out, force=force)
    if not max_minutes > 0:
        raise ValueError(f"--max-minutes must be positive, got {max_minutes}")
    if patches < 2:
        raise ValueError(f"--patches must be at least 2, got {patches}")
    signals = max(patches // math.prod(config.scene), 2)
    provenance = {
        "data": data or images.name,
        "licence": licence or "not stated",
        "command": shlex.join(sys.argv),
    }
    with resumable():
        codec.train_prior(
            config,
            codec.load_training_images(images, config.sides, patches=signals, seed=config.seed),
            out,
            checkpoint_dir=checkpoints,
            max_minutes=max_minutes,
            metadata=provenance,
            force=force,
            log=lambda line: print(line, flush=True),
        )
