"""Results of experiments as JSON: curves in panels, with their sources.

A file is one object `{"name", "description", "source", "results"}`. `results["panels"]` holds the
curves that a plot shows; the other keys of `results` are for readers of the file. Published points
have the same form as measured ones, so that any two files with equal panels can be overlaid.
"""

import dataclasses
import json
import math
import os
from typing import Any, Literal, get_args

from recjax.atomic import read_bounded, write_atomic

Kind = Literal["measured", "published", "theory"]
_SCALES = ("linear", "log", "log2")


@dataclasses.dataclass(frozen=True)
class Axis:
    """Axis of a panel.

    Attributes:
        label: quantity and unit, as in `"rate (bits per pixel)"`.
        scale: `"linear"`, `"log"` or `"log2"`.
    """

    label: str
    scale: str = "linear"


@dataclasses.dataclass(frozen=True)
class Curve:
    """Points of one method.

    Attributes:
        label: name of the method in the legend.
        x, y: coordinates, equally many.
        low, high: ends of a band around y, or empty.
        band: meaning of the band, as in `"quartiles"` or `"standard error"`.
        kind: `"measured"`, `"published"` or `"theory"`.
        source: source of published or theoretical points.
        joined: draw a line from point to point.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    band: str = ""
    kind: Kind = "measured"
    source: str = ""
    joined: bool = True

    @classmethod
    def with_errors(cls, label: str, x: Any, y: Any, errors: Any, source: str = "") -> "Curve":
        """Returns a measured curve with a band of one standard error on either side."""
        x, y, errors = (tuple(map(float, values)) for values in (x, y, errors))
        low = tuple(a - b for a, b in zip(y, errors, strict=True))
        high = tuple(a + b for a, b in zip(y, errors, strict=True))
        return cls(label, x, y, low, high, "standard error", source=source)


@dataclasses.dataclass(frozen=True)
class Panel:
    """Pair of axes with curves; panels of several files with equal axes and title are overlaid."""

    title: str
    x: Axis
    y: Axis
    curves: tuple[Curve, ...]


@dataclasses.dataclass(frozen=True)
class Results:
    """Results of an experiment.

    Attributes:
        name: short name, fit for a file name.
        description: setting of the experiment, shown above the plot.
        source: the command, paper or file that the numbers come from.
        panels: panels of the plot.
        details: further numbers, of the types that JSON has.
    """

    name: str
    description: str
    source: str
    panels: tuple[Panel, ...]
    details: dict[str, Any] = dataclasses.field(default_factory=dict)


RATE = Axis("rate (bits per pixel)", "log")
PSNR = Axis("PSNR (dB)")


def to_json(results: Results) -> dict[str, Any]:
    """Returns the JSON object of a results file.

    >>> panel = Panel("", RATE, PSNR, (Curve("JPEG", (0.5,), (30.0,)),))
    >>> to_json(Results("a", "b", "c", (panel,)))["results"]["panels"][0]["curves"][0]["y"]
    (30.0,)
    """
    about = {"name": results.name, "description": results.description, "source": results.source}
    panels = [dataclasses.asdict(panel) for panel in results.panels]
    return {**about, "results": {"panels": panels, **results.details}}


def save_results(results: Results, path: str | os.PathLike[str], *, force: bool = True) -> None:
    """Writes a results file atomically.

    Raises:
        ValueError: a number is not finite, or the file cannot be written, or exists and `force` is
            off.
    """
    text = json.dumps(to_json(results), indent=1, allow_nan=False)
    write_atomic(path, text.encode() + b"\n", force=force)


def load_results(path: str | os.PathLike[str]) -> Results:
    """Reads a results file.

    Raises:
        ValueError: the file cannot be read, or is no results file.
    """
    data = read_bounded(path, "a results file")
    try:
        held = json.loads(data)
        results = dict(held["results"])
        panels = tuple(_panel(panel) for panel in results.pop("panels"))
        name, description, source = (str(held[key]) for key in ("name", "description", "source"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = {KeyError: f"it has no {error}", UnicodeDecodeError: "it is no text"}.get(
            type(error), str(error)
        )
        raise ValueError(f"{path} is no results file: {reason}") from None
    return Results(name, description, source, panels, results)


def _panel(held):
    x, y = (
        Axis(str(held[side]["label"]), held[side].get("scale", "linear")) for side in ("x", "y")
    )
    if x.scale not in _SCALES or y.scale not in _SCALES:
        raise ValueError(f"the scale of an axis must be one of {', '.join(_SCALES)}")
    return Panel(str(held["title"]), x, y, tuple(_curve(curve) for curve in held["curves"]))


def _curve(held):
    numbers = {}
    for key in ("x", "y", "low", "high"):
        numbers[key] = tuple(float(value) for value in held.get(key, ()))
        if not all(map(math.isfinite, numbers[key])):
            raise ValueError(f"a number of {held['label']} is not finite")
    n = len(numbers["x"])
    if len(numbers["y"]) != n or {len(numbers["low"]), len(numbers["high"])} not in ({0}, {n}):
        raise ValueError(f"{held['label']} has {n} x, but another number of y")
    kind, joined = held.get("kind", "measured"), held.get("joined", True)
    if kind not in get_args(Kind):
        raise ValueError(f"the kind of {held['label']} must be one of {', '.join(get_args(Kind))}")
    if not isinstance(joined, bool):
        raise ValueError(f"joined of {held['label']} must be true or false")
    band, source = (str(held.get(key, "")) for key in ("band", "source"))
    return Curve(str(held["label"]), **numbers, band=band, kind=kind, source=source, joined=joined)
