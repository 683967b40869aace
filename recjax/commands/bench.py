"""``recjax bench``."""

from pathlib import Path
from typing import Literal

from tyro.conf import Positional


def bench(
    what: Positional[Literal["blocks"]] = "blocks",
    *,
    seconds: float = 30.0,
    json: Path | None = None,
    force: bool = False,
) -> None:
    """Measure the speed of the block coder beside NumPy and the machine's matrix products.

    Args:
        what: blocks: blocks of 25 weights at 16 bits.
        seconds: time for the repeats; setting up takes about 10 more.
        json: also write the results to this file.
        force: replace the file of --json if it exists.
    """
    from recjax.bench import blocks

    blocks.main(json, seconds=seconds, force=force)
