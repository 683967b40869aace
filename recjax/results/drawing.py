"""Plots of results, by Matplotlib."""

import io
import itertools
import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from recjax.results.files import Axis, Curve, Panel, Results
from recjax.results.overlay import overlay

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".pdf", ".svg")
"""Suffixes of the files that can be written."""

_COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#000000",
    "#882255",
)  # Okabe and Ito
_GREYS = ("#5a6675", "#8f7a63", "#6f8f6f", "#8f6f8c", "#7fa0ad", "#a0a0a0")
_INKS = ("#000000", "#8c564b", "#5254a3", "#637939", "#843c39")
_MARKERS = "osD^vP<>X"
_MANY = 6
"""With more curves than these, the legend is beside the panel."""
_LARGEST = 1e100
"""Beyond these numbers, and their inverses on a logarithmic axis, Matplotlib's arithmetic fails."""


def draw(results: Sequence[Results]) -> "Figure":
    """Draws all panels as one figure; panels with equal title and axes are overlaid.

    Measured curves are solid with filled markers and a band; published curves are grey and dashed
    with hollow markers; theoretical curves are dotted. See `recjax.results.overlay`.

    Raises:
        ValueError: there is no curve to draw, or a number is beyond 1e100.
        ImportError: Matplotlib, of the extra ``plots``, is not installed.
    """
    from matplotlib.figure import Figure

    panels = [panel for panel in overlay(results) if panel.curves]
    if not panels:
        raise ValueError(f"{', '.join(file.name for file in results)}: there is no curve to draw")
    for curve in itertools.chain.from_iterable(panel.curves for panel in panels):
        if max(map(abs, (*curve.x, *curve.y, *curve.low, *curve.high)), default=0) > _LARGEST:
            raise ValueError(f"{curve.label} has a number larger than {_LARGEST:g}")
    columns = math.ceil(math.sqrt(len(panels)))
    rows = math.ceil(len(panels) / columns)
    width = 8.6 if max(len(panel.curves) for panel in panels) > _MANY else 6.0
    figure = Figure(figsize=(width * columns, 4.6 * rows + 0.4), dpi=120, layout="constrained")
    # style numbers by kind and label: a label has the same style in all panels
    numbers: dict[str, dict[str, int]] = {"measured": {}, "published": {}, "theory": {}}
    for place, panel in enumerate(panels, start=1):
        _draw_panel(figure.add_subplot(rows, columns, place), panel, numbers)
    names = ", ".join(file.name for file in results)
    about = results[0].description if len(results) == 1 else names
    figure.suptitle(textwrap.fill(about, int(14 * width * columns)), fontsize=9)
    return figure


def picture(figure: "Figure", suffix: str) -> bytes:
    """Renders a figure to the bytes of a file.

    Equal numbers give equal bytes, with one release of Matplotlib: dates and random identifiers
    are left out.

    Args:
        figure: the figure of `draw`.
        suffix: one of `FORMATS`.
    """
    import matplotlib

    undated: dict[str, dict[str, Any]] = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "recjax"}):
        figure.savefig(buffer, format=suffix[1:], metadata=undated.get(suffix))
    return buffer.getvalue()


def legend_name(curve: Curve) -> str:
    """Name of a curve in legends and tables."""
    return f"{curve.label} (published)" if curve.kind == "published" else curve.label


def _draw_panel(axes: "Axes", panel: Panel, numbers: dict[str, dict[str, int]]) -> None:
    for curve in panel.curves:
        of_kind = numbers[curve.kind]
        _draw_curve(axes, curve, of_kind.setdefault(curve.label, len(of_kind)))
    limits = _x_limits(panel)
    _set_scale(axes, "x", panel.x, limits)
    _set_scale(axes, "y", panel.y, _y_limits(panel, limits))
    axes.set(xlabel=panel.x.label, ylabel=panel.y.label, title=panel.title)
    axes.grid(alpha=0.3)
    bands = ", ".join(
        dict.fromkeys(curve.band for curve in panel.curves if curve.low and curve.band)
    )
    beside = (
        {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)} if len(panel.curves) > _MANY else {}
    )
    axes.legend(fontsize=8, title=f"bands: {bands}" if bands else None, title_fontsize=8, **beside)


def _draw_curve(axes: "Axes", curve: Curve, number: int) -> None:
    colours = {"measured": _COLOURS, "published": _GREYS, "theory": _INKS}[curve.kind]
    colour, marker = colours[number % len(colours)], _MARKERS[number % len(_MARKERS)]
    style: dict[str, Any] = {
        "measured": {"ls": "-", "lw": 1.5, "marker": marker, "ms": 5},
        "published": {"ls": "--", "lw": 1, "marker": marker, "ms": 5, "mfc": "none"},
        "theory": {"ls": ":", "lw": 1.2, "marker": "x" if len(curve.x) == 1 else ""},
    }[curve.kind]
    if len(curve.x) == 1 or not curve.joined:
        style |= {"ls": ""}
    elif len(curve.x) > 40:  # markers would hide the line
        style |= {"marker": ""}
    axes.plot(curve.x, curve.y, color=colour, label=legend_name(curve), zorder=3, **style)
    if len(curve.low) > 1:
        axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.18, lw=0)
    elif curve.low:
        axes.vlines(curve.x, curve.low, curve.high, color=colour, lw=1)


def _x_limits(panel: Panel) -> tuple[float, float] | None:
    """Limits that show measured and theoretical points, and published ones near them."""
    points = [_on_axis(curve.x, panel.x) for curve in panel.curves]
    unpublished = [
        x
        for curve, xs in zip(panel.curves, points, strict=True)
        if curve.kind != "published"
        for x in xs
    ]
    every = [x for xs in points for x in xs]
    if not every:
        return None
    low, high = min(every), max(every)
    if unpublished:
        # published curves may extend far beyond: they are cut a tenth of their range away
        reach = 0.1 * (high - low)
        low, high = max(low, min(unpublished) - reach), min(high, max(unpublished) + reach)
    return _with_margin(low, high, panel.x)


def _y_limits(panel: Panel, limits: tuple[float, float] | None) -> tuple[float, float] | None:
    """Limits that show all points between the limits of x, with their bands."""
    low, high = limits or (-math.inf, math.inf)
    inside = [
        y
        for curve in panel.curves
        for values in (curve.y, curve.low, curve.high)
        for y in _on_axis(
            [y for x, y in zip(curve.x, values, strict=False) if low <= x <= high], panel.y
        )
    ]
    return _with_margin(min(inside), max(inside), panel.y) if inside else None


def _on_axis(values: Sequence[float], axis: Axis) -> list[float]:
    """Positions of values on an axis; on a logarithmic axis, only positive values have one."""
    if axis.scale == "linear":
        return list(values)
    return [math.log(value) for value in values if value > 1 / _LARGEST]


def _with_margin(low: float, high: float, axis: Axis) -> tuple[float, float]:
    margin = 0.05 * (high - low) or 0.05 * max(abs(low), 1)
    low, high = low - margin, high + margin
    return (low, high) if axis.scale == "linear" else (math.exp(low), math.exp(high))


def _set_scale(axes: "Axes", side: str, axis: Axis, limits: tuple[float, float] | None) -> None:
    from matplotlib import ticker

    if limits is None:  # no point has a place
        return
    if axis.scale != "linear":
        base = {"log": 10, "log2": 2}[axis.scale]
        getattr(axes, f"set_{side}scale")("log", base=base, nonpositive="mask")
        ruler = getattr(axes, f"{side}axis")
        if limits[1] < 4 * limits[0]:
            # the range holds too few powers of the base for ticks at these alone
            ruler.set_major_locator(ticker.MaxNLocator(6))
        else:
            multiples = (1.0, 2.0, 5.0) if base == 10 else (1.0,)
            ruler.set_major_locator(ticker.LogLocator(base, multiples))
        ruler.set_major_formatter(ticker.FuncFormatter(lambda value, _: _number(value)))
        ruler.set_minor_formatter(ticker.NullFormatter())
    getattr(axes, f"set_{side}lim")(limits)


def _number(value: float) -> str:
    r"""Formats a number as the label of a tick.

    >>> _number(0.05), _number(2e6)
    ('0.05', '$2\\times10^{6}$')
    """
    if 1e-3 <= value < 1e5:
        return f"{value:g}"
    digits, power = f"{value:e}".split("e")
    return rf"${float(digits):g}\times10^{{{int(power)}}}$"
