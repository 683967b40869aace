"""What several verbs need: standard input and output, folders, progress."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from recjax.atomic import MAX_BYTES, check_output, read_bounded, write_atomic

EARLIER_VERBS = {"train-prior": "train siren", "train-transform": "train transform"}
"""Today's names of verbs by their earlier ones, which the embedded priors cite."""


class UsageError(ValueError):
    """Wrong usage, whatever the input: the exit code is 2 rather than 1."""


def is_stdin(path: Path) -> bool:
    """Whether a path stands for standard input."""
    return str(path) in ("-", "/dev/stdin")


def is_stdout(path: Path) -> bool:
    """Whether a path stands for standard output."""
    return str(path) in ("-", "/dev/stdout")


def read_input(path: Path, what: str) -> bytes:
    """The bytes of a file, or of standard input for ``-``.

    Args:
        path: the file.
        what: description of the file that is expected, for the message about a folder.

    Raises:
        ValueError: if it cannot be read or is larger than 256 MiB.
    """
    if not is_stdin(path):
        return read_bounded(path, what)
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"standard input is larger than {MAX_BYTES >> 20} MiB")
    return data


def check_written(path: Path, *, force: bool) -> None:
    """Raises a ValueError unless `write_output` can write there."""
    if not is_stdout(path):
        check_output(path, force=force)


def write_output(path: Path, data: bytes, *, force: bool) -> None:
    """Writes a file whole or not at all, or to standard output for ``-``."""
    if is_stdout(path):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        write_atomic(path, data, force=force)


def check_distinct(source: Path, out: Path) -> None:
    """Raises a ValueError if a command would replace the file that it reads."""
    if source.is_file() and out.is_file() and source.samefile(out):
        raise ValueError(f"output {out} is the input")


def read_rec(path: Path) -> bytes:
    """The bytes of a ``.rec`` file, or of standard input for ``-``.

    Raises:
        ValueError: if there is no such file, it is larger than 256 MiB, or it does not begin like
            one.
    """
    from recjax.codec.container import parse

    blob = read_input(path, "a .rec file")
    with naming(path):
        parse(blob)
    return blob


def rec_files(folder: Path) -> list[Path]:
    """The ``.rec`` files of a folder by name. Raises a ValueError if there are none."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".rec")
    if not paths:
        raise ValueError(f"{folder} holds no .rec file")
    return paths


def check_skip_existing(source: Path, *, skip_existing: bool, force: bool) -> None:
    """Raises a UsageError unless the option fits the input and the other options."""
    if skip_existing and not source.is_dir():
        raise UsageError(f"--skip-existing is for folders; {source} is not one")
    if skip_existing and force:
        raise UsageError("give --skip-existing or --force, not both")


def each_file(
    paths: Sequence[Path],
    out: Path,
    work: Callable[[Path, Path], None],
    *,
    existing: Sequence[str] = (),
) -> None:
    """Does the same to every file of a folder; a file that fails does not stop the others.

    Args:
        paths: the files.
        out: the folder of the results, which is made if it is missing.
        work: called with a file and the path of its result, which lacks its suffix.
        existing: leave out the files whose result exists with one of these suffixes.

    Raises:
        ValueError: a file failed; each is listed on stderr first.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"output {out} is not a folder, as the input is")
    stems = [path.stem for path in paths]
    if twins := [path.name for path in paths if stems.count(path.stem) > 1]:
        raise ValueError(f"{', '.join(twins)}: the results would have one name")
    try:
        out.mkdir(exist_ok=True)
    except OSError as error:
        raise ValueError(f"output {out} cannot be made: {error.strerror}") from None
    failures, count = [], len(paths)
    if existing:
        there = {path.stem for path in out.iterdir() if path.suffix in existing}
        paths = [path for path in paths if path.stem not in there]
        print(f"{out}: {count - len(paths)} of {count} exist and are skipped")
    for number, path in enumerate(paths, 1):
        if sys.stderr.isatty():
            print(f"{number} of {len(paths)}: {path.name}", file=sys.stderr)
        try:
            work(path, out / path.stem)
        except ValueError as error:
            failures.append(str(error))
    report(failures, count)


def report(failures: Sequence[str], count: int) -> None:
    """Lists the files that failed on stderr, and raises a ValueError if there are any."""
    for line in failures:
        print(f"recjax: {' '.join(line.split())}", file=sys.stderr)
    if failures:
        raise ValueError(f"{len(failures)} of {count} files failed")


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Puts the file's name before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise type(error)(f"{path}: {error}") from error


@contextlib.contextmanager
def resumable() -> Iterator[None]:
    """Says after Ctrl-C what is lost of a training run: compiled steps cannot be saved halfway."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "interrupted: the same command goes on from the last checkpoint, about 5 minutes back"
        ) from None


@contextlib.contextmanager
def progress_bar(label: str, *, is_steady: bool = True) -> Iterator[Callable[[float], None] | None]:
    """A bar on stderr that takes the fraction done; None when there is no terminal.

    Until the first report it says that programs are compiled, which takes most of the time of a
    first run.

    Args:
        label: name of the work.
        is_steady: whether the fraction tells the time that is left, which the bar then shows.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    *columns, remaining = Progress.get_default_columns()
    if is_steady:
        columns.append(remaining)
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"{label}: compiling, or loading what is compiled", total=1.0)
        yield lambda fraction: bar.update(task, completed=fraction, description=label)


def table(facts: dict[str, Any], indent: str = "") -> list[str]:
    """Lines of names and values; tables inside are indented."""
    width, lines = max(map(len, facts), default=0), []
    for name, value in facts.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{name}", *table(value, indent + "  ")]
        else:
            lines.append(f"{indent}{name:<{width}}  {_shown(value)}")
    return lines


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    return str(value)
