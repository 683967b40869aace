"""What several verbs need."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from recjax.atomic import read_bounded

if TYPE_CHECKING:
    from recjax.codec import Prior

Quality = Literal["low", "medium", "high", "best"]


def chosen_prior(prior: str | None, quality: Quality = "high") -> "Prior":
    """The prior of ``--prior``, else the embedded one of ``--quality``.

    Raises:
        ValueError: if it is unknown or damaged.
    """
    from recjax.codec import load_prior

    return load_prior(prior if prior is not None else f"photo-{quality}")


def check_distinct(source: Path, out: Path) -> None:
    """Raises ValueError if a command would replace the file that it reads."""
    if source.exists() and out.exists() and source.samefile(out):
        raise ValueError(f"output {out} is the input")


def read_rec(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a ``.rec`` file.

    Raises:
        ValueError: if there is no such file, it is larger than 256 MiB, or it does not begin like one.
    """
    from recjax.codec.container import parse

    blob = read_bounded(path, "a .rec file")
    with naming(path):
        parse(blob)
    return blob


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Puts the file's name before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise type(error)(f"{path}: {error}") from error


@contextlib.contextmanager
def resumable() -> Iterator[None]:
    """Says after Ctrl-C what is lost of a training run: steps are compiled, and none can be saved halfway."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "interrupted: the same command goes on from the last checkpoint, at most some 5 minutes back"
        ) from None


@contextlib.contextmanager
def progress_bar(label: str) -> Iterator[Callable[[float], None] | None]:
    """A bar on stderr that takes the fraction done; None when there is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=1.0)
        yield lambda fraction: bar.update(task, completed=fraction)
