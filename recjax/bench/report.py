"""What the benchmarks share: their arguments, and the file they write."""

import json
from pathlib import Path
from typing import Any

from recjax.atomic import check_output, write_atomic


def check_arguments(json_path: str | Path | None, seconds: float, force: bool) -> None:
    """Raises a ValueError if the file cannot be written, or ``seconds`` is not positive."""
    if not seconds > 0:
        raise ValueError(f"seconds must be positive, got {seconds}")
    if json_path is not None:
        check_output(json_path, force=force)


def write_report(report: dict[str, Any], json_path: str | Path | None, force: bool) -> None:
    """Writes the results, if a file is asked for."""
    if json_path is not None:
        write_atomic(json_path, (json.dumps(report, indent=2) + "\n").encode(), force=force)
