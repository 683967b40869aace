"""Parts of a figure that are kept as they are done."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recjax.atomic import write_atomic


class Points:
    """Calls what has not been called before, and remembers its value, so that an interrupted run resumes.

    Args:
        path: where values are kept, as JSON; it has to change with the code that computes them.

    Raises:
        ValueError: what is kept is damaged.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first = Points(Path(folder) / "figure.json")("KL 2", lambda: 0.5)
    ...     again = Points(Path(folder) / "figure.json")("KL 2", lambda: 0 / 0)
    >>> first, again
    (0.5, 0.5)
    """

    def __init__(self, path: Path):
        self._path = path
        try:
            self._values: dict[str, Any] = (
                dict(json.loads(path.read_text())) if path.exists() else {}
            )
        except (ValueError, TypeError, RecursionError):
            raise ValueError(
                f"{path} is damaged: remove it, and its points are computed again"
            ) from None

    def __call__(self, name: str, compute: Callable[[], Any]) -> Any:
        """The value under ``name`` [of JSON's types], computed if there is none yet."""
        if name not in self._values:
            self._values[name] = compute()
            write_atomic(self._path, json.dumps(self._values, allow_nan=False).encode(), force=True)
        return self._values[name]
