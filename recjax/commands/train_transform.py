"""``recjax train transform``."""

import math
import shlex
import sys
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional, arg

from recjax import codec
from recjax.codec import TransformTraining
from recjax.commands.shared import resumable


def train_transform(
    images: Positional[Path],
    out: Positional[Path],
    *,
    config: OmitArgPrefixes[Annotated[TransformTraining, arg(name="")]] = TransformTraining(),
    data: str = "",
    licence: str = "",
    checkpoints: Path | None = None,
    max_minutes: float = math.inf,
    force: bool = False,
) -> None:
    """Learn a family of transform priors from images, one per price.

    After an interruption, the same command goes on from the last checkpoint.

    Args:
        images: a folder of PNG, JPEG and WebP images, or an .npz file with uint8 images
            [M, H, W, 3].
        out: the files to write are OUT-1.safetensors, OUT-2.safetensors, and so on, in the order of
            the prices.
        config: how the priors are trained.
        data: what the images are, kept in the priors.
        licence: of the images, kept in the priors.
        checkpoints: folder of the checkpoints, by default OUT with .checkpoints appended.
        max_minutes: stop by then with usable priors.
        force: replace the files if they exist.
    """
    checkpoints = checkpoints or out.with_name(f"{out.name}.checkpoints")
    if not max_minutes > 0:
        raise ValueError(f"--max-minutes must be positive, got {max_minutes}")
    with resumable():
        codec.train_transform(
            config,
            codec.load_whole_images(images),
            [out.with_name(f"{out.name}-{i + 1}.safetensors") for i in range(len(config.prices))],
            checkpoint_dir=checkpoints,
            max_minutes=max_minutes,
            metadata={
                "data": data or images.name,
                "licence": licence or "not stated",
                "command": shlex.join(sys.argv),
            },
            force=force
            or (
                checkpoints / "run.json"
            ).exists(),  # then the files are what the interrupted run wrote
            log=lambda line: print(line, flush=True),
        )
