"""Runs the examples at full setting, one after the other, and writes their pictures.

python -m experiments.examples                          # all, about half an hour on two cores
python -m experiments.examples diffusion requential     # some
"""

import importlib
import time
from pathlib import Path
from typing import Annotated

import tyro

OUT = Path(__file__).parents[2] / "docs" / "_static" / "examples"
NAMES = ("diffusion", "vae_latents", "private_mean", "requential", "photograph_vector")


def main(names: Annotated[tuple[str, ...], tyro.conf.Positional] = NAMES, out: Path = OUT) -> None:
    """Runs examples.

    Args:
        names: of the examples, all by default.
        out: folder of the pictures.
    """
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        raise SystemExit(f"error: no example {', '.join(unknown)}; there are {', '.join(NAMES)}")
    out.mkdir(parents=True, exist_ok=True)
    for name in names:
        start, example = (
            time.perf_counter(),
            importlib.import_module(f"experiments.examples.{name}"),
        )
        print(f"== {name}", flush=True)
        example.main(example.FULL).savefig(out / f"{name}.png")
        print(f"{time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
