"""Files of results: their numbers, and pictures of these."""

from pathlib import Path

from recjax.atomic import write_atomic
from recjax.results.drawing import draw, picture
from recjax.results.files import Results, load_results, save_results


def save(results: Results, folder: Path, *pictures: str, name: str | None = None) -> None:
    """Writes NAME.json into a folder, made if there is none, and pictures with these suffixes drawn from that file.

    Raises:
        ValueError: a number is not finite, or a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name or results.name}.json"
    save_results(results, path)
    for suffix in pictures:
        write_atomic(
            path.with_suffix(suffix), picture(draw([load_results(path)]), suffix), force=True
        )
