"""Bounded reading and atomic writing of files."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

MAX_BYTES = 1 << 28
"""Size of the largest file that is read, unless a modality has larger ones."""
_HEAD_BYTES = 64


def read_bounded(
    path: str | os.PathLike[str],
    what: str,
    most_bytes: Callable[[bytes], int] = lambda head: MAX_BYTES,
) -> bytes:
    """Reads a file of bounded size, which may also be a device or a pipe without end.

    Args:
        path: the file.
        what: kind of the file, for the message about a folder, as in "a results file".
        most_bytes: from the first bytes of the file to its size at most.

    Returns:
        All bytes of the file.

    Raises:
        ValueError: the file cannot be read or is larger than that.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            most = most_bytes(file.peek(_HEAD_BYTES)[:_HEAD_BYTES])
            data = file.read(most + 1)  # one byte more tells that the file is too large
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder, not {what}") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(data) > most:
        raise ValueError(f"{path} is larger than {most >> 20} MiB")
    return data


def check_output(path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Checks that a file can be written, before a long computation whose result it takes.

    Args:
        path: the file to be written.
        force: allow an existing file to be replaced.

    Returns:
        `path` as a `Path`.

    Raises:
        ValueError: `path` is a folder or a device, its folder is missing or read-only, or the file
            exists and `force` is off.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"output {path} is a folder")
    if path.exists() and not path.is_file():
        raise ValueError(f"output {path} is not a regular file")
    if path.exists() and not force:
        raise ValueError(f"output {path} exists (--force replaces it)")
    if not path.parent.is_dir():
        raise ValueError(f"output {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ValueError(f"output {path}: the folder {path.parent} is read-only")
    return path


def write_atomic(path: str | os.PathLike[str], data: bytes, *, force: bool = False) -> None:
    """Writes a file atomically: it appears with all of its bytes or not at all.

    The bytes go to a temporary file beside `path`, which is then renamed. A process that is killed
    in between leaves a hidden file `.NAME.*.part`, which may be removed.

    Args:
        path: the file to be written.
        data: bytes of the file.
        force: allow an existing file to be replaced.

    Raises:
        ValueError: the file cannot be written, or exists and `force` is off.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomic(f"{folder}/a", b"123")
    ...     Path(f"{folder}/a").read_bytes()
    b'123'
    """
    path = check_output(path, force=force)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=".part"
        )
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp gives 0600, and a result should look like any other file; the umask can only be
        # read by setting it
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise ValueError(f"output {path} cannot be written: {error.strerror or error}") from error
    finally:  # also after KeyboardInterrupt
        if temporary is not None:
            os.unlink(temporary)
