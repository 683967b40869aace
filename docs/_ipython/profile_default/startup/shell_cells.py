"""The cell magic ``%%bash`` of the examples: output in one piece, and the first failure ends the cell."""

import subprocess

from IPython.core.magic import register_cell_magic


@register_cell_magic
def bash(line: str, cell: str) -> None:
    done = subprocess.run(["bash", "-e"], input=cell, text=True, capture_output=True)
    print(done.stdout, end="")
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr}")
