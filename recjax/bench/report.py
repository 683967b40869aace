"""Arguments and results files of the benchmarks."""

from pathlib import Path

from recjax.atomic import check_output
from recjax.results.files import Results, save_results


def check_arguments(json_path: str | Path | None, seconds: float, force: bool) -> None:
    """Checks the arguments of a benchmark before it starts.

    Raises:
        ValueError: the file cannot be written, or `seconds` is not positive.
    """
    if not seconds > 0:
        raise ValueError(f"seconds must be positive, got {seconds}")
    if json_path is not None:
        check_output(json_path, force=force)


def write_report(report: Results, json_path: str | Path | None, force: bool) -> None:
    """Writes the results to a file, if there is a path."""
    if json_path is not None:
        save_results(report, json_path, force=force)
