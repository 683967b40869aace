"""``recjax bench``."""

from pathlib import Path
from typing import Literal

from tyro.conf import Positional


def bench(
    what: Positional[Literal["blocks", "samplers"]] = "blocks",
    *,
    seconds: float = 30.0,
    json: Path | None = None,
    force: bool = False,
) -> None:
    """Measure speed: of the block coder beside NumPy, or of the exact coders beside plain loops.

    Args:
        what: blocks: blocks of 25 weights at 16 bits; samplers: samples a second of the exact
            coders.
        seconds: time for the repeats; setting up takes longer, and samplers need some minutes at
            least.
        json: also write the results to this file.
        force: replace the file of --json if it exists.
    """
    from recjax.bench import blocks, samplers

    (blocks if what == "blocks" else samplers).main(json, seconds=seconds, force=force)
