"""``recjax train-prior``."""

from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional, arg

from recjax.atomic import check_output
from recjax.codec import TrainConfig


def train_prior(
    images: Positional[Path],
    out: Positional[Path],
    *,
    config: OmitArgPrefixes[Annotated[TrainConfig, arg(name="")]] = TrainConfig(),  # noqa: B008
    checkpoints: Path | None = None,
    max_minutes: float | None = None,
    force: bool = False,
) -> None:
    """Learn a prior from images. Run it again to go on after an interruption.

    Args:
        images: a folder of PNG, JPEG and WebP images, or an .npz file with uint8 images [M, 32, 32, 3].
        out: the .safetensors file to write.
        config: how the prior is trained.
        checkpoints: folder of the checkpoints, by default OUT with .checkpoints appended.
        max_minutes: stop in time to be done by then.
        force: replace OUT if it exists.
    """
    check_output(out, force=force)
    if max_minutes is not None and not max_minutes > 0:
        raise ValueError(f"--max-minutes must be positive, got {max_minutes}")

    from recjax import codec
    from recjax.codec.dataset import load_training_images

    data = load_training_images(images, config.network.grid, seed=config.seed)
    codec.train_prior(
        config,
        data,
        out,
        checkpoint_dir=checkpoints or out.with_name(f"{out.name}.checkpoints"),
        max_minutes=max_minutes,
        log=lambda line: print(line, flush=True),
    )
