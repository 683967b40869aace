"""Reading files that may have no end, and writing them so that they appear whole or not at all."""

import os
import tempfile
from pathlib import Path

MAX_BYTES = 1 << 28
"""No file that is read is larger."""


def read_bounded(path: str | os.PathLike[str], what: str) -> bytes:
    """The bytes of a file, which may be a device or a pipe without end.

    Args:
        path: the file.
        what: it should be, for the message about a folder.

    Raises:
        ValueError: if it cannot be read or is larger than ``MAX_BYTES``.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder, not {what}") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES >> 20} MiB")
    return data


def check_output(path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Checks that ``path`` can be written, so that a long computation does not end in an error.

    Args:
        path: the file to be written.
        force: whether an existing file may be replaced.

    Returns:
        ``path`` as a ``Path``.

    Raises:
        ValueError: if ``path`` is a folder or a device, its folder is missing or read-only, or it exists and
            ``force`` is off.
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
    """Writes ``data`` to a temporary file beside ``path`` and renames it: no reader ever sees a part.

    What is killed in between leaves a hidden file ``.NAME.*.part``, which may be removed.

    Args:
        path: the file to be written.
        data: its bytes.
        force: whether an existing file may be replaced.

    Raises:
        ValueError: if ``path`` cannot be written, or exists and ``force`` is off.

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
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(
            temporary, 0o666 & ~umask
        )  # mkstemp gives 0600; a result should look like any other file
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise ValueError(f"output {path} cannot be written: {error.strerror or error}") from error
    finally:  # also after KeyboardInterrupt
        if temporary is not None:
            os.unlink(temporary)
