"""Writing a file so that it appears whole or not at all."""

import os
import tempfile
from pathlib import Path


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
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp gives 0600; a result should look like any other file
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise ValueError(f"output {path} cannot be written: {error.strerror or error}") from error
    finally:  # also after KeyboardInterrupt
        if temporary is not None:
            os.unlink(temporary)
